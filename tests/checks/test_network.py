"""BN801 to BN803 on pairs that go wrong among other layers, under a change of weights, or while they learn."""

from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import SPEC, complaints, judged, roots

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.network import _carried, _errors_of_gradients, _weights
from bncheck.core.reference import forward
from bncheck.core.rounding import rounding_bounds
from bncheck.model import Evidence, Outcome

CODES = ["BN801", "BN802", "BN803"]
SPACE = replace(SPEC, n=5, spatial=(2, 2))


def eps_outside(x, gamma, beta, eps):
    """eps outside the root, with its own derivative."""
    xc = x - x.mean(0)
    sd = np.sqrt((xc * xc).mean(0))
    return gamma * xc / (sd + eps) + beta, (xc, sd, gamma, eps)


def of_eps_outside(dy, cache):
    xc, sd, gamma, eps = cache
    xhat, scale = xc / (sd + eps), gamma / (sd + eps)
    dx = scale * (dy - dy.mean(0) - xhat * (dy * xc / sd).mean(0))
    return targets.Gradients(dx, (dy * xhat).sum(0), dy.sum(0))


def scale_once(x, gamma, beta, eps):
    """A clip of the input that only weights of twice the size reach."""
    return targets.forward(np.clip(x, -SPREAD, SPREAD), gamma, beta, eps)


# A case whose own x stays below this, and so does the x of its network, but not twice that.
SPREAD = 2.2
QUIET = replace(SPEC, sd=0.25)


@pytest.mark.parametrize("spec", [SPEC, SPACE])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"dx": lambda v: 1.00001 * v}, "BN801"),
        ({"dx": lambda v: v - v.mean(axis=0) + 1e-3}, "BN801"),
        ({"dgamma": lambda v: 1.00001 * v}, "BN803"),
        ({"dbeta": lambda v: -v}, "BN803"),
    ],
)
def test_wrong_gradients_are_wrong_in_a_network_too_and_are_told_once(change, code, spec):
    target = targets.spoiled(**change)
    assert judged(code, target, spec).outcome is Outcome.FAIL
    assert {other for other in CODES if judged(other, target, spec).outcome is Outcome.FAIL} <= {code, "BN802"}
    every, alone = complaints(target, spec)
    assert code in every - alone


def test_a_scale_of_the_weights_that_does_not_cancel_fails():
    target = targets.Pair(eps_outside, of_eps_outside)
    # eps is no longer a part of the root: with 4 eps it is twice too large.
    judgement = judged("BN802", target)
    assert (judgement.outcome, judgement.tensor) == (Outcome.FAIL, "y")
    assert roots(target) == {"BN101"}


def test_a_clip_that_twice_the_weights_reach_fails_alone():
    # BN403 too: its batch is beyond any clip.
    assert complaints(targets.Pair(scale_once), QUIET)[0] == {"BN403", "BN802"}


def test_weights_whose_gradient_does_not_halve_fail_alone():
    """dx that depends on the size of x, right for the ordinary one."""

    def forward(x, gamma, beta, eps):
        y, cache = targets.forward(x, gamma, beta, eps)
        return y, (*cache, np.abs(x).max())

    def backward(dy, cache):
        found = targets.backward(dy, cache[:-1])
        return found._replace(dx=found.dx * 1.1) if cache[-1] > SPREAD else found

    judgement = judged("BN802", targets.Pair(forward, backward), QUIET)
    assert judgement.outcome is Outcome.FAIL
    assert "dW is not half" in judgement.message


class Drifting(targets.Pair):
    """Changes gamma behind the caller's back once beta has moved: right as long as nothing is learned."""

    def __init__(self):
        def forward(x, gamma, beta, eps):
            moved = np.abs(beta).max() > 0 and not np.array_equal(beta * 1024, np.round(beta * 1024))
            return targets.forward(x, gamma * (1.001 if moved else 1.0), beta, eps)

        super().__init__(forward)


def test_what_goes_wrong_only_while_it_learns_fails_alone():
    judgement = judged("BN803", Drifting())
    assert judgement.outcome is Outcome.FAIL
    assert "steps of gradient descent" in judgement.message
    assert judged("BN801", Drifting()).outcome is Outcome.PASS
    assert roots(Drifting()) == {"BN803"}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize(
    "spec",
    [SPEC, SPACE, replace(SPEC, n=2), replace(SPEC, c=1), replace(SPEC, mean=100.0), replace(SPEC, eps=1e-12),
     replace(SPEC, gamma="zero"), replace(SPEC, constant=1)],
)  # fmt: skip
def test_a_right_pair_trips_nothing(spec, dtype):
    spec = replace(spec, dtype=dtype)
    found = {code: judged(code, targets.Pair(), spec).outcome for code in CODES}
    assert Outcome.FAIL not in found.values()
    if dtype == "float64":
        assert set(found.values()) == {Outcome.PASS}


def test_a_fixed_eps_cannot_be_scaled():
    fixed = targets.Pair(eps=SPEC.eps)
    found = {code: judged(code, fixed).outcome for code in CODES}
    assert found == {"BN801": Outcome.PASS, "BN802": Outcome.SKIP, "BN803": Outcome.PASS}


