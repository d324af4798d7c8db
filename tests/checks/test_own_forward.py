"""What is concluded where a joint probe is outside of its bar, from the probes of one gradient each: from numbers.

Errors and bars are powers of two: an error of K bars is on the edge to the last bit.
"""

import numpy as np
import pytest

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.against_own_forward import _alone, _by_reference, _judge, _lost
from bncheck.core.tolerance import K
from bncheck.core.truth import allowances, truth
from bncheck.model import TENSORS, Evidence, Fault, Outcome

ON, ABOVE = K * 0.25, float(np.nextafter(K * 0.25, np.inf))


def seen(total=ON, **errors):
    arrays = {}
    for channel, (name, error) in enumerate(errors.items()):
        arrays |= {f"{name}.error": error, f"{name}.bar": 0.25, f"{name}.channel": channel}
    joint = Evidence("joint-probe", {"total": np.float64(total), "total_bar": np.float64(0.25)})
    return {"joint-probe": joint, "lone-probes": Evidence("lone-probes", arrays)}


def told(judgement):
    return judgement.outcome, judgement.tensor, judgement.error, judgement.allowed, judgement.index


def test_without_probes_of_one_gradient_a_failure_is_a_suspicion():
    judgement = _alone({"joint-probe": seen()["joint-probe"]}, "dgamma")
    assert (judgement.outcome, judgement.tensor, judgement.suspect) == (Outcome.FAIL, "dgamma", True)
    assert judgement.message == "the joint probe of dx, dgamma and dbeta is outside its error bar"


def test_a_forward_that_raised_while_it_was_probed_decides_nothing():
    fault = Fault("forward", "ValueError", "no")
    found = seen() | {"lone-probes": Evidence("lone-probes", fault=fault)}
    judgement = _alone(found, "dx")
    assert (judgement.outcome, judgement.tensor) == (Outcome.SKIP, "dx")
    assert judgement.message == "the forward raised while it was probed"


@pytest.mark.parametrize("tensor", ["dx", "dgamma", "dbeta"])
def test_a_gradient_outside_of_its_own_bar_fails(tensor):
    errors = dict.fromkeys(("dx", "dgamma", "dbeta"), 0.0)
    channel = list(errors).index(tensor)
    judgement = _alone(seen(**errors | {tensor: ABOVE}), tensor)
    assert told(judgement) == (Outcome.FAIL, tensor, ABOVE, ON, (channel,))
    assert judgement.message == f"{tensor} is not the derivative of the forward"
    others = [name for name in errors if name != tensor]
    for other in others:
        judgement = _alone(seen(**errors | {tensor: ABOVE}), other)
        assert told(judgement) == (Outcome.PASS, other, 0.0, ON, (list(errors).index(other),))
        assert judgement.message == f"{other} alone is the derivative of the forward"


def test_an_error_on_the_edge_of_the_bar_is_within():
    judgement = _alone(seen(dx=ON, dgamma=0.0, dbeta=0.0), "dx")
    assert told(judgement) == (Outcome.PASS, "dx", ON, ON, (0,))
    assert judgement.message == "dx is the derivative of the forward, which mixes channels"


def test_a_gradient_that_was_not_probed_accuses_none():
    judgement = _alone(seen(dx=0.0, dbeta=0.0), "dx")
    assert (judgement.outcome, judgement.message) == (
        Outcome.PASS,
        "dx is the derivative of the forward, which mixes channels",
    )


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_sum_over_all_channels_outside_of_its_bar_leaves_it_open(sign):
    judgement = _alone(seen(total=sign * ABOVE, dx=0.0, dgamma=0.5, dbeta=0.0), "dgamma")
    assert told(judgement) == (Outcome.INCONCLUSIVE, "dgamma", 0.5, ON, (1,))
    assert judgement.message == "the joint probe is outside its error bar, and no gradient alone is: not confirmed"


FAR = build(CaseSpec(seed=5, n=16, c=2, mean=1e6, eps=1e-5))


def off(share, *, one_pass, large_mean=None):
    """Return evidence of a y that errs by a share of what rounding may do, in two passes or in one."""
    y = truth(FAR).forward.y + share * np.asarray(allowances(FAR, one_pass=one_pass).y)
    seen = {"training": Evidence("training", {"y": y})}
    return seen if large_mean is None else seen | {"large-mean": Evidence("large-mean", facts=large_mean)}


def test_digits_that_one_pass_loses_are_a_suspicion_first():
    judgement = _lost(FAR, off(0.5, one_pass=True), "dx")
    assert (judgement.outcome, judgement.tensor, judgement.suspect) == (Outcome.FAIL, "dx", True)
    assert judgement.message == "y may have lost its digits"


def test_of_a_forward_that_has_lost_its_digits_the_derivative_says_nothing():
    judgement = _lost(FAR, off(0.5, one_pass=True, large_mean={"one_pass": True}), "dx")
    assert (judgement.outcome, judgement.tensor, judgement.suspect) == (Outcome.INCONCLUSIVE, "dx", False)
    assert judgement.message == "y has lost its digits here, and its derivative with them"


