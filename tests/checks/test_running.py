"""BN301 to BN303 on targets that keep running statistics by a known rule, right and wrong."""

import re
from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import judged as outcome
from layers import Keeping, Session, normalise

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.running import _drift, _one_value, _updates
from bncheck.model import Evidence, Outcome

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


# ------------------------------------------------------------------------------------------- numbers worked out by hand


@pytest.mark.parametrize(
    ("read", "lost"),
    [
        ([[1, 1], [np.nan, 1], [np.nan, 1], [1, 1]], None),
        ([[1, 1], [1, 1], [1, 1], [1, np.nan]], 1),
        ([[1, 1], [1, np.nan], [np.nan, np.nan], [np.inf, 1]], 0),
    ],
    ids=["mended", "at last", "another one"],
)
def test_a_variance_is_lost_where_the_last_reading_is_no_number(read, lost):
    judgement = _one_value(Evidence("running", {"var": np.array(read)}))
    if lost is None:
        assert judgement.outcome is Outcome.SKIP
    else:
        assert (judgement.outcome, judgement.index) == (Outcome.WARN, (lost,))
        np.testing.assert_equal(judgement.got, read[-1][lost])
        assert f"running_var is {read[-1][lost]} after" in judgement.message


U = 2.0**-53
PEAKS = np.array([1.0, 16.0])
LARGE = build(CaseSpec(n=1000, c=2))
LARGE = replace(LARGE, x=np.where(np.arange(1000)[:, None] % 2, PEAKS, -PEAKS))
FIXED = {None: Keeping("kept").conventions, 0.5: Keeping().told(momentum_sense="fixed", momentum=0.5).conventions}


def after_many(name, first, last, measured=None, **changes):
    """Judge what fifty batches of mean 0 and variance 0 left of a first reading."""
    arrays = {f"first_{name}": first, f"last_{name}": last, f"batch_{name}": np.zeros((2, 2))}
    evidence = Evidence("long-run", arrays | changes, {"steps": 50, "precision": 0.0})
    return _drift(name, LARGE, evidence, FIXED[measured])


@pytest.mark.parametrize(("name", "power"), [("mean", 1), ("var", 2)])
@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize(("measured", "share"), [(None, 1000 * U), (0.5, 1e-9)])
def test_fifty_steps_may_err_by_the_largest_value_of_the_channel_in_each(name, power, channel, measured, share):
    """The second batch is -2 x; a mean errs by a share of its largest value, a variance by one of that value's square.

    A thousand roundings, one for each value, and 1e-9 where the fraction was measured.
    """
    off = 1e3 * (np.arange(2) == channel)
    judgement = after_many(name, np.zeros(2), off, measured)
    assert (judgement.outcome, judgement.index) == (Outcome.FAIL, (channel,))
    assert judgement.allowed == pytest.approx(50 * share * (2 * PEAKS[channel]) ** power, rel=0.02, abs=0)


def test_a_large_first_reading_errs_by_its_own_size():
    judgement = after_many("mean", np.array([1e6, 0.0]), np.array([1.0, 0.0]))
    assert (judgement.index, judgement.want) == ((0,), pytest.approx(1e6 * 0.1**49))
    assert judgement.allowed == pytest.approx(50 * 1000 * U * 1e6, rel=0.02, abs=0)


@pytest.mark.parametrize("missing", ["first_mean", "last_mean"])
def test_statistics_that_were_read_once_cannot_drift(missing):
    assert after_many("mean", np.zeros(2), np.ones(2), **{missing: None}).outcome is Outcome.SKIP


def one_update(name, old, taken, new, measured=None, unbiased=False):
    arrays = {name: np.array([old, new]), f"batch_{name}": np.array([taken]), "precision": np.zeros(1)}
    conventions = replace(FIXED[measured], running_var="unbiased" if unbiased else "biased")
    return _updates(
        name,
        replace(LARGE, spec=replace(LARGE.spec, momentum=0.5)),
        Evidence("running", arrays, {"m": [1000]}),
        conventions,
    )


