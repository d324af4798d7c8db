"""BN301 to BN303 on targets that keep running statistics by a known rule, right and wrong."""

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
    assert outcome("BN301", layer, SPEC).outcome is Outcome.FAIL


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
