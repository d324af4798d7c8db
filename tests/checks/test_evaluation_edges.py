"""What BN302, BN304 and BN305 make of statistics and of y in eval mode at the edges: missing, no number, worked out."""

from dataclasses import replace

import numpy as np
import pytest
from judging import SPEC, judged
from layers import Keeping, normalise

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.evaluation import (
    eval_ignores_batch,
    eval_leaves_statistics,
    eval_uses_running_statistics,
    statistics_held,
)
from bncheck.model import Evidence, Outcome

CASE = build(CaseSpec(n=5, c=2, seed=4, eps=0.1, momentum=0.3))
X = np.concatenate([CASE.x, CASE.x[:1]])[::-1]
MEAN, VAR = np.array([0.5, -2.0]), np.array([0.25, 4.0])
BATCHES = {"batch_mean": np.zeros((3, 2)), "batch_var": np.ones((3, 2))}
NO_Y = (Outcome.SKIP, "no y to compare in eval mode")


def formula(mean=MEAN, var=VAR):
    return CASE.gamma * (X - mean) / np.sqrt(var + 0.1) + CASE.beta


def said(check, m=(5, 6, 5), told=None, **arrays):
    facts = {"m": list(m), "conventions": Keeping().told(**told or {}).conventions}
    return check(CASE, {"running": Evidence("running", {"x": X, "precision": np.zeros(1)} | arrays, facts)})


def used(mean=MEAN, var=VAR, y=None, **more):
    """Return what BN302 says of a layer that held these statistics last."""
    arrays = BATCHES | {"mean": np.array([MEAN, mean]), "var": np.array([VAR, var])}
    return said(eval_uses_running_statistics, y=formula() if y is None else y, **arrays | more)


# ---------------------------------------------------------------------------------------------------------------- BN302


@pytest.mark.parametrize("check", [eval_uses_running_statistics, eval_leaves_statistics, eval_ignores_batch])
@pytest.mark.parametrize(
    ("conventions", "why"),
    [
        (None, "the code keeps no running statistics"),
        (Keeping().told(momentum_sense="").conventions, "the code keeps no running statistics"),
        (Keeping().told(mode_switch="").conventions, "the code cannot be told that it is inference"),
    ],
)
def test_without_statistics_or_a_mode_there_is_nothing_to_judge(check, conventions, why):
    judgement = check(CASE, {"running": Evidence("running", {}, {"conventions": conventions})})
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, why)


def test_without_y_or_the_statistics_of_the_batches_nothing_is_compared():
    for arrays in (BATCHES, {"y": formula()}):
        judgement = said(eval_uses_running_statistics, **arrays)
        assert (judgement.outcome, judgement.message) == NO_Y


@pytest.mark.parametrize("bad", [-1.0, -0.1])
def test_a_variance_that_has_no_root_says_nothing_of_y(bad):
    judgement = used(var=np.array([0.25, bad]))
    assert judgement.outcome is Outcome.SKIP
    assert judgement.message == "a running variance + eps that is not above 0 has no root"
    # It may be one that is made good when inference begins.
    assert used(var=np.array([0.25, bad]), eval_mean=MEAN, eval_var=VAR).outcome is Outcome.PASS


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_y_that_is_no_number_is_said(value):
    y = formula()
    y[3, 1] = value
    judgement = used(y=y)
    assert (judgement.outcome, judgement.message) == (Outcome.FAIL, f"y in eval mode is {value}")
    assert (judgement.tensor, judgement.index) == ("y", (3, 1))


def averages(m, y):
    """Return what BN302 says of averages over three batches that are worked out when inference begins."""
    rows = {"batch_mean": np.array([[0.0, 1.0], [1.0, 3.0], [2.0, -1.0]]), "batch_var": np.array([VAR] * 3)}
    return said(eval_uses_running_statistics, m, {"momentum_sense": "finished"}, y=y, **rows)


def test_averages_that_one_value_per_channel_is_a_part_of_are_skipped():
    """Whether its variance of 0 counts is nobody's rule; an average that is kept step by step is judged."""
    right = formula(np.array([1.0, 1.0]), VAR)
    judgement = averages((1, 2, 1), right + 1)
    assert judgement.outcome is Outcome.SKIP
    assert judgement.message == "averages that a batch of one value per channel is a part of"
    for m in ((2, 3, 2), (5, 5, 5)):
        assert averages(m, right).outcome is Outcome.PASS
        assert averages(m, right + 1).outcome is Outcome.FAIL
    assert used(m=(1, 2, 1)).outcome is Outcome.PASS
    assert used(m=(1, 2, 1), y=right).outcome is Outcome.FAIL


def test_averages_corrected_for_their_start_may_be_those_used():
    def corrected(x, mean, var, setup):
        share = 1 - setup.momentum**3
        return normalise(x, mean / share, var / share, setup)

    layer = Keeping(start=(0.0, 0.0), evaluate=corrected)
    assert judged("BN302", layer.told(running_start="0, 0")).outcome is Outcome.PASS
    assert judged("BN302", layer.told(running_start="0, 1")).outcome is Outcome.FAIL


def held(**arrays):
    conventions = Keeping(var="unbiased").told(running_start="0, 0").conventions
    found = {"mean": np.full((1, 3), 7.0), "var": np.full((1, 3), 14.0)} | arrays
    case = build(replace(SPEC, momentum=0.5))
    evidence = Evidence("running", found, {"m": [6], "conventions": conventions})
    return [(mean[0], var[0]) for mean, var in statistics_held(case, evidence)]