@pytest.mark.parametrize(
    "seen",
    [
        off(0.5, one_pass=True, large_mean={"one_pass": False}),  # two passes: what errs is something else
        off(0.5, one_pass=False),
        off(2.0, one_pass=True),
        off(2.0, one_pass=True, large_mean={"one_pass": True}),
        {"training": Evidence("training")},
    ],
)
def test_any_other_error_of_y_is_no_loss_of_digits(seen):
    assert _lost(FAR, seen, "dx") is None


NEAR = build(CaseSpec(seed=5, n=16, c=2, eps=1e-5))


def beside_reference(case=NEAR, **errors):
    """Return evidence of a training step that is right but for these errors, in shares of what rounding may do."""
    right, may = truth(case), allowances(case)
    off = {name: errors.get(name, 0.0) * np.asarray(getattr(may, name)) for name in TENSORS}
    arrays = {name: right.tensor(name) + off[name] for name in TENSORS}
    return {"training": Evidence("training", arrays)}


def confirmed(seen, tensor, case=NEAR):
    return _by_reference(case, seen, (tensor, 1.0, 0.5, (1,)))


def test_the_reference_tells_which_gradient_of_a_right_forward_is_wrong():
    seen = beside_reference(dgamma=1e6)
    judgement = confirmed(seen, "dgamma")
    assert told(judgement) == (Outcome.FAIL, "dgamma", 1.0, 0.5, (1,))
    assert (judgement.message, judgement.suspect) == ("dgamma is not the derivative of the forward", False)
    for other in ("dx", "dbeta"):
        judgement = confirmed(seen, other)
        assert (judgement.outcome, judgement.tensor) == (Outcome.PASS, other)
        assert judgement.message == f"{other} alone is the derivative of the forward"


@pytest.mark.parametrize("errors", [{"dx": 1e6, "y": 1e6}, {}], ids=["the forward is wrong", "no gradient is"])
def test_the_reference_does_not_tell_of_another_forward_nor_without_a_wrong_gradient(errors):
    assert confirmed(beside_reference(**errors), "dx") is None


def test_the_reference_does_not_tell_where_it_cannot_decide():
    """In float16, around 1e3, rounding may do to y what it likes."""
    case = build(CaseSpec(seed=5, n=16, c=2, mean=1e3, eps=1e-5, dtype="float16"))
    assert confirmed(beside_reference(case, dbeta=1e6), "dbeta", case) is None


def probed(seen, *residual, bar=0.25, scale=2.0**40, **kinds):
    """Return evidence with a joint probe of two channels: what is left of the slope, error bars, and their scale."""
    arrays = {"residual": np.array(residual), "bar": np.full(2, bar), "scale": np.full(2, scale)}
    return seen | {"joint-probe": Evidence("joint-probe", arrays, **kinds)}


@pytest.mark.parametrize("of", ["training", "joint-probe"])
def test_a_forward_that_raised_says_nothing_of_its_derivative(of):
    seen = probed(beside_reference(), 0.0, 0.0)
    seen[of] = Evidence(of, seen[of].arrays, fault=Fault("forward", "ValueError", "no"))
    judgement = _judge(NEAR, seen, "dgamma")
    assert (judgement.outcome, judgement.tensor) == (Outcome.SKIP, "dgamma")
    assert judgement.message == "the forward raised while it was probed"


def test_a_slope_within_its_bar_is_told_with_its_worst_channel():
    assert told(_judge(NEAR, probed(beside_reference(), 0.0, -ON), "dx")) == (Outcome.PASS, "dx", ON, ON, (1,))


def test_bars_as_wide_as_the_slope_itself_decide_nothing():
    judgement = _judge(NEAR, probed(beside_reference(), 0.0, ON, scale=0.25), "dx")
    assert told(judgement) == (Outcome.INCONCLUSIVE, "dx", ON, ON, (1,))
    assert judgement.message == "rounding hides the derivative of the forward here"


def test_a_slope_outside_of_its_bar_is_judged_by_the_reference_first():
    judgement = _judge(NEAR, probed(beside_reference(dx=1e6), ABOVE, 0.0), "dx")
    assert (*told(judgement), judgement.suspect) == (Outcome.FAIL, "dx", ABOVE, ON, (0,), False)


def test_a_slope_outside_of_its_bar_is_lost_with_the_digits_of_y_then():
    seen = probed(off(0.5, one_pass=True, large_mean={"one_pass": True}), ABOVE, 0.0)
    seen["training"].arrays["dx"] = truth(FAR).gradients.dx
    judgement = _judge(FAR, seen, "dx")
    assert (judgement.outcome, judgement.tensor) == (Outcome.INCONCLUSIVE, "dx")
    assert judgement.message == "y has lost its digits here, and its derivative with them"
