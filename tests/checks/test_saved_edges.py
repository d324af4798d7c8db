"""BN515 on evidence made by hand: which of several statistics is told, and which are not judged at all."""

from dataclasses import replace

import numpy as np
import pytest
from judging import SPEC

from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS, NOT_TRIED
from bncheck.model import Evidence, Outcome
from bncheck.session import SavedStatistic

X = build(SPEC).x
MEAN, VAR = X.mean(axis=0), X.var(axis=0)
RIGHT = SavedStatistic("save_mean", "mean", True, MEAN)
WRONG = SavedStatistic("batch_mean", "mean", True, MEAN + 1)
DOUBTED = SavedStatistic("mean", "mean", False, MEAN + np.arange(3))
RUNNING = SavedStatistic("mean", "mean", False, MEAN / 2)
RUNNING_VAR = SavedStatistic("var", "spread", False, (VAR + 1) / 2)


def told(first, later=None, spec=SPEC):
    """Return what is said of statistics of a first step and of a second on the same batch, None: not run."""
    seen = {"training": Evidence("training", {}, {"saved": first})}
    seen["second-step"] = Evidence("second-step", {}, {} if later is None else {"saved": later, "ran": True})
    judgement = CHECKS.get("BN515").judge(build(spec), seen)
    return judgement.outcome, judgement.message


@pytest.mark.parametrize(
    ("saved", "outcome", "message"),
    [
        ([RIGHT, WRONG], Outcome.FAIL, "batch_mean is not the mean of the batch"),
        ([RIGHT, DOUBTED], Outcome.WARN, "mean is not the mean of the batch"),
        ([DOUBTED, WRONG], Outcome.FAIL, "batch_mean is not the mean of the batch"),
        ([RUNNING, RIGHT], Outcome.PASS, "save_mean is that of the batch"),
        ([RUNNING, RUNNING_VAR], Outcome.SKIP, "mean may be a running statistic"),
        ([RUNNING_VAR], Outcome.SKIP, "var may be a running statistic"),
    ],
)
def test_of_several_the_worst_is_told_and_the_first_of_those_that_are_not_judged(saved, outcome, message):
    assert told(saved, saved) == (outcome, message)


EARLIER = "what is returned depends on earlier batches: running ones"


@pytest.mark.parametrize(
    ("later", "outcome", "message"),
    [
        (None, Outcome.SKIP, NOT_TRIED),
        ([], Outcome.SKIP, EARLIER),
        ([RIGHT], Outcome.SKIP, EARLIER),
        ([WRONG._replace(value=WRONG.value * 1.01)], Outcome.SKIP, EARLIER),
        ([WRONG._replace(value=WRONG.value * 1.0001)], Outcome.FAIL, "batch_mean is not the mean of the batch"),
    ],
    ids=["not run", "nothing", "another", "moved", "rounded"],
)
def test_only_what_a_second_step_on_the_same_batch_returns_again_is_judged(later, outcome, message):
    assert told([WRONG], later) == (outcome, message)


def test_of_one_value_there_is_no_spread_and_of_two_there_is():
    one, two = (replace(SPEC, n=n) for n in (1, 2))
    wrong = [SavedStatistic("save_var", "spread", True, np.full(3, 1e6))]
    assert told(wrong, wrong, one) == (Outcome.SKIP, "one value per channel has no spread")
    assert told(wrong, wrong, two) == (Outcome.FAIL, "save_var is not the variance of the batch")


def test_nothing_beside_y_is_nothing_to_judge():
    assert told([], []) == (Outcome.SKIP, "no statistics of the batch are returned beside y")
