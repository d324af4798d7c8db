"""BN221 to BN223 on sessions whose library differentiates twice and forwards: here by a step in the complex plane."""

from dataclasses import replace

import numpy as np
import pytest
import targets
from layers import Keeping, Session

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS
from bncheck.checks.higher import _judge
from bncheck.driver import judge
from bncheck.exhibit import exhibit
from bncheck.model import Evidence, Outcome

SPEC = CaseSpec(seed=5, n=6, c=3, eps=0.1)
SPACE = replace(SPEC, n=3, spatial=(2, 3))
STEP = 1e-30


class Differentiated(targets.Pair):
    """A right target with a library beneath; what it answers may be spoiled."""

    def __init__(self, second=lambda v: v, tangent=lambda v: v, alone=lambda gradients: gradients):
        super().__init__()
        self.spoil = second, tangent, alone

    def open(self, setup):
        return _Session(self, super().open(setup), setup)


class _Session:
    """The derivative of an analytic f along v is ``imag(f(x + i h v)) / h``, to the last digit."""

    def __init__(self, target, session, setup):
        self.target, self.session, self.setup = target, session, setup

    def forward(self, x, mode="train"):
        self.x = x
        return self.session.forward(x)

    def backward(self, dy):
        return self.session.backward(dy)

    def handed_over(self):
        return self.session.handed_over()

    def running_stats(self):
        return None

    def moved(self, v):
        return targets.forward(self.x + 1j * STEP * v, self.setup.gamma, self.setup.beta, self.setup.eps)

    def second(self, dy, v):
        return self.target.spoil[0](targets.backward(dy, self.moved(v)[1]).dx.imag / STEP)

    def tangent(self, v):
        return self.target.spoil[1](self.moved(v)[0].imag / STEP)

    def alone(self, dy, name):
        found = self.target.spoil[2](self.session.backward(dy))
        return None if found is None else (self.forward(self.x), getattr(found, name))


def judged(code, target, spec=SPEC):
    return judge(target, spec, [CHECKS.get(code)])[0].judgements[code]


def refusing(_):
    raise RuntimeError("differentiated once only")


@pytest.mark.parametrize("code", ["BN221", "BN222", "BN223"])
@pytest.mark.parametrize("spec", [SPEC, SPACE, replace(SPEC, mean=100.0), replace(SPEC, sd=1e-3)])
def test_right_derivatives_pass(code, spec):
    assert judged(code, Differentiated(), spec).outcome is Outcome.PASS


@pytest.mark.parametrize("wrong", [lambda v: 1.0001 * v, np.zeros_like, np.abs])
def test_a_wrong_second_derivative_warns_alone(wrong):
    assert judged("BN221", Differentiated(second=wrong)).outcome is Outcome.WARN
    assert judged("BN222", Differentiated(second=wrong)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "wrong", [lambda v: 1.0001 * v, np.zeros_like, lambda v: v + v.mean(axis=0, keepdims=True) + 1]
)
def test_a_wrong_forward_mode_fails_alone(wrong):
    assert judged("BN222", Differentiated(tangent=wrong)).outcome is Outcome.FAIL
    assert judged("BN221", Differentiated(tangent=wrong)).outcome is Outcome.PASS


@pytest.mark.parametrize("code", ["BN221", "BN222"])
def test_rounding_of_terms_that_cancel_is_no_fault(code):
    """Of two values xhat is -1 and 1, whatever they are: what is left of y's derivative is eps."""
    rounded = Differentiated(*2 * (lambda v: v + 2.0**-25,))
    spec = CaseSpec(n=2, c=1, dtype="float32", numbers="plain")
    assert judged(code, rounded, spec).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("code", ["BN221", "BN222"])
def test_what_is_refused_or_not_offered_is_skipped(code):
    told = judged(code, Differentiated(refusing, refusing))
    assert told.outcome is Outcome.SKIP
    assert "differentiated once only" in told.message
    assert judged(code, targets.Pair()).outcome is Outcome.SKIP
    assert judged(code, Differentiated(lambda v: None, lambda v: None)).outcome is Outcome.SKIP


def test_a_gradient_that_is_another_one_alone_fails():
    for name in ("dx", "dgamma", "dbeta"):
        lost = Differentiated(alone=lambda found, name=name: found._replace(**{name: 0 * getattr(found, name)}))
        told = judged("BN223", lost)
        assert (told.outcome, told.tensor, told.got) == (Outcome.FAIL, name, 0)
        assert judged("BN221", lost).outcome is Outcome.PASS


def test_a_gradient_that_is_another_one_alone_is_shown_beside_that_of_the_step():
    spoiled = Differentiated(alone=lambda found: found._replace(dx=found.dx * (1 + 1e-15), dgamma=2 * found.dgamma))
    check = CHECKS.get("BN223")
    _, case, seen = judge(spoiled, SPEC, [check])
    (compared,) = exhibit(case, seen, check, forward_only=False).comparisons
    assert (compared.tensor, compared.oracle) == ("dgamma", "with the others")
    np.testing.assert_array_equal(2 * np.array(compared.expected.values), compared.found.values)
    np.testing.assert_array_less(0, compared.allowed.values)