@pytest.mark.parametrize("missing", [("dx",), ("dgamma",), ("dx", "dgamma", "dbeta")])
def test_gradients_that_are_missing_are_skipped(missing):
    target = targets.spoiled(**dict.fromkeys(missing, lambda v: None))
    skipped = {code for code in CODES if judged(code, target).outcome is Outcome.SKIP}
    assert skipped == ({"BN801", "BN802"} if "dx" in missing else set()) | ({"BN803"} if "dgamma" in missing else set())


def test_a_layer_that_raises_among_others_is_skipped_with_the_reason():
    def forward(x, gamma, beta, eps):
        if np.abs(x).max() > SPREAD:
            raise ValueError("too large")
        return targets.forward(x, gamma, beta, eps)

    judgement = judged("BN802", targets.Pair(forward), QUIET)
    assert judgement.outcome is Outcome.SKIP
    assert "too large" in judgement.message


def test_what_is_not_finite_is_left_to_bn503():
    judgement = judged("BN801", targets.spoiled(dx=lambda v: v * np.nan))
    assert judgement.outcome is Outcome.SKIP
    assert "BN503" in judgement.message


@pytest.mark.parametrize("spec", [replace(SPEC, n=1), replace(SPEC, n=40)])
def test_networks_are_left_to_small_cases(spec):
    wrong = targets.spoiled(dx=lambda v: 2 * v, dgamma=lambda v: 2 * v)
    assert {judged(code, wrong, spec).outcome for code in CODES} == {Outcome.SKIP}


# ------------------------------------------------------------------------------------------------------ numbers by hand

RNG = np.random.default_rng(6)


@pytest.mark.parametrize("spatial", [(), (3,)])
@pytest.mark.parametrize("eps", [0.1, 4.0])
def test_an_error_of_dy_is_carried_by_the_formula_of_dx_without_signs(spatial, eps):
    case = build(CaseSpec(n=5, c=2, spatial=spatial, eps=eps, seed=4))
    axes = (0, *range(2, case.x.ndim))
    fwd, error = forward(case.x, case.gamma, case.beta, eps, axes), RNG.uniform(size=case.x.shape)
    found = _carried(case, fwd, error)
    for c in range(2):
        x, e = case.x[:, c].astype(np.float64), error[:, c]
        inv_std = 1 / np.sqrt(x.var() + eps)
        xhat = np.abs(x - x.mean()) * inv_std
        want = abs(case.gamma[c]) * inv_std * (e + e.mean() + xhat * (xhat * e).mean())
        np.testing.assert_allclose(found[:, c], want, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "u", "tiny"), [("float64", 2.0**-53, 0.0), ("float16", 2.0**-11, 2.0**-24)])
def test_gradients_err_by_their_own_rounding_and_by_that_of_y(dtype, u, tiny):
    case = build(CaseSpec(n=5, c=2, eps=0.1, seed=4, dtype=dtype, mean=3.0))
    x, gamma, beta = case.x.astype(np.float64), np.array([1.5, -0.5]), np.array([0.25, 2.0])
    fwd = forward(x, gamma, beta, 0.1)
    dy = fwd.y - x
    bounds = rounding_bounds(x, gamma, beta, dy, 0.1, u, tiny=tiny, one_pass=True)
    error = bounds.y + u * (np.abs(dy) + np.abs(x))
    xhat = np.abs(x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 0.1)
    want = [bounds.dgamma + (error * xhat).sum(axis=0), bounds.dbeta + error.sum(axis=0)]
    np.testing.assert_allclose(_errors_of_gradients(case, fwd, x, dy, gamma, beta), want, rtol=1e-9)


@pytest.mark.parametrize("spatial", [(), (3,), (2, 2)])
def test_gradients_of_weights_may_err_by_the_sum_of_what_dx_may(spatial):
    """The allowed error of dx, and a rounding of each of its elements, times the size of the weight's input."""
    dx, u, allowed = (RNG.normal(size=(4, channels, *spatial)) for channels in (2, 3, 2))
    allowed = np.abs(allowed)
    got = dx.copy()
    got[2, 1] += 1e3
    judgement = _weights(Evidence("network", {"u": u}), got, dx, allowed, "wrong")

    def gradient(dx, u):
        return np.array([[sum((dx[n, c] * u[n, k]).sum() for n in range(4)) for k in range(3)] for c in range(2)])

    limit = gradient(allowed + 2.0**-52 * np.abs(dx), np.abs(u))
    at = (1, int(np.argmax(np.abs(gradient(got - dx, u) / limit)[1])))
    assert (judgement.outcome, judgement.index, judgement.message) == (Outcome.FAIL, at, "wrong")
    assert judgement.allowed == pytest.approx(limit[at], rel=1e-9)
    assert judgement.got == pytest.approx(gradient(got, u)[at], rel=1e-9)
    assert judgement.want == pytest.approx(gradient(dx, u)[at], rel=1e-9, abs=1e-12)
    exact = _weights(Evidence("network", {"u": u}), got, dx, np.zeros(()), "wrong")
    assert exact.allowed == pytest.approx(2.0**-52 * gradient(np.abs(dx), np.abs(u))[exact.index], rel=1e-9, abs=0)
