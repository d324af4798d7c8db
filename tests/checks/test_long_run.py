"""BN307 to BN309 on layers that keep running statistics by a rule that holds for a while, or is not theirs alone."""

from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import SPEC, complaints, judged, roots
from layers import Keeping, Session

from bncheck.model import Outcome

SPACE = replace(SPEC, n=5, spatial=(2, 2))
CODES = ["BN307", "BN308"]


class LearningInBackward(Session):
    """Takes the batch in once more when the gradient comes."""

    def backward(self, dy):
        self.learn(self.x)
        return super().backward(dy)


class VarianceInBackward(Session):
    """Writes one of the two, by very little."""

    def backward(self, dy):
        self.variance = self.variance * (1 + 1e-15)
        return super().backward(dy)


@pytest.mark.parametrize(("session", "name"), [(LearningInBackward, "mean"), (VarianceInBackward, "var")])
def test_statistics_that_a_backward_moves_fail_alone(session, name):
    layer = Keeping(session=session)
    judgement = judged("BN307", layer)
    assert (judgement.outcome, judgement.message) == (Outcome.FAIL, f"running_{name} is changed by the backward")
    assert roots(layer) == {"BN307"}


def frozen(old, batch, momentum, step):
    return old if step > 20 else momentum * old + (1 - momentum) * batch


def drifting(old, batch, momentum, step):
    return momentum * old + (1 - momentum) * batch + (1e-6 if step > 5 else 0.0)


def cumulative_by_and_by(old, batch, momentum, step):
    kept = max(momentum, step / (step + 1)) if step > 4 else momentum
    return kept * old + (1 - kept) * batch


@pytest.mark.parametrize("update", [frozen, drifting, cumulative_by_and_by], ids=lambda f: f.__name__)
@pytest.mark.parametrize("spec", [SPEC, SPACE])
def test_a_rule_that_holds_for_a_while_fails_alone(update, spec):
    layer = Keeping(update=update)
    assert judged("BN301", layer, spec).outcome is Outcome.PASS
    assert judged("BN308", layer, spec).outcome is Outcome.FAIL
    assert complaints(layer, spec)[0] == {"BN308"}


def test_a_sum_that_is_taken_for_an_average_is_told_once():
    layer = Keeping(update=lambda old, batch, momentum, step: old + (1 - momentum) * batch)
    every, alone = complaints(layer)
    assert {"BN301", "BN308"} <= every
    assert alone == {"BN301"}


@pytest.mark.parametrize("sense", ["kept", "new", "cumulative"])
@pytest.mark.parametrize("var", ["biased", "unbiased"])
@pytest.mark.parametrize(
    "spec", [SPEC, SPACE, replace(SPEC, n=2), replace(SPEC, mean=1e4), replace(SPEC, momentum=0.99)]
)
def test_right_statistics_pass_after_many_steps(sense, var, spec):
    layer = Keeping(sense, var)
    assert [judged(code, layer, spec).outcome for code in CODES] == [Outcome.PASS] * 2


def test_statistics_in_float32_beside_float64_data_pass():
    def single(old, batch, momentum, step):
        return (momentum * old + (1 - momentum) * batch).astype(np.float32)

    assert [judged(code, Keeping(update=single)).outcome for code in CODES] == [Outcome.PASS] * 2


def test_a_fraction_of_the_code_s_own_is_followed():
    layer = Keeping(update=lambda old, batch, momentum, step: 0.9 * old + 0.1 * batch)
    assert judged("BN308", layer).outcome is Outcome.FAIL
    layer.told(momentum_sense="fixed", momentum=0.9)
    assert judged("BN308", layer).outcome is Outcome.PASS


@pytest.mark.parametrize("sense", ["unknown", "changing", "last"])
def test_a_rule_that_is_not_known_is_left_to_bn301(sense):
    judgement = judged("BN308", Keeping(update=frozen).told(momentum_sense=sense))
    assert judgement.outcome is Outcome.SKIP
    assert "BN301" in judgement.message


@pytest.mark.parametrize("code", [*CODES, "BN309"])
def test_code_without_statistics_is_skipped(code):
    assert judged(code, targets.Pair()).outcome is Outcome.SKIP


@pytest.mark.parametrize("spec", [replace(SPEC, n=1), replace(SPEC, n=40), replace(SPEC, recipe="draw")])
def test_many_steps_are_left_to_small_cases(spec):
    layer = Keeping(update=drifting, session=LearningInBackward)
    assert [judged(code, layer, spec).outcome for code in CODES] == [Outcome.SKIP] * 2


def ninth(old, batch, momentum, step):
    return 0.9 * old + 0.1 * batch


def test_a_momentum_that_is_accepted_and_ignored_fails_alone():
    layer = Keeping(update=ninth).told(momentum_sense="fixed", momentum=0.9, unread="momentum")
    judgement = judged("BN309", layer)
    assert judgement.outcome is Outcome.FAIL
    assert judgement.message == "momentum is accepted and ignored: 0.9 of the old statistics stay whatever it is"
    assert roots(layer) == {"BN309"}


def test_where_nothing_stays_no_momentum_is_heeded_and_it_is_told_once():
    last = Keeping(update=lambda old, batch, momentum, step: batch)
    layer = last.told(momentum_sense="last", momentum=0.0, unread="momentum")
    assert judged("BN309", layer).outcome is Outcome.SKIP
    assert roots(layer) == {"BN301"}


@pytest.mark.parametrize("told", [{"momentum_sense": "fixed", "momentum": 0.9}, {"unread": "momentum"}])
def test_a_momentum_that_is_hard_coded_or_moves_the_statistics_is_heeded(told):
    """Nothing accepted, nothing ignored; and what moves the statistics is read, whatever the source looks like."""
    assert judged("BN309", Keeping(update=ninth).told(**told)).outcome is Outcome.PASS