def test_what_inference_has_made_of_averages_is_not_corrected_once_more():
    assert held() == [(7.0, 14.0), (14.0, 28.0)]
    assert held(eval_mean=np.ones(3)) == held(eval_var=np.ones(3)) == held()
    assert held(eval_mean=np.ones(3), eval_var=np.full(3, 2.0)) == [(7.0, 14.0), (1.0, 2.0), (14.0, 28.0)]


# ---------------------------------------------------------------------------------------------------------------- BN304

READ = {"eval_mean": MEAN, "eval_var": VAR, "after_mean": MEAN, "after_var": VAR}


@pytest.mark.parametrize("gone", ["eval", "after"])
def test_statistics_that_are_read_once_may_have_moved(gone):
    assert said(eval_leaves_statistics, **READ).outcome is Outcome.PASS
    judgement = said(eval_leaves_statistics, **{name: v for name, v in READ.items() if not name.startswith(gone)})
    assert judgement.outcome is Outcome.SKIP
    assert judgement.message == "no statistics to read after a forward in eval mode"


NAN = np.array([np.nan, 1.0, 2.0])


@pytest.mark.parametrize("name", ["mean", "var"])
@pytest.mark.parametrize(
    ("now", "at"),
    [([np.nan, 1.0, 2.5], 2), ([np.nan, np.nan, 2.0], 1), ([0.0, 1.0, 2.0], 0), ([np.nan, 1.5, np.nan], 1)],
)
def test_the_first_channel_that_moves_is_shown_and_one_that_stays_no_number_has_not_moved(name, now, at):
    still = dict.fromkeys(READ, NAN)
    assert said(eval_leaves_statistics, **still).outcome is Outcome.PASS
    judgement = said(eval_leaves_statistics, **still | {f"after_{name}": np.array(now)})
    assert (judgement.outcome, judgement.tensor, judgement.index) == (Outcome.FAIL, f"running_{name}", (at,))
    np.testing.assert_equal((judgement.want, judgement.got), (NAN[at], now[at]))


# ---------------------------------------------------------------------------------------------------------------- BN305


def another_batch(part, y, **held):
    """Return what BN305 says of all rows but the first, the last one first; `held` are the statistics."""
    held = held or {"mean": MEAN, "var": VAR}
    return said(eval_ignores_batch, y=y, part=part, **{name: value[None] for name, value in held.items()})


def rest(y):
    return y[:0:-1].copy()


def test_without_y_in_both_batches_nothing_is_compared():
    y = formula()
    for arrays in ({"y": y}, {"part": rest(y)}, {"y": y, "part": rest(y)[1:]}):
        judgement = said(eval_ignores_batch, **arrays)
        assert (judgement.outcome, judgement.message) == NO_Y


@pytest.mark.parametrize("at", [(0, 0), (4, 1)])
def test_a_y_that_follows_the_formula_differs_by_no_more_than_twice_what_it_may_err(at):
    """Of either batch it may be 20 roundings of x gamma / sd, mean gamma / sd and beta from the right one."""
    y = formula()
    part, c = rest(y), at[1]
    scale = abs(CASE.gamma[c]) / np.sqrt(VAR[c] + 0.1)
    bound = 20 * 2.0**-53 * (scale * (abs(rest(X)[at]) + abs(MEAN[c])) + abs(CASE.beta[c]))
    part[at] += 1.6 * bound
    assert another_batch(part, y).outcome is Outcome.PASS
    part[at] += bound
    judgement = another_batch(part, y)
    assert (judgement.outcome, judgement.tensor, judgement.index) == (Outcome.FAIL, "y", at)
    assert judgement.allowed == pytest.approx(2 * bound, rel=1e-6)
    assert (judgement.got, judgement.want) == (part[at], rest(y)[at])


# Rows of sizes that are far apart, by no formula.
STEPS = 10.0 ** np.arange(6)[:, None] * np.array([1.0, -3.0])


@pytest.mark.parametrize("var", [VAR, -VAR])
def test_a_y_that_follows_no_formula_differs_by_no_more_than_a_share_of_itself(var):
    still = {"mean": MEAN, "var": var}
    assert another_batch(rest(STEPS), STEPS, **still).outcome is Outcome.PASS
    assert another_batch(rest(STEPS) * (1 + 1.9e-6), STEPS, **still).outcome is Outcome.PASS
    part = rest(STEPS)
    part[4, 1] *= 1 + 2.5e-6
    judgement = another_batch(part, STEPS, **still)
    assert (judgement.outcome, judgement.index) == (Outcome.FAIL, (4, 1))
    assert judgement.allowed == pytest.approx(2e-6 * 30, rel=1e-9)


def test_a_zero_of_one_batch_is_a_zero_of_the_other():
    y = STEPS.copy()
    y[1, 0] = 0.0
    part = rest(y)
    assert another_batch(part, y).outcome is Outcome.PASS
    part[4, 0] = 1e-200
    assert another_batch(part, y).outcome is Outcome.FAIL


def test_what_is_no_number_in_both_batches_is_no_difference():
    y = formula()
    y[2, 1] = np.nan
    assert another_batch(rest(y), y).outcome is Outcome.PASS
    judgement = another_batch(rest(formula()), y)
    assert (judgement.outcome, judgement.index) == (Outcome.FAIL, (3, 1))
    judgement = another_batch(rest(y), formula())
    assert (judgement.outcome, judgement.index) == (Outcome.FAIL, (3, 1))
