"""How BN306 tells gradients of training mode from those of eval mode, and how far it lets either err."""

from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import SPEC, judged
from layers import Keeping, eval_gradients

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.eval_gradients import _gradients_judged, _of_training, _rounding_of_training
from bncheck.checks.evaluation import Used
from bncheck.model import Evidence, Outcome

CASE = build(CaseSpec(n=7, c=2, seed=8, mean=0.5, eps=0.1))
MEAN, INV_STD = np.array([0.4, -0.3]), np.array([0.7, 1.6])
MU, OWN = CASE.x.mean(axis=0), 1 / np.sqrt(CASE.x.var(axis=0) + 0.1)
EVIDENCE = Evidence("running", {"dy": CASE.dy})
# By whichever statistics: the running ones, the batch's own, those of the training batch before it, which is -x.
SCALES = {"running": INV_STD, "own": OWN}
CENTRES = {"running": MEAN, "own": MU, "before": -MU}


def of_training(outer, centre, inner, constant=0.0):
    xhat = (CASE.x - CENTRES[centre]) * SCALES[inner]
    return CASE.gamma * SCALES[outer] * (CASE.dy - xhat * (CASE.dy * xhat).mean(axis=0)) + constant


def told(dx, allowed=1e-12, **share):
    used = Used(MEAN, INV_STD, np.zeros(()), np.zeros(()), fits=True)
    return _of_training(CASE, EVIDENCE, dx, used, allowed, **share)


@pytest.mark.parametrize("constant", [0.0, np.array([3.0, -1.0])], ids=["", "and a constant"])
@pytest.mark.parametrize("inner", SCALES)
@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("outer", SCALES)
def test_a_gradient_of_training_is_told_by_whichever_statistics(outer, centre, inner, constant):
    dx = of_training(outer, centre, inner, constant)
    assert told(dx)
    assert not told(dx + 1e-6 * CASE.dy)
    assert not told(1.5 * dx)
    assert not told(np.where(np.arange(2) == 1, dx + 1e-6 * CASE.dy, dx))


def test_the_gradient_of_eval_mode_is_not_that_of_training():
    assert not told(CASE.gamma * INV_STD * CASE.dy)


@pytest.mark.parametrize("channel", [0, 1])
def test_a_gradient_of_training_may_err_by_what_is_allowed(channel):
    dx = of_training("own", "own", "own")
    off = np.zeros_like(dx)
    off[:2, channel] = 0.9e-4, -0.9e-4
    assert told(dx + off, allowed=1e-4)
    assert not told(dx + off, allowed=0.5e-4)


def test_a_gradient_of_training_may_err_by_a_share_of_itself():
    dx = of_training("running", "own", "own")
    assert told(dx * (1 + 0.9e-4), allowed=0.0, share=1e-4)
    assert not told(dx * (1 + 1e-5), allowed=0.0, share=1e-6)


