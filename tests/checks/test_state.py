"""Where two runs of the same step differ first, and what is no difference."""

import numpy as np
import pytest

from bncheck.checks.state import _equal, _first_difference
from bncheck.model import Evidence, Fault, Outcome

NAN = np.nan


@pytest.mark.parametrize(
    ("one", "two", "at"),
    [
        ([1.0, 2.0, 3.0], [1.0, 5.0, 6.0], (1,)),
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [5.0, 6.0]], (1, 0)),
        ([NAN, 2.0], [NAN, 3.0], (1,)),
        ([1.0, NAN, 2.0], [1.0, 3.0, 4.0], (1,)),
        ([1.0, 3.0, 2.0], [1.0, NAN, 4.0], (1,)),
    ],
)
def test_the_first_difference_is_told_and_nan_in_both_is_none(one, two, at):
    assert _first_difference(np.array(one), np.array(two)) == at


def compared(one, two):
    return _equal(*(Evidence("training", found, {"evaluations": 1}) for found in (one, two)), "two steps")


def test_nan_at_the_same_place_is_the_same():
    found = {"y": np.array([1.0, NAN]), "dx": np.array([NAN, NAN])}
    assert compared(found, {name: value.copy() for name, value in found.items()}).outcome is Outcome.PASS


def test_what_differs_is_told_with_both_values():
    one, two = ({"y": np.ones(2), "dgamma": np.array([NAN, 2.0, value])} for value in (3.0, 7.0))
    judgement = compared(one, two)
    assert (judgement.outcome, judgement.tensor, judgement.index) == (Outcome.FAIL, "dgamma", (2,))
    assert (judgement.error, judgement.allowed, judgement.got, judgement.want) == (4.0, 0.0, 7.0, 3.0)
    assert judgement.message == "dgamma differs between two steps"


def test_a_tensor_that_a_fresh_layer_has_not_is_not_compared():
    one, two = {"dbeta": np.ones(2)}, {"y": np.ones(2), "dbeta": np.zeros(2)}
    assert compared(one, two).tensor == "dbeta"


def test_a_tensor_that_is_there_no_more_is_told():
    judgement = compared({"dx": np.ones(2), "dbeta": np.ones(2)}, {"dbeta": np.zeros(2)})
    said = "of two steps only one has a dx that fits"
    assert (judgement.outcome, judgement.message, judgement.tensor) == (Outcome.FAIL, said, "dx")


@pytest.mark.parametrize("failing", [0, 1])
def test_of_two_steps_of_which_one_raises_its_fault_is_told(failing):
    fault = Fault("forward", "ValueError", "odd")
    pair = [Evidence("training", {}, {"evaluations": 1}, fault if place == failing else None) for place in (0, 1)]
    judgement = _equal(*pair, "two steps")
    assert judgement.outcome is Outcome.FAIL
    assert judgement.message == f"of two steps only one works: {fault}"
