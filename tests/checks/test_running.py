"""BN301 to BN303 on targets that keep running statistics by a known rule, right and wrong."""

import re
from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import judged as outcome
from layers import Keeping, Session, normalise

from bncheck.case import CaseSpec
from bncheck.model import Outcome

SPEC = CaseSpec(seed=5, n=6, c=3, momentum=0.3)


@pytest.mark.parametrize("sense", ["kept", "new", "cumulative"])
@pytest.mark.parametrize("var", ["biased", "unbiased"])
@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, spatial=(2, 3)), replace(SPEC, mean=1e4), replace(SPEC, n=2)])
def test_right_statistics_pass(sense, var, spec):
    layer = Keeping(sense, var)
    assert outcome("BN301", layer, spec).outcome is Outcome.PASS
    assert outcome("BN302", layer, spec).outcome is Outcome.PASS


def test_the_momentum_on_the_wrong_side_fails():
    layer = Keeping(update=lambda old, batch, momentum, step: (1 - momentum) * old + momentum * batch)
    judgement = outcome("BN301", layer, SPEC)
    assert judgement.outcome is Outcome.FAIL
    # Both numbers that the rule mixes are told, so that both mixtures can be made by hand.
    old, batch = map(float, re.findall(r"it was (\S+) before, and the batch's own is (\S+)", judgement.message)[0])
    assert judgement.got == pytest.approx(0.7 * old + 0.3 * batch, rel=1e-3)
    assert judgement.want == pytest.approx(0.3 * old + 0.7 * batch, rel=1e-3)


def test_an_error_of_one_millionth_in_the_update_fails():
    layer = Keeping(update=lambda old, batch, momentum, step: (momentum + 1e-6) * old + (1 - momentum) * batch)
    assert outcome("BN301", layer, SPEC).outcome is Outcome.FAIL


def test_a_rule_that_holds_for_the_first_batch_only_fails():
    layer = Keeping()
    layer.update = lambda old, batch, momentum, step: old if step == 1 else Keeping.rule(layer, old, batch, momentum, 0)
    assert "after batch 2" in outcome("BN301", layer, SPEC).message


@pytest.mark.parametrize("sense", ["unknown", "last"])
def test_a_rule_that_is_none_fails(sense):
    layer = Keeping()
    layer.conventions = replace(layer.conventions, momentum_sense=sense)
    assert outcome("BN301", layer, SPEC).outcome is Outcome.FAIL


def test_eval_with_the_batch_statistics_fails_and_is_named():
    def batch_statistics(x, mean, var, setup):
        axes = (0, *range(2, x.ndim))
        return normalise(x, x.mean(axis=axes), x.var(axis=axes), setup)

    judgement = outcome("BN302", Keeping(evaluate=batch_statistics))
    assert judgement.outcome is Outcome.FAIL
    assert "batch's own statistics" in judgement.message


def test_eval_without_eps_fails():
    def no_eps(x, mean, var, setup):
        return normalise(x, mean, var, replace(setup, eps=0.0))

    assert outcome("BN302", Keeping(evaluate=no_eps)).outcome is Outcome.FAIL


def test_eval_that_raises_warns():
    def refuses(x, mean, var, setup):
        raise ValueError("no")

    assert outcome("BN302", Keeping(evaluate=refuses)).outcome is Outcome.WARN


def test_statistics_in_float32_beside_float64_data_pass():
    def single(old, batch, momentum, step):
        return (momentum * old + (1 - momentum) * batch).astype(np.float32)

    assert outcome("BN301", Keeping(update=single)).outcome is Outcome.PASS


@pytest.mark.parametrize(("misfit", "wanted"), [("", "pass"), ("not as in x", "fail"), (None, "skip")])
def test_a_profile_that_was_asked_for_is_held_to(misfit, wanted):
    assert outcome("BN303", Keeping(misfit=misfit)).outcome == wanted


@pytest.mark.parametrize("code", ["BN301", "BN302", "BN303"])
def test_a_target_without_statistics_is_skipped(code):
    assert outcome(code, targets.Pair()).outcome is Outcome.SKIP


def test_a_batch_of_one_value_that_loses_the_unbiased_variance_for_good_warns():
    """Flux 1992, tensorflow 34062: 0 times m / (m - 1)."""

    class Unguarded(Session):
        def learn(self, x):
            super().learn(x)
            if len(x) == 1:
                self.variance = self.variance * np.nan

    single = replace(SPEC, n=1)
    judgement = outcome("BN301", Keeping(session=Unguarded).told(running_var="unbiased"), single)
    assert judgement.outcome is Outcome.WARN
    assert "running_var is nan" in judgement.message
    assert outcome("BN301", Keeping().told(running_var="unbiased"), single).outcome is Outcome.SKIP


def test_a_variance_that_is_lost_to_a_batch_of_one_value_says_how_to_mend_it():
    lost = Keeping(update=lambda old, batch, momentum, step: np.full_like(old, np.nan)).told(running_var="unbiased")
    judgement = outcome("BN301", lost, replace(SPEC, n=1))
    assert judgement.outcome is Outcome.WARN
    assert judgement.message.endswith("and stays so: raise on such a batch in training mode, as PyTorch does")


@pytest.mark.parametrize("channel", [0, 2])
def test_a_variance_that_is_lost_in_one_channel_says_which(channel):
    lost = np.arange(3) == channel
    rule = Keeping(update=lambda old, batch, momentum, step: np.where(lost, np.nan, 0.5 * (old + 1))).told(
        running_var="unbiased"
    )
    judgement = outcome("BN301", rule, replace(SPEC, n=1))
    assert (judgement.outcome, judgement.index, judgement.tensor) == (Outcome.WARN, (channel,), "running_var")
    assert np.isnan(judgement.got)


def test_what_discovery_says_of_an_unknown_rule_is_handed_on():
    noted = Keeping().told(momentum_sense="unknown", notes=("eps is 1", "the running variance is that of the mean"))
    assert outcome("BN301", noted).message == "the running variance is that of the mean"
    last = Keeping().told(momentum_sense="last", notes=("the running variance is that of the mean",))
    assert outcome("BN301", last).message == "the running statistics are those of the last batch alone"
    unknown = Keeping().told(momentum_sense="unknown", notes=("eps is 1",))
    assert outcome("BN301", unknown).message == "the running statistics follow no known rule"


class FromFirst(Session):
    """Takes the first batch as it is, and averages from the second one on."""

    share = 0.0

    def learn(self, x):
        first = self.steps == 0
        super().learn(x)
        if first:
            axes = (0, *range(2, x.ndim))
            self.mean, self.variance = x.mean(axis=axes), x.var(axis=axes)
            self.variance = self.variance + self.share * np.abs(self.variance)


@pytest.mark.parametrize("sense", ["kept", "new"])
def test_statistics_that_start_from_the_first_batch_pass(sense):
    layer = Keeping(sense, session=FromFirst).told(running_start="first batch")
    assert outcome("BN301", layer).outcome is Outcome.PASS


@pytest.mark.parametrize("share", [1e-6, -1e-6, 0.5])
def test_a_first_batch_that_is_not_taken_as_it_is_fails(share):
    off = type("Off", (FromFirst,), {"share": share})
    judgement = outcome("BN301", Keeping(session=off).told(running_start="first batch"))
    assert (judgement.outcome, judgement.tensor) == (Outcome.FAIL, "running_var")
    assert judgement.message == "running_var after batch 1 does not follow its rule"
    assert judgement.error == pytest.approx(abs(share) * judgement.want, rel=1e-6)
