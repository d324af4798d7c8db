"""BN301 and BN307 on evidence made by hand: what cannot be judged, where statistics start, what rounding may do."""

from dataclasses import replace

import numpy as np
import pytest
from layers import Keeping

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS
from bncheck.checks.running import _updates
from bncheck.model import Evidence, Fault, Outcome

SMALL = build(CaseSpec(n=6, c=3, momentum=0.5))
FAULT = Fault("forward", "ValueError", "no", "")


def said(code, experiment, evidence):
    judgement = CHECKS.get(code).judge(SMALL, {experiment: evidence})
    return judgement.outcome, judgement.message


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"momentum_sense": "finished"}, "the statistics are worked out when inference begins (see BN302)"),
        ({"momentum_sense": "changing"}, "the rule of the statistics could not be told"),
        ({"running_var": "undecided"}, "the rule of the statistics could not be told"),
        ({}, "no statistics to read after three batches"),
    ],
)
def test_a_rule_or_readings_that_are_not_there_are_not_judged(told, message):
    evidence = Evidence("running", {}, {"conventions": Keeping().told(**told).conventions, "m": [6]})
    assert said("BN301", "running", evidence) == (Outcome.SKIP, message)


def test_readings_up_to_a_fault_are_not_judged():
    arrays = {"mean": np.zeros((2, 3)), "var": np.ones((2, 3)), "batch_mean": np.ones((1, 3)), "precision": np.zeros(1)}
    arrays["batch_var"] = np.ones((1, 3))
    evidence = Evidence("running", arrays, {"conventions": Keeping().conventions, "m": [6]})
    assert said("BN301", "running", evidence)[0] is Outcome.FAIL
    assert said("BN301", "running", replace(evidence, fault=FAULT)) == (
        Outcome.SKIP,
        "no statistics to read after three batches",
    )


# -------------------------------------------------------------------------------------- before and after the backward


def around_backward(before, after, name="mean"):
    arrays = {f"{when}_{of}": np.ones(3) for when in ("forward", "backward") for of in ("mean", "var")}
    arrays |= {f"forward_{name}": np.array(before), f"backward_{name}": np.array(after)}
    evidence = Evidence("long-run", arrays, {"conventions": Keeping().conventions})
    return CHECKS.get("BN307").judge(SMALL, {"long-run": evidence})


@pytest.mark.parametrize("name", ["mean", "var"])
@pytest.mark.parametrize(
    ("before", "after", "at"),
    [
        ([np.nan, 1.0, 2.0], [np.nan, 1.0, 3.0], 2),
        ([1.0, 2.0, 3.0], [1.0, np.nan, 3.0], 1),
        ([1.0, np.nan, 3.0], [1.0, 2.0, 3.0], 1),
        ([4.0, 2.0, 3.0], [1.5, 2.0, 3.0], 0),
    ],
    ids=["beside no number", "lost", "mended", "less"],
)
def test_the_channel_that_a_backward_changes_is_told_with_both_readings(name, before, after, at):
    judgement = around_backward(before, after, name)
    assert judgement.outcome is Outcome.FAIL
    assert judgement.message == f"running_{name} is changed by the backward"
    assert (judgement.tensor, judgement.index, judgement.allowed) == (f"running_{name}", (at,), 0.0)
    np.testing.assert_equal((judgement.got, judgement.want), (after[at], before[at]))
    np.testing.assert_equal(judgement.error, abs(after[at] - before[at]))


def test_statistics_that_are_no_numbers_and_stay_so_are_not_changed():
    assert around_backward([np.nan, 1.0, 2.0], [np.nan, 1.0, 2.0]).outcome is Outcome.PASS


@pytest.mark.parametrize("missing", ["forward_mean", "backward_mean", "forward_var", "backward_var"])
def test_statistics_that_were_read_on_one_side_of_a_backward_only_are_not_judged(missing):
    arrays = {f"{when}_{of}": np.ones(3) for when in ("forward", "backward") for of in ("mean", "var")}
    del arrays[missing]
    evidence = Evidence("long-run", arrays, {"conventions": Keeping().conventions})
    skipped = (Outcome.SKIP, "no statistics to read around a backward on this case")
    assert said("BN307", "long-run", evidence) == skipped


# ---------------------------------------------------------------------------------------------- where statistics start

BATCHES = [np.random.default_rng(m).normal([1.0, -2.0], [1.0, 3.0], size=(m, 2)) for m in (4, 7, 2)]


def three_updates(name, readings, **told):
    """Judge readings before and after each of three batches of a layer of which half stays."""
    arrays = {name: np.array(readings), "precision": np.zeros(1)}
    arrays |= {f"batch_{of}": np.array([getattr(x, of)(axis=0) for x in BATCHES]) for of in ("mean", "var")}
    case = replace(build(CaseSpec(n=4, c=2, momentum=0.5)), x=BATCHES[0])
    return _updates(name, case, Evidence("running", arrays, {"m": [4, 7, 2]}), Keeping().told(**told).conventions)