@pytest.mark.parametrize("channel", [0, 1])
def test_an_update_may_err_as_a_batch_s_statistic_does(channel):
    """A mean of a thousand values by a thousand roundings of the mean size, twice, and half of it is taken in."""
    judgement = one_update("mean", np.zeros(2), np.zeros(2), 1e3 * (np.arange(2) == channel))
    assert (judgement.index, judgement.tensor) == ((channel,), "running_mean")
    assert judgement.allowed == pytest.approx(2 * 0.5 * 2 * 1000 * U * PEAKS[channel], rel=0.02, abs=0)


@pytest.mark.parametrize("channel", [0, 1])
def test_an_update_may_err_as_a_variance_in_one_pass_does(channel):
    """A share g of var, 2 g mean|x| sd and 2 g mean(x**2), of which each is that of the value's square here; twice."""
    judgement = one_update("var", np.zeros(2), np.zeros(2), 1e3 * (np.arange(2) == channel))
    assert (judgement.index, judgement.tensor) == ((channel,), "running_var")
    assert judgement.allowed == pytest.approx(2 * 0.5 * 2 * 5 * 1000 * U * PEAKS[channel] ** 2, rel=0.02, abs=0)


def test_an_update_may_err_by_roundings_of_what_it_mixes():
    judgement = one_update("mean", np.array([0.0, 3e9]), np.array([0.0, 1e9]), np.array([0.0, 0.0]))
    assert judgement.want == 2e9
    assert judgement.allowed == pytest.approx(8 * U * (3e9 + 1e9), rel=0.02, abs=0)


def test_a_fraction_that_was_measured_is_known_to_a_billionth():
    judgement = one_update("mean", np.array([0.0, 3e9]), np.array([0.0, 1e9]), np.array([0.0, 0.0]), measured=0.5)
    assert judgement.allowed == pytest.approx(1e-9 * 2e9, rel=0.02, abs=0)


BATCHES = [np.random.default_rng(m).normal([1.0, -2.0], [1.0, 3.0], size=(m, 2)) for m in (4, 7, 2)]
SEEN = [np.concatenate(BATCHES[: k + 1]) for k in range(3)]


def three_updates(name, readings, var="biased"):
    """Judge readings after each of three batches of a layer that forgets nothing."""
    arrays = {name: np.array([np.zeros(2), *readings]), "precision": np.zeros(1)}
    arrays |= {f"batch_{of}": np.array([getattr(x, of)(axis=0) for x in BATCHES]) for of in ("mean", "var")}
    case = replace(build(CaseSpec(n=4, c=2)), x=BATCHES[0])
    return _updates(name, case, Evidence("running", arrays, {"m": [4, 7, 2]}), Keeping("cumulative", var).conventions)


BY_BATCHES = [np.mean([x.mean(axis=0) for x in BATCHES[: k + 1]], axis=0) for k in range(3)]
BY_VALUES = [x.mean(axis=0) for x in SEEN]


@pytest.mark.parametrize(
    ("readings", "wrong"),
    [
        (BY_BATCHES, 0),
        (BY_VALUES, 0),
        ([BY_VALUES[0], 0.5 * (BY_VALUES[1] + BY_BATCHES[1]), BY_VALUES[2]], 2),
        ([*BY_VALUES[:2], BATCHES[2].mean(axis=0)], 3),
    ],
    ids=["batches", "values", "between", "last"],
)
def test_averages_count_batches_alike_or_values(readings, wrong):
    judgement = three_updates("mean", readings)
    assert judgement.outcome is (Outcome.FAIL if wrong else Outcome.PASS)
    assert not wrong or f"after batch {wrong} " in judgement.message


@pytest.mark.parametrize("ddof", [0, 1])
def test_a_variance_may_be_that_of_all_values_so_far(ddof):
    right = [x.var(axis=0, ddof=ddof) for x in SEEN]
    assert three_updates("var", right, "pooled").outcome is Outcome.PASS
    assert three_updates("var", right).outcome is Outcome.FAIL
    for step in range(3):
        wrong = [value * (1 + 1e-6 * (k == step)) for k, value in enumerate(right)]
        judgement = three_updates("var", wrong, "pooled")
        assert judgement.message == f"running_var after batch {step + 1} does not follow its rule"
        assert (judgement.got, judgement.want) == pytest.approx(
            (wrong[step][judgement.index], right[step][judgement.index]), rel=1e-12
        )


def test_a_mean_beside_a_variance_of_all_values_is_a_mean():
    assert three_updates("mean", BY_VALUES, "pooled").outcome is Outcome.PASS
