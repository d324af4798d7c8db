"""BN301 to BN303 on targets that keep running statistics by a known rule, right and wrong."""

from dataclasses import replace

import numpy as np
import pytest
import targets

from bncheck.case import CaseSpec
from bncheck.checks.catalogue import CHECKS
from bncheck.driver import judge
from bncheck.model import Conventions, Outcome

SPEC = CaseSpec(seed=5, n=6, c=3, momentum=0.3)


class Keeping(targets.Pair):
    """A right layer that keeps running statistics; each rule may be replaced by a wrong one."""

    def __init__(self, sense="kept", var="biased", start=(0.0, 1.0), update=None, evaluate=None, misfit=None):
        super().__init__()
        self.sense, self.var, self.start = sense, var, start
        self.update, self.evaluate = update or self.rule, evaluate or self.normalise
        self.conventions = Conventions(
            "test", ("NC", "NCHW"), "(C,)", "argument", None, "tuple", momentum_sense=sense, running_var=var,
            mode_switch="argument train", misfit=misfit,
        )  # fmt: skip

    def rule(self, old, batch, momentum, step):
        """Mix old and batch."""
        kept = {"kept": momentum, "new": 1 - momentum, "cumulative": step / (step + 1)}[self.sense]
        return kept * old + (1 - kept) * batch

    @staticmethod
    def normalise(x, mean, var, setup):
        """The formula of eval mode."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = (setup.gamma / np.sqrt(var + setup.eps)).reshape(shape)
        return scale * (x - mean.reshape(shape)) + setup.beta.reshape(shape)

    def open(self, setup):
        return _Session(self, super().open(setup), setup)


class _Session:
    def __init__(self, layer, session, setup):
        self.layer, self.session, self.setup, self.steps = layer, session, setup, 0
        self.mean, self.variance = (np.full(setup.gamma.size, value) for value in layer.start)

    def forward(self, x, mode="train"):
        if mode == "eval":
            return self.layer.evaluate(x, self.mean, self.variance, self.setup)
        axes, m = (0, *range(2, x.ndim)), x.size // x.shape[1]
        var = x.var(axis=axes) * (m / (m - 1) if self.layer.var == "unbiased" else 1)
        momentum = self.setup.momentum
        self.mean = self.layer.update(self.mean, x.mean(axis=axes), momentum, self.steps)
        self.variance = self.layer.update(self.variance, var, momentum, self.steps)
        self.steps += 1
        return self.session.forward(x)

    def backward(self, dy):
        return self.session.backward(dy)

    def handed_over(self):
        return self.session.handed_over()

    def running_stats(self):
        return self.mean, self.variance


def outcome(code, target, spec=SPEC):
    return judge(target, spec, [CHECKS.get(code)])[0].judgements[code]


@pytest.mark.parametrize("sense", ["kept", "new", "cumulative"])
@pytest.mark.parametrize("var", ["biased", "unbiased"])
@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, spatial=(2, 3)), replace(SPEC, mean=1e4), replace(SPEC, n=2)])
def test_right_statistics_pass(sense, var, spec):
    layer = Keeping(sense, var)
    assert outcome("BN301", layer, spec).outcome is Outcome.PASS
    assert outcome("BN302", layer, spec).outcome is Outcome.PASS


def test_the_momentum_on_the_wrong_side_fails():
    layer = Keeping(update=lambda old, batch, momentum, step: (1 - momentum) * old + momentum * batch)
    assert outcome("BN301", layer).outcome is Outcome.FAIL


def test_an_error_of_one_millionth_in_the_update_fails():
    layer = Keeping(update=lambda old, batch, momentum, step: (momentum + 1e-6) * old + (1 - momentum) * batch)
    assert outcome("BN301", layer).outcome is Outcome.FAIL


def test_a_rule_that_holds_for_the_first_batch_only_fails():
    layer = Keeping()
    layer.update = lambda old, batch, momentum, step: old if step == 1 else Keeping.rule(layer, old, batch, momentum, 0)
    assert "after batch 2" in outcome("BN301", layer).message


@pytest.mark.parametrize("sense", ["unknown", "last"])
def test_a_rule_that_is_none_fails(sense):
    layer = Keeping()
    layer.conventions = replace(layer.conventions, momentum_sense=sense)
    assert outcome("BN301", layer).outcome is Outcome.FAIL


def test_eval_with_the_batch_statistics_fails_and_is_named():
    def batch_statistics(x, mean, var, setup):
        axes = (0, *range(2, x.ndim))
        return Keeping.normalise(x, x.mean(axis=axes), x.var(axis=axes), setup)

    judgement = outcome("BN302", Keeping(evaluate=batch_statistics))
    assert judgement.outcome is Outcome.FAIL
    assert "batch's own statistics" in judgement.message


def test_eval_without_eps_fails():
    def no_eps(x, mean, var, setup):
        return Keeping.normalise(x, mean, var, replace(setup, eps=0.0))

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