@pytest.mark.parametrize(("near", "far"), [(0.0, 1e3), (2.0, 50.0)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rounding_in_training_grows_with_the_square_of_the_condition(dtype, near, far):
    """One root of it is lost to x - mean(x), the other to a variance in one pass; above rounding there is 1e-6."""

    def of(mean):
        x = np.array([[mean - 1.0], [mean + 1.0]])
        case = replace(build(CaseSpec(n=2, c=1, dtype=dtype, eps=0.0)), x=x)
        return _rounding_of_training(case) - 1e-6, 1 + (mean + 1)

    (low, small), (high, large) = of(near), of(far)
    assert high / low == pytest.approx((large / small) ** 2, rel=1e-6, abs=0)
    assert low > {"float32": 2.0**-24, "float16": 2.0**-11}[dtype]


def test_the_condition_is_that_of_the_largest_value_in_standard_deviations():
    x = np.array([[100.0, 0.01], [101.0, -0.01]])  # of the whole batch: the largest value over the least spread
    case = replace(build(CaseSpec(n=2, c=2, dtype="float32", eps=0.0)), x=x)
    single = replace(build(CaseSpec(n=2, c=1, dtype="float32", eps=0.0)), x=np.array([[-1.0], [1.0]]))
    ratio = (_rounding_of_training(case) - 1e-6) / (_rounding_of_training(single) - 1e-6)
    assert ratio == pytest.approx(((1 + 101 / 0.01) / 2) ** 2, rel=1e-6, abs=0)


def test_a_rounding_of_training_is_never_less_than_a_millionth():
    assert 1e-6 <= _rounding_of_training(CASE) < 1.1e-6


class Told(Keeping):
    """Adds to one gradient of eval mode in its second channel, and remembers the statistics that it was made of."""

    def __init__(self, tensor):
        super().__init__(eval_backward=self.off)
        self.tensor = tensor

    def off(self, dy, x, mean, var, setup):
        found = eval_gradients(dy, x, mean, var, setup)
        self.x, self.dy, self.mean, self.inv_std = x, dy, mean, 1 / np.sqrt(var + setup.eps)
        changed = getattr(found, self.tensor).copy()
        changed[..., 1] *= 1.5
        return found._replace(**{self.tensor: changed})


@pytest.mark.parametrize("spec", [replace(SPEC, n=60, sd=50.0), replace(SPEC, n=60, sd=0.05, mean=3.0, eps=1e-3)])
@pytest.mark.parametrize("tensor", ["dx", "dgamma", "dbeta"])
def test_gradients_of_eval_mode_may_err_by_roundings_of_their_terms(tensor, spec):
    """Sums by one rounding for each term, and some twenty operations besides; dx by those alone."""
    target = Told(tensor)
    judgement = judged("BN306", target, spec)
    assert (judgement.outcome, judgement.tensor, judgement.index[-1]) == (Outcome.FAIL, tensor, 1)
    x, dy, u = target.x, np.abs(target.dy), 2.0**-53
    expected = {
        "dx": 20 * u * np.abs(build(spec).gamma * target.inv_std) * dy,
        "dgamma": 80 * u * (dy * (np.abs(x) + np.abs(target.mean)) * target.inv_std).sum(axis=0),
        "dbeta": 80 * u * dy.sum(axis=0),
    }[tensor]
    assert judgement.allowed == pytest.approx(expected[judgement.index], rel=0.2, abs=0)


MANY = build(CaseSpec(n=70, c=2, seed=8, mean=0.5, eps=0.1))
CENTRED = MANY.x - MANY.x.mean(axis=0)
ACROSS = MANY.dy - CENTRED * (MANY.dy * CENTRED).mean(axis=0) / (CENTRED**2).mean(axis=0)


@pytest.mark.parametrize(
    ("dy", "told"),
    [(np.ones((70, 1)) * np.array([2.0, -3.0]), False), (ACROSS, False), (MANY.dy, True)],
    ids=["constant", "without xhat", "any"],
)
def test_a_dy_that_has_no_share_of_xhat_tells_no_mode(dy, told):
    """Training takes a constant and a multiple of xhat away from dy; the constant is left free."""
    judgement = compared(dy)
    assert judgement.outcome is (Outcome.PASS if told else Outcome.SKIP)
    assert ("training mode has the same dx" in judgement.message) != told


def compared(dy=MANY.dy, gamma=MANY.gamma, framework="numpy", without=(), **wrong):
    """Return what is said of the gradients of eval mode by their formula, of which some are replaced, or missing."""
    case, xhat = replace(MANY, dy=dy, gamma=gamma), (MANY.x - MEAN) * INV_STD
    facts = {"conventions": Keeping().told(framework=framework).conventions}
    evidence = Evidence("running", {"dy": dy, "precision": np.zeros(1)}, facts)
    found = {"dx": gamma * INV_STD * dy, "dgamma": (dy * xhat).sum(axis=0), "dbeta": dy.sum(axis=0)} | wrong
    found = {name: value for name, value in found.items() if name not in without}
    used = Used(MEAN, INV_STD, np.zeros(()), np.zeros(()), fits=True)
    return _gradients_judged(case, evidence, found, used, knows_dx=True)


def dx_of_training(dy=MANY.dy, gamma=MANY.gamma):
    inv_std = 1 / np.sqrt(MANY.x.var(axis=0) + 0.1)
    xhat = CENTRED * inv_std
    return gamma * inv_std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))


NONE_THERE = "backward is that of training mode whatever the mode: eval mode has none"


def test_autograd_that_calls_the_backward_of_training_is_warned_of_and_a_backward_by_hand_is_not():
    judgement = compared(dx=dx_of_training())
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, NONE_THERE)
    judgement = compared(dx=dx_of_training(), framework="torch")
    assert (judgement.outcome, judgement.tensor) == (Outcome.WARN, "dx")
    assert judgement.message == "in eval mode autograd calls the backward of training: dx is another one"


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_without_a_dx_the_mode_of_the_others_is_left_open(framework):
    judgement = compared(framework=framework, dgamma=np.ones(2), without=("dx",))
    said = "no dx in eval mode by which to tell the mode of the others"
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, said)


def test_beside_a_dx_that_tells_no_mode_a_wrong_dgamma_is_left_open():
    judgement = compared(ACROSS, dgamma=np.ones(2), framework="torch")
    assert judgement.outcome is Outcome.SKIP
    assert judgement.message == "training mode has the same dx on this case: the mode cannot be told"


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("zero", ["dy", "gamma"])
def test_where_dx_is_to_be_0_a_dx_of_0_does_not_tell_whose_dgamma_is(zero, framework):
    given = {zero: 0 * {"dy": MANY.dy, "gamma": MANY.gamma}[zero]}
    judgement = compared(**given, dgamma=np.ones(2), framework=framework)
    said = "training mode has the same dx on this case: the mode cannot be told"
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, said)