def test_a_gradient_alone_may_be_rounded_otherwise():
    """Two right evaluations differ by the rounding of either: what is off by a thousandth is not rounding."""
    rounded = Differentiated(alone=lambda found: found._replace(dx=found.dx * (1 + 1e-15)))
    assert judged("BN223", rounded).outcome is Outcome.PASS
    off = Differentiated(alone=lambda found: found._replace(dx=found.dx * 1.001))
    assert judged("BN223", off).outcome is Outcome.FAIL


def test_a_gradient_alone_that_raises_is_warned_of():
    told = judged("BN223", Differentiated(alone=refusing))
    assert told.outcome is Outcome.WARN
    assert "differentiated once only" in told.message


def test_of_gradients_that_are_not_finite_nothing_is_decided():
    lost = targets.spoiled(**dict.fromkeys(("dx", "dgamma", "dbeta"), lambda value: value * np.nan))
    target = Differentiated()
    target.functions = lost.functions
    told = judged("BN223", target)
    assert (told.outcome, told.message) == (Outcome.INCONCLUSIVE, "rounding leaves nothing to compare")


def test_code_that_takes_frozen_parameters_for_eval_mode_is_not_accused():
    class Frozen(_Session):
        def alone(self, dy, name):
            y, gradient = super().alone(dy, name)
            return (y, gradient) if name == "dx" else (2 * y, 2 * gradient)

    class Target(Differentiated):
        def open(self, setup):
            return Frozen(self, super().open(setup).session, setup)

    told = judged("BN223", Target())
    assert (told.outcome, told.message) == (Outcome.SKIP, "y is another one where dgamma alone is wanted")


def test_what_is_not_asked_alone_is_skipped():
    assert judged("BN223", targets.Pair()).outcome is Outcome.SKIP
    assert judged("BN223", Differentiated(alone=lambda found: None)).outcome is Outcome.SKIP


class Recorded(Session):
    """A layer whose library records what is done to its statistics."""

    graphs = trained = ()

    def hanging(self):
        names = ("running_mean", "running_var")
        return {n: "graph" if n in self.graphs else "gradient" if n in self.trained else "" for n in names}


@pytest.mark.parametrize("graphs", [("running_mean",), ("running_mean", "running_var")])
def test_statistics_on_which_a_graph_hangs_are_warned_of(graphs):
    told = judged("BN311", Keeping(session=type("Hanging", (Recorded,), {"graphs": graphs})))
    assert told.outcome is Outcome.WARN
    assert told.message.startswith(f"the graph of training hangs on {' and '.join(graphs)}: update under")


@pytest.mark.parametrize("trained", [("running_var",), ("running_mean", "running_var")])
def test_statistics_that_get_gradients_are_warned_of(trained):
    told = judged("BN311", Keeping(session=type("Trained", (Recorded,), {"trained": trained})))
    assert told.outcome is Outcome.WARN
    assert told.message.startswith(f"gradients are asked for {' and '.join(trained)}, and an optimizer")


def test_statistics_without_a_graph_pass():
    assert judged("BN311", Keeping(session=Recorded)).outcome is Outcome.PASS


def test_what_no_library_records_is_skipped():
    assert "no library" in judged("BN311", Keeping()).message
    assert judged("BN311", targets.Pair()).outcome is Outcome.SKIP


# ------------------------------------------------------------------------------------------------------ numbers by hand

SINGLE = build(CaseSpec(n=4, c=2, spatial=(2,), dtype="float32", mean=2.0, eps=0.1, seed=3))
ALONG = np.random.default_rng(5).normal(size=SINGLE.x.shape)


def by_channel(values):
    return np.abs(np.moveaxis(values.astype(np.float64), 1, 0).reshape(2, -1)).max(axis=1)


def of_slope(found, slope, order):
    """Judge what a library says of a function that has the slope everywhere."""
    evidence = Evidence("higher-order", {"tangent": found, "v": ALONG})
    return _judge(SINGLE, {"higher-order": evidence}, "tangent", lambda x: slope * x, order, "wrong")


@pytest.mark.parametrize(("order", "outcome"), [(1, Outcome.FAIL), (2, Outcome.WARN)])
@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize("slope", [0.0, 3.0])
def test_a_derivative_may_err_by_a_power_of_the_condition(order, outcome, channel, slope):
    """Of its own size, once more than it is a derivative of; of the terms that cancel, as often."""
    x = np.moveaxis(SINGLE.x.astype(np.float64), 1, 0).reshape(2, -1)
    inv_std = 1 / np.sqrt(x.var(axis=1) + 0.1)
    grown = 1 + by_channel(SINGLE.x) * inv_std
    terms = np.abs(SINGLE.gamma) * inv_std * by_channel(ALONG)
    if order == 2:
        terms = terms * inv_std * by_channel(SINGLE.dy)
    u = 2.0**-24
    found = slope * ALONG
    # With no slope at all the terms are what counts: what is found beside them is small.
    found[1, channel, 1] += 20 * u * (grown**order * terms)[channel] if slope == 0 else 5.0
    judgement = of_slope(found, slope, order)
    size = slope * by_channel(ALONG) + by_channel(found)
    allowed = u * (64 * 8 * grown ** (order + 1) * size + 8 * grown**order * terms)
    assert (judgement.outcome, judgement.index) == (outcome, (1, channel, 1))
    assert judgement.allowed == pytest.approx(allowed[channel], rel=0.1, abs=0)
    assert judgement.want == pytest.approx(slope * ALONG[1, channel, 1], rel=1e-9)
    assert of_slope(slope * ALONG, slope, order).outcome is Outcome.PASS
