"""What is shown of a case that fails for what came before, or beside, it: enough to see it happen by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import SPEC
from layers import Keeping, Session

from bncheck.adapters.profiles import misfit
from bncheck.adapters.rules import Statistics
from bncheck.checks.catalogue import CHECKS
from bncheck.driver import _telling, judge
from bncheck.exhibit import at_worst_element, exhibit
from bncheck.experiments.training import batch_before, batch_beside
from bncheck.guard import quiet
from bncheck.model import Declared, Outcome
from bncheck.session import Gradients


class Adding(targets.Pair):
    """dgamma adds up over the steps of a layer."""

    def open(self, setup):
        session, earlier = super().open(setup), []
        backward = session.backward

        def added(dy):
            found = backward(dy)
            earlier.append(found.dgamma)
            return found._replace(dgamma=sum(earlier))

        session.backward = added
        return session


class Sharing(targets.Pair):
    """The cache is one for all layers."""

    def __init__(self):
        held = []

        def forward(x, gamma, beta, eps):
            y, cache = targets.forward(x, gamma, beta, eps)
            held[:] = cache
            return y, None

        super().__init__(forward, lambda dy, cache: targets.backward(dy, held))


class OneSize(targets.Pair):
    """A layer remembers the size of its first batch."""

    def open(self, setup):
        session, sizes = super().open(setup), []
        forward = session.forward

        def strict(x, mode="train"):
            sizes.append(len(x))
            assert sizes[0] == len(x), "another size"
            return forward(x)

        session.forward = strict
        return session


def made(code, target, spec=SPEC):
    with quiet():
        _, case, seen = judge(target, spec, [CHECKS.get(code)])
    return case, seen, exhibit(case, seen, CHECKS.get(code), forward_only=False)


def array(data):
    return np.array(data.values).reshape(data.shape)


def test_the_batch_before_is_shown_with_its_upstream_gradient():
    case, _, shown = made("BN508", Adding())
    before, dy_before = batch_before(case, 1)
    names = ["x of the batch before (N=7)", "dy of the batch before (N=7)", "x", "gamma", "beta", "dy"]
    assert list(shown.inputs) == names
    np.testing.assert_array_equal(array(shown.inputs[names[0]]), before)
    np.testing.assert_array_equal(array(shown.inputs[names[1]]), dy_before)
    np.testing.assert_array_equal(array(shown.inputs["dy"]), case.dy)


def test_what_is_shown_follows_from_the_inputs_that_are_shown():
    case, _, shown = made("BN508", Adding())
    (compared,) = shown.comparisons
    given = {name.partition(" (")[0]: array(data) for name, data in shown.inputs.items()}

    def dgamma(x, dy):
        return targets.backward(dy, targets.forward(x, given["gamma"], given["beta"], case.spec.eps)[1]).dgamma

    own, before = (
        dgamma(given["x"], given["dy"]),
        dgamma(given["x of the batch before"], given["dy of the batch before"]),
    )
    assert (compared.tensor, compared.oracle) == ("dgamma", "a fresh layer")
    np.testing.assert_array_equal(array(compared.expected), own)
    np.testing.assert_array_equal(array(compared.found), before + own)


class Doubling(targets.Pair):
    """dx doubles from the fifth step of a layer on."""

    def open(self, setup):
        session, steps = super().open(setup), []
        backward = session.backward

        def doubled(dy):
            steps.append(dy)
            found = backward(dy)
            return found._replace(dx=2 * found.dx) if len(steps) > 4 else found

        session.backward = doubled
        return session


def test_of_what_shows_after_many_steps_no_batch_before_is_shown():
    _, seen, shown = made("BN508", Doubling())
    assert list(shown.inputs) == ["x", "gamma", "beta", "dy"]
    (compared,) = shown.comparisons
    assert (compared.tensor, compared.oracle) == ("dx", "a fresh layer")
    np.testing.assert_array_equal(array(compared.found), 2 * array(compared.expected))
    assert seen["many-steps"].facts["before"] == 4


def test_the_batch_of_the_other_layer_is_shown():
    case, _, shown = made("BN509", Sharing())
    assert list(shown.inputs) == ["x of the other layer", "x", "gamma", "beta", "dy"]
    np.testing.assert_array_equal(array(shown.inputs["x of the other layer"]), batch_beside(case))
    assert [compared.tensor for compared in shown.comparisons] == ["dx", "dgamma"]
    assert {compared.oracle for compared in shown.comparisons} == {"left alone"}


def test_a_layer_of_one_size_is_shown_with_both():
    _, _, shown = made("BN508", OneSize())
    assert list(shown.inputs)[:2] == ["x of the batch before (N=7)", "dy of the batch before (N=7)"]
    assert shown.comparisons == ()


@pytest.mark.parametrize("code", ["BN505", "BN508", "BN509", "BN511"])
def test_of_a_right_step_all_tensors_are_shown_as_ever(code):
    _, _, shown = made(code, targets.Pair())
    assert "x of the batch before (N=7)" not in shown.inputs


def spoiling(dy, cache):
    """Backward that works in its cache."""
    found = targets.backward(dy, cache)
    xhat = cache[0]
    xhat *= 0.5
    return found


REPLAYED = [("BN508", Adding()), ("BN509", Sharing()), ("BN511", targets.Pair(backward=spoiling))]


@pytest.mark.parametrize(("code", "target"), REPLAYED)
def test_a_replay_shows_the_failure_and_not_what_is_right_beside_it(code, target):
    with quiet():
        result, case, seen = judge(target, SPEC, [CHECKS.get("BN101"), CHECKS.get(code)])
    check = _telling(result, case, seen)
    assert check is CHECKS.get(code)
    found = exhibit(case, seen, check, forward_only=False).comparisons[0]
    assert not np.array_equal(array(found.expected), array(found.found))


# A layer, and the fraction that should stay, the factor of the biased variance of m values, and the start, in PyTorch.
DEPARTING = {
    "the variance": (Keeping("new", "biased", start=(0.0, 1.0)), {"momentum_sense": "new"}),
    "the side of the momentum": (Keeping("kept", "unbiased", start=(0.0, 1.0)), {"momentum_sense": "kept"}),
    "the start": (Keeping("new", "unbiased", start=(0.0, 0.0)), {"momentum_sense": "new"}),
    "a fixed fraction": (
        Keeping(var="biased", update=lambda old, new, momentum, step: 0.9 * old + 0.1 * new),
        {"momentum_sense": "fixed", "momentum": 0.9},
    ),
    "a fixed fraction on the other side": (
        Keeping(var="unbiased", update=lambda old, new, momentum, step: 0.1 * old + 0.9 * new),
        {"momentum_sense": "kept", "momentum": 0.1},
    ),
}


@pytest.mark.parametrize("why", DEPARTING)
def test_what_departs_from_a_profile_is_shown_beside_what_the_profile_has(why):
    layer, told = DEPARTING[why]
    start = f"{layer.start[0]:g}, {layer.start[1]:g}"
    found = Statistics(layer.conventions.momentum_sense, None, layer.var, start)._replace(
        sense=told["momentum_sense"], kept=told.get("momentum")
    )
    layer.told(**told, running_start=start, misfit=misfit(found, Declared(profile="pytorch")))
    case, seen, shown = made("BN303", layer)
    x, m = case.x, len(case.x)
    assert next(iter(shown.inputs)) == "x of batch 1"
    np.testing.assert_array_equal(array(shown.inputs["x of batch 1"]), x)
    stays = 0.9 if "momentum" in told else 1 - SPEC.momentum
    right = {"running_mean": (1 - stays) * x.mean(0), "running_var": stays + (1 - stays) * x.var(0) * m / (m - 1)}
    wrong = {"running_mean": seen["running"].arrays["mean"][1], "running_var": seen["running"].arrays["var"][1]}
    assert {compared.tensor for compared in shown.comparisons} == set(right)
    for compared in shown.comparisons:
        assert compared.oracle == "as in pytorch"
        np.testing.assert_allclose(array(compared.expected), right[compared.tensor], rtol=1e-12)
        np.testing.assert_array_equal(array(compared.found), wrong[compared.tensor])
    off = shown.comparisons[0]  # what is right stands behind what is off
    assert not np.allclose(array(off.expected), array(off.found))
    with quiet():
        result, case, seen = judge(layer, SPEC, [CHECKS.get("BN101"), CHECKS.get("BN303")])
    assert _telling(result, case, seen) is CHECKS.get("BN303")  # in a replay too


def test_a_layer_that_is_made_at_its_first_forward_is_shown_from_where_it_starts():
    class Late(Session):
        def running_stats(self):
            return super().running_stats() if self.steps else None

    layer = Keeping(session=Late, update=lambda old, new, momentum, step: old).told(running_start="0, 1")
    _, _, shown = made("BN301", layer)
    assert shown.inputs["running_var before"].values == (1.0,) * SPEC.c
    assert shown.comparisons[0].oracle == "the update rule"


def one_pass(x, gamma, beta, eps):
    with np.errstate(all="ignore"):
        inv_std = (1 / np.sqrt((x * x).mean(0) - x.mean(0) ** 2 + eps)).astype(x.dtype)
        xhat = (x - x.mean(0)) * inv_std
        return gamma * xhat + beta, (xhat, inv_std, gamma, (0,))


@pytest.mark.parametrize(
    ("code", "forward", "dtype", "rows"),
    [
        ("BN403", one_pass, "float64", 8),
        ("BN403", one_pass, "float32", 8),
        ("BN404", targets.row_by_row, "float16", 4096),
    ],
)
def test_y_at_the_edge_of_a_dtype_is_shown_with_the_x_that_gave_it(code, forward, dtype, rows):
    target = targets.Pair(forward)
    spec = replace(SPEC, dtype=dtype)
    case, seen, shown = made(code, target, spec)
    (compared,) = shown.comparisons
    (name,) = (name for name in shown.inputs if name.startswith("x"))
    x, gamma, beta = (array(shown.inputs[n]) for n in (name, "gamma", "beta"))
    assert (f", the first 8 of {rows} rows" in name) == (rows > 8)
    if rows == 8:
        assert f"x of mean {x.mean():.2g} and standard deviation {x.std():.2g} (N=8)" == name
        y = gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + case.spec.eps) + beta
        np.testing.assert_allclose(array(compared.expected), y, atol=1e-5)  # with such a mean a formula loses digits
        found = forward(x.astype(dtype), gamma.astype(dtype), beta.astype(dtype), case.spec.eps)[0]
        np.testing.assert_array_equal(array(compared.found), found.astype(float))
    judgement = CHECKS.get(code).judge(case, seen)
    assert judgement.outcome is Outcome.WARN
    pointed = at_worst_element(judgement, compared)
    assert pointed.error > pointed.allowed  # NaN is off by no number: inf
    with quiet():
        result, case, seen = judge(target, spec, [CHECKS.get("BN101"), CHECKS.get(code)])
    assert _telling(result, case, seen) is CHECKS.get(code)  # in a replay too


def test_a_backward_that_raises_is_shown_with_its_dy():
    def backward(dy, cache):
        raise IndexError("too far")

    assert "dy" in made("BN506", targets.Pair(backward=backward))[2].inputs

    def forward(x, gamma, beta, eps):
        raise IndexError("too far")

    assert "dy" not in made("BN506", targets.Pair(forward, lambda dy, cache: Gradients(dy, dy, dy)))[2].inputs
