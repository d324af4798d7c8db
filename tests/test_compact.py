"""The result of a case in one short line of JSON, and back."""

import json
import math

import numpy as np
import pytest

from bncheck.compact import read_result, result_text
from bncheck.errors import UsageError
from bncheck.model import CaseResult, Judgement, Outcome

FAILS = Judgement(Outcome.FAIL, "off: “ø”\n", "y", 1.0, 0.5, (1, 2), 3.0, -0.0, True)


def back(result):
    return read_result(json.loads(result_text(result)))


@pytest.mark.parametrize(
    "judgement",
    [
        FAILS,
        Judgement(Outcome.PASS),
        Judgement(Outcome.PASS, "", "dx", 1e-17, 3e-16),
        Judgement(Outcome.SKIP, "too small"),
        Judgement(Outcome.WARN, index=()),
        Judgement(Outcome.INCONCLUSIVE, suspect=True),
        Judgement(Outcome.FAIL, error=math.inf, allowed=-math.inf, got=math.nan),
    ],
)
def test_results_come_back_the_same(judgement):
    result = CaseResult("v1:a:n=2", {"BN101": judgement, "BN102": Judgement(Outcome.PASS)}, 7)
    # NaN is not equal to itself, but its repr is; and 1 == 1.0 == True for ==.
    assert repr(back(result)) == repr(result)
    assert result_text(back(result)) == result_text(result)


def test_numbers_of_numpy_are_numbers():
    found = Judgement(Outcome.FAIL, "", "y", np.float64(1), 1, tuple(np.arange(2)), np.float32(0.5))
    result = CaseResult("v1:a", {"BN101": found}, np.int64(3))
    assert result_text(result) == '["v1:a",3,[["BN101","f","","y",1.0,1.0,[0,1],0.5]]]'
    assert result_text(back(result)) == result_text(result)


def test_what_passes_is_short():
    result = CaseResult("v1:a", {"BN101": Judgement(Outcome.PASS), "BN503": Judgement(Outcome.PASS)}, 2)
    assert result_text(result) == '["v1:a",2,[["BN101","p"],["BN503","p"]]]'


@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        ["v1:a", 1],
        [1, 1, []],
        ["v1:a", True, []],
        ["v1:a", 1.5, []],
        ["v1:a", 1, 5],
        ["v1:a", 1, ["BN"]],
        ["v1:a", 1, [["BN101"]]],
        ["v1:a", 1, [["BN101", "x"]]],
        ["v1:a", 1, [["BN101", ["p"]]]],
        ["v1:a", 1, [[1, "p"]]],
        ["v1:a", 1, [["BN101", "p", None]]],
        ["v1:a", 1, [["BN101", "p", 1]]],
        ["v1:a", 1, [["BN101", "p", "", 1]]],
        ["v1:a", 1, [["BN101", "p", "", None, "1.0"]]],
        ["v1:a", 1, [["BN101", "p", "", None, True]]],
        ["v1:a", 1, [["BN101", "p", "", None, 10**400]]],
        ["v1:a", 1, [["BN101", "p", "", None, None, None, [1.5]]]],
        ["v1:a", 1, [["BN101", "p", "", None, None, None, None, None, None, None]]],
        ["v1:a", 1, [["BN101", "p", "", None, None, None, None, None, None, False, 1]]],
    ],
    ids=repr,
)
def test_what_is_no_result_is_refused(data):
    with pytest.raises(UsageError, match="no result of a case"):
        read_result(data)
