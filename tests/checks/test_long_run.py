"""BN307 to BN309 and BN508 on layers that keep to a rule for a while, or keep what is not theirs alone."""

from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import SPEC, complaints, judged, roots
from layers import Keeping, Session

from bncheck.cases.arrays import build
from bncheck.experiments.long_run import _ELSEWHERE, many_steps
from bncheck.experiments.training import training_step
from bncheck.guard import describe
from bncheck.model import Evidence, Outcome

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


class Counting(targets.Pair):
    """Spoils a tensor in the steps that `when` is true of, the first of which is 0."""

    def __init__(self, tensor, when, spoil):
        super().__init__()
        self.tensor, self.when, self.spoil = tensor, when, spoil

    def open(self, setup):
        session = super().open(setup)
        forward, backward, steps = session.forward, session.backward, iter(range(1000))

        def counted(x, mode="train"):
            self.step = next(steps)
            y = forward(x)
            return self.spoil(y) if self.tensor == "y" and self.when(self.step) else y

        def spoiled(dy):
            found = backward(dy)
            if self.tensor == "y" or not self.when(self.step):
                return found
            return found._replace(**{self.tensor: self.spoil(getattr(found, self.tensor))})

        session.forward, session.backward = counted, spoiled
        return session


def slightly(array):
    return array * (1 + 1e-15)


@pytest.mark.parametrize("tensor", ["y", "dx", "dgamma", "dbeta"])
@pytest.mark.parametrize("first", [2, 20, 49])
def test_what_changes_after_some_steps_is_found(tensor, first):
    judgement = judged("BN508", Counting(tensor, lambda step: step >= first, slightly))
    assert judgement.outcome is Outcome.FAIL
    assert judgement.message == f"{tensor} differs between a step of a fresh layer and one after {first} others"
    assert judgement.tensor == tensor


@pytest.mark.parametrize("period", range(2, 12))
def test_no_period_hides_behind_the_other_batches(period):
    def when(step):
        return step % period == period - 1

    assert judged("BN508", Counting("dx", when, slightly)).outcome is Outcome.FAIL


def test_steps_on_another_batch_are_compared_with_nothing():
    layer = Counting("dx", lambda step: step in _ELSEWHERE and step > 1, slightly)
    judgement = judged("BN508", layer)
    assert judgement.outcome is Outcome.PASS
    assert judgement.message == "a step of a fresh layer and one after 49 others give the same bits"


def refusing(array):
    raise ValueError("out of buffers")


@pytest.mark.parametrize(("tensor", "where"), [("y", "forward"), ("dx", "backward")])
def test_what_raises_after_some_steps_is_found(tensor, where):
    judgement = judged("BN508", Counting(tensor, lambda step: step == 7, refusing))
    assert judgement.outcome is Outcome.FAIL
    assert f"one after 7 others only one works: {where} raised ValueError: out of buffers" in judgement.message


@pytest.mark.parametrize("at", [step for step in range(1, 49) if step in _ELSEWHERE])
def test_a_layer_that_sticks_to_a_batch_is_found(at):
    """Its mean is that of another batch from then on."""

    class Sticky(targets.Pair):
        def open(self, setup):
            session, means = super().open(setup), []
            forward = session.forward

            def stuck(x, mode="train"):
                means.append(x.mean(0))
                return forward(x) + (means[at] - x.mean(0) if len(means) > at else 0.0)

            session.forward = stuck
            return session

    judgement = judged("BN508", Sticky())
    assert judgement.outcome is Outcome.FAIL


def test_what_a_fresh_layer_refuses_is_not_run_again_and_again():
    layer = Counting("y", lambda step: True, refusing)
    seen = {"training": Evidence("training", {}, {}, describe(ValueError("out of buffers"), "forward"))}
    assert many_steps(layer, build(SPEC), seen) == Evidence("many-steps")


@pytest.mark.parametrize("forward_only", [True, False])
def test_the_calls_of_many_steps_are_counted(forward_only):
    layer = targets.Pair()
    layer.conventions = replace(layer.conventions, forward_only=forward_only)
    seen = {"training": training_step(layer, build(SPEC), {})}
    facts = many_steps(layer, build(SPEC), seen).facts
    assert facts == {"before": 49, "evaluations": 50 if forward_only else 100}


def lost(array):
    return array[:1]


@pytest.mark.parametrize("spoil", [lost, lambda array: None])
@pytest.mark.parametrize("tensor", ["y", "dx"])
def test_what_does_not_fit_after_some_steps_is_found(tensor, spoil):
    judgement = judged("BN508", Counting(tensor, lambda step: step >= 7, spoil))
    said = f"of a step of a fresh layer and one after 7 others only one has a {tensor} that fits"
    assert (judgement.outcome, judgement.message, judgement.tensor) == (Outcome.FAIL, said, tensor)


def test_slow_code_has_fewer_steps_and_ends_with_one_that_is_compared(monkeypatch):
    times = iter(range(100))
    monkeypatch.setattr("bncheck.experiments.long_run.time.monotonic", lambda: 0.3 * next(times))
    seen = {"training": training_step(targets.Pair(), build(SPEC), {})}
    found = many_steps(targets.Pair(), build(SPEC), seen)
    assert 3 < found.facts["before"] < 20
    assert found.facts["before"] not in _ELSEWHERE
    assert set(found.arrays) == {"y", "dx", "dgamma", "dbeta"}