def kept_by_half(name, start, first):
    """Return a start, a first reading, and what two more batches make of it."""
    second = 0.5 * first + 0.5 * getattr(BATCHES[1], name)(axis=0)
    return [start, first, second, 0.5 * second + 0.5 * getattr(BATCHES[2], name)(axis=0)]


NOTHING = np.full(2, np.nan)


@pytest.mark.parametrize("name", ["mean", "var"])
def test_statistics_that_start_as_no_numbers_are_held_to_their_rule_from_the_second_batch_on(name):
    right = kept_by_half(name, NOTHING, np.array([3.0, 5.0]))
    assert three_updates(name, right).outcome is Outcome.PASS
    for step in (2, 3):
        wrong = [reading + 1e-3 * (k == step) for k, reading in enumerate(right)]
        judgement = three_updates(name, wrong)
        assert judgement.outcome is Outcome.FAIL
        assert judgement.message.startswith(f"running_{name} after batch {step} does not follow its rule")


def test_statistics_that_are_still_no_numbers_after_a_batch_fail():
    judgement = three_updates("mean", [NOTHING] * 4)
    assert (judgement.outcome, judgement.message[:26]) == (Outcome.FAIL, "running_mean after batch 2")


@pytest.mark.parametrize("name", ["mean", "var"])
def test_a_first_batch_in_the_place_of_no_numbers_is_judged(name):
    own = getattr(BATCHES[0], name)(axis=0)
    found = [
        three_updates(name, kept_by_half(name, NOTHING, own + by), running_start="first batch") for by in (0, 1e-3)
    ]
    assert [judgement.outcome for judgement in found] == [Outcome.PASS, Outcome.FAIL]
    assert found[1].message == f"running_{name} after batch 1 does not follow its rule"


@pytest.mark.parametrize("start", [0.0, 1.0])
def test_a_variance_alone_may_start_at_a_number_where_the_mean_starts_with_the_batch(start):
    def judged(name):
        first = 0.5 * start + 0.5 * getattr(BATCHES[0], name)(axis=0)
        return three_updates(name, kept_by_half(name, np.full(2, start), first), running_start="first batch").outcome

    assert judged("var") is Outcome.PASS
    assert judged("mean") is Outcome.FAIL


# ---------------------------------------------------------------------------------------------- what rounding may do

U = 2.0**-53
PEAKS = np.array([1.0, 16.0])
LARGE = build(CaseSpec(n=1000, c=2, momentum=0.5))
LARGE = replace(LARGE, x=np.where(np.arange(1000)[:, None] % 2, PEAKS, -PEAKS))


def one_update(name, old, new, case=LARGE, taken=None, **told):
    """Judge one batch of a thousand values, half of each sign: mean 0, variance and mean square of the peak's."""
    arrays = {name: np.array([old, new]), "precision": np.zeros(1)}
    arrays |= {"batch_mean": np.zeros((1, 2)), "batch_var": PEAKS[None] ** 2}
    arrays |= {} if taken is None else {f"batch_{name}": np.array([taken])}
    return _updates(name, case, Evidence("running", arrays, {"m": [1000]}), Keeping().told(**told).conventions)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("channel", [0, 1])
@pytest.mark.parametrize(
    ("name", "power", "right", "told"),
    [
        # A mean of squares is off by a thousand roundings of the largest square, a mean's own square by two thousand;
        # half of them comes in.
        ("var", 2, 1500, {"running_var": "total"}),
        # The variance of all values is there as a whole.
        ("var", 2, 3000, {"running_var": "pooled", "momentum_sense": "cumulative"}),
        # A first batch as well: its mean is off by a thousand roundings.
        ("mean", 1, 1000, {"running_start": "first batch"}),
    ],
    ids=["second moment", "all values", "first batch"],
)
def test_an_update_may_err_as_what_comes_in_does_and_not_by_six_times_that(name, power, right, told, channel, sign):
    want = np.zeros(2) if name == "mean" else PEAKS**2
    off = sign * right * U * PEAKS[channel] ** power * (np.arange(2) == channel)
    assert one_update(name, want, want + off, **told).outcome is Outcome.PASS
    judgement = one_update(name, want, want + 6 * off, **told)
    assert (judgement.outcome, judgement.index) == (Outcome.FAIL, (channel,))


@pytest.mark.parametrize(("dtype", "u"), [("float64", 2.0**-53), ("float32", 2.0**-24)])
def test_a_fraction_that_was_measured_may_be_off_by_roundings_of_the_data_s_arithmetic(dtype, u):
    """The fraction of a measurement is a difference over a difference: some twenty roundings, and 1e-9 at least."""
    case = replace(LARGE, spec=replace(LARGE.spec, dtype=dtype))
    old, taken = np.array([3e9, -3e9]), np.array([1e9, -1e9])

    def judged(kept):
        return one_update("mean", old, kept * old + (1 - kept) * taken, case, taken, **told).outcome

    told = {"momentum_sense": "fixed", "momentum": 0.5}
    for sign in (-1, 1):
        assert judged(0.5 + sign * max(20 * u, 1e-10)) is Outcome.PASS
        assert judged(0.5 + sign * max(200 * u, 1e-8)) is Outcome.FAIL