@pytest.mark.parametrize(
    ("dx", "outcome"),
    [
        (1e6 * dx_of_training() * (1 + 5e-5), Outcome.SKIP),
        (1e6 * dx_of_training() * (1 + 5e-4), Outcome.FAIL),
    ],
)
def test_a_dx_of_training_is_told_within_a_share_of_itself_whatever_its_size(dx, outcome):
    assert compared(1e6 * MANY.dy, dx=dx).outcome is outcome


@pytest.mark.parametrize(("share", "outcome"), [(0.5e-6, Outcome.SKIP), (5e-6, Outcome.FAIL)])
def test_a_dx_of_training_is_told_within_rounding_of_its_largest_value(share, outcome):
    """The second channel is a billionth of the first: there any error is one of rounding in the first."""
    dy, gamma = 1e6 * MANY.dy, np.array([1.0, 1e-9])
    dx = dx_of_training(dy, gamma)
    dx[:, 1] += np.where(np.arange(70) % 2, share, -share) * np.abs(dx).max()
    assert compared(dy, gamma, dx=dx).outcome is outcome


def test_where_gamma_is_0_so_is_dx():
    gamma = np.array([0.0, 1.0])
    dx = gamma * INV_STD * MANY.dy
    dx[5, 0] = 1e-3
    judgement = compared(gamma=gamma, dx=dx)
    assert (judgement.outcome, judgement.tensor, judgement.index) == (Outcome.FAIL, "dx", (5, 0))
    assert (judgement.error, judgement.got, judgement.want) == (1e-3, 1e-3, 0.0)


def test_gradients_that_fit_neither_in_training_nor_in_eval_mode_are_left_to_training():
    def summed(dy, cache):
        return targets.backward(dy, cache)._replace(dgamma=np.ones(1))

    def summed_in_eval(*given):
        return eval_gradients(*given)._replace(dgamma=np.ones(1))

    judgement = judged("BN306", Keeping(backward=summed, eval_backward=summed_in_eval))
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, "no gradients of the right shapes (see BN501)")


def test_gradients_by_averages_that_nobody_can_read_are_skipped():
    judgement = judged("BN306", Keeping(eval_backward=eval_gradients).told(momentum_sense="finished"))
    said = "the statistics that eval mode works out are not read"
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, said)


class Silent(Keeping):
    """Returns zeros for some gradients of eval mode."""

    def __init__(self, *tensors):
        def of_eval(dy, x, mean, var, setup):
            found = eval_gradients(dy, x, mean, var, setup)
            return found._replace(**{name: 0 * getattr(found, name) for name in tensors})

        super().__init__(eval_backward=of_eval)


def test_zeros_for_dx_alone_are_wrong_in_eval_mode():
    """dx is gamma dy / sqrt(running_var + eps) there, after three batches of variance v, v' and v that 0.3 of stays."""
    found, case = judged("BN306", Silent("dx")), build(SPEC)
    assert (found.outcome, found.tensor, found.message) == (Outcome.FAIL, "dx", "dx in eval mode is wrong")
    var = np.ones(SPEC.c)
    for x in (case.x, np.concatenate([case.x[::-1], case.x[:1]]), -case.x):
        var = 0.3 * var + 0.7 * x.var(axis=0)
    want = (case.gamma / np.sqrt(var + SPEC.eps) * case.dy)[found.index]
    assert (found.got, found.want) == (0.0, pytest.approx(want, rel=1e-9, abs=0))


@pytest.mark.parametrize("tensors", [("dx", "dgamma"), ("dx", "dbeta")])
def test_zeros_for_dx_are_wrong_as_long_as_any_gradient_is_there(tensors):
    assert judged("BN306", Silent(*tensors)).outcome is Outcome.FAIL


def test_a_layer_whose_gradients_are_all_zero_in_eval_mode_may_be_frozen():
    found = judged("BN306", Silent("dx", "dgamma", "dbeta"))
    assert (found.outcome, found.message) == (Outcome.SKIP, "all gradients are 0 in eval mode: frozen there, it seems")


def test_without_a_dx_in_eval_mode_nothing_tells_the_mode_of_the_others():
    found = {"dgamma": np.array([3.0, -7.0]), "dbeta": MANY.dy.sum(axis=0)}
    used = Used(MEAN, INV_STD, np.zeros(()), np.zeros(()), fits=True)
    evidence = Evidence("running", {"dy": MANY.dy, "precision": np.zeros(1)})
    judgement = _gradients_judged(MANY, evidence, found, used, knows_dx=True)
    assert judgement.message == "no dx in eval mode by which to tell the mode of the others"
