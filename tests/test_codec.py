"""Frozen dataclasses to strict JSON and back."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from render import REPORTS, report, right

from bncheck.case import CaseSpec
from bncheck.codec import decode, encode, report_from_json, to_json
from bncheck.errors import UsageError
from bncheck.model import CaseResult, Declared, Judgement, Outcome, TargetCard, TargetSpec
from bncheck.report import ArrayData, Diagnosis, Exhibit, Finding, Progress, Report, Verdict
from bncheck.settings import Settings


def through_json(value):
    return decode(type(value), json.loads(json.dumps(encode(value), allow_nan=False)))


@dataclass(frozen=True)
class Nested:
    rows: tuple[tuple[int, ...], ...]
    pair: tuple[str, float]
    maybe: dict[str, float | None]


MESSAGES = (
    CaseSpec(recipe="plain", seed=2**64 - 1, spatial=(2, 3), eps=0.0),
    CaseResult("v1:a", {"BN101": Judgement(Outcome.FAIL, "off", "y", 1.0, 0.5, (1, 2), 3.0, 4.0)}, 7),
    Judgement(Outcome.SKIP),
    TargetCard("a.py::f", stub="not yet"),
    TargetCard("a.py::f", REPORTS["pass"].targets[0].conventions),
    TargetSpec("a.py", declared=Declared(layout="NCHW")),
    Settings(select=("BN2", "BN503"), strict=True, timeout=1.5),
    Exhibit("v1:a", 1e-5, {"x": ArrayData((1, 2), (1.0, -0.0))}, ()),
    Finding("BN1", "n", Outcome.WARN, "warning", "m", index=(), counts={"pass": 1}),
    Diagnosis("BUG01", "n", "t", "e", "dx", 0.5),
    Progress("a", 1, 2, 0),
    Nested(((1, 2), (), (3,)), ("a", 0.5), {"a": None, "b": 1.0}),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_messages_come_back_equal(message):
    back = through_json(message)
    assert back == message
    assert repr(back) == repr(message)  # 1 == 1.0 == True, and -0.0 == 0.0, for ==


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_reports_come_back_the_same(name):
    back = report_from_json(json.loads(json.dumps(to_json(REPORTS[name]), allow_nan=False)))
    # NaN is not equal to itself, but its repr is; that of a whole report tells the verdicts alone.
    assert repr(back.targets) == repr(REPORTS[name].targets)
    assert to_json(back) == to_json(REPORTS[name])


def test_what_is_not_finite_travels_as_text():
    array = ArrayData((3,), (math.nan, math.inf, -math.inf))
    assert encode(array)["values"] == ["NaN", "Infinity", "-Infinity"]
    back = through_json(array)
    assert math.isnan(back.values[0])
    assert back.values[1:] == (math.inf, -math.inf)


def test_text_that_reads_nan_stays_text():
    assert through_json(TargetSpec("NaN")).source == "NaN"


def test_numpy_scalars_become_plain_numbers():
    judgement = Judgement(Outcome.FAIL, error=np.float32(0.5), allowed=np.float64("inf"), index=(np.int64(3),))
    data = json.loads(json.dumps(encode(judgement), allow_nan=False))
    assert data["error"] == 0.5
    assert data["allowed"] == "Infinity"
    assert decode(Judgement, data).index == (3,)


def test_the_contract_of_the_json():
    data = to_json(REPORTS["diagnosed"])
    assert list(data)[:2] == ["schema", "verdict"]
    assert data["schema"] == "bncheck.report/1"
    assert data["verdict"] == "fail"
    target = data["targets"][0]
    assert {"name", "conventions", "verdict", "findings", "diagnoses", "cases", "evaluations", "seconds"} <= set(target)
    keys = {"code", "name", "outcome", "severity", "tensor", "message", "error", "allowed", "case"}
    assert keys <= set(target["findings"][1])
    keys = {"code", "name", "title", "explanation", "tensor", "explained", "condition", "replay"}
    assert keys <= set(target["diagnoses"][0])
    assert target["exhibits"][0]["inputs"]["x"]["shape"] == [3, 2]


def test_unknown_keys_are_ignored():
    assert decode(Progress, {**encode(Progress("a", 1, 2, 0)), "speed": 3}) == Progress("a", 1, 2, 0)


def test_missing_keys_take_their_defaults():
    assert decode(TargetCard, {"name": "a"}) == TargetCard("a")


def spoiled(path, value):
    """Return the data of a report with one place replaced, or removed if `value` is KeyError."""
    data = json.loads(json.dumps(to_json(REPORTS["fail"])))
    place = data
    for step in path[:-1]:
        place = place[step]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("targets",), {}, "Report.targets: should be a list"),
        (("targets", 0, "verdict"), "fial", "Report.targets[0].verdict: should be one of pass, fail"),
        (("targets", 0, "verdict"), ["fail"], "Report.targets[0].verdict: should be one of"),
        (("targets", 0, "findings", 1, "code"), KeyError, "Report.targets[0].findings[1]: 'code' is missing"),
        (("targets", 0, "findings", 1, "error"), "1.0", "Report.targets[0].findings[1].error: should be a number"),
        (("targets", 0, "findings", 1, "error"), True, "findings[1].error: should be a number"),
        (("targets", 0, "findings", 1, "index"), [1, 2.5], "findings[1].index[1]: should be a whole number"),
        (("targets", 0, "findings", 1, "counts"), {"fail": None}, "counts['fail']: should be a whole number"),
        (("targets", 0, "cases"), True, "Report.targets[0].cases: should be a whole number"),
        (("targets", 0, "seconds"), 10**400, "Report.targets[0].seconds: should be a number that float64 holds"),
        (("targets", 0, "exhibits", 0, "inputs"), [], "exhibits[0].inputs: should be an object"),
        (("targets", 0), None, "Report.targets[0]: should be an object"),
        (("seed",), "0", "Report.seed: should be a whole number"),
        (("targets", 0, "cases"), 10**100, "Report.targets[0].cases: should be a whole number of at most 100 digits"),
        (("targets", 0, "findings", 1, "index"), [0, -(10**4299)], "index[1]: should be a whole number of at most 100"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(path, value, place):
    with pytest.raises(UsageError) as caught:
        report_from_json(spoiled(path, value))
    assert place in str(caught.value)


@pytest.mark.parametrize("data", [None, [], "x", {}, {"schema": "bncheck.report/0"}, {"schema": "other/2"}])
def test_other_data_is_no_report(data):
    with pytest.raises(UsageError, match="no report of bncheck"):
        report_from_json(data)


def test_a_report_of_a_newer_bncheck_is_called_that():
    with pytest.raises(UsageError, match=r"a newer bncheck wrote this report: its schema is bncheck\.report/2"):
        report_from_json({"schema": "bncheck.report/2"})


def test_a_pair_of_the_wrong_length_is_refused():
    with pytest.raises(UsageError, match=r"Nested\.pair: should be a list of 2"):
        decode(Nested, {"rows": [], "pair": ["a", 1.0, 2.0], "maybe": {}})


@pytest.mark.parametrize("value", [TargetSpec("x", live=(print,)), {"a": object()}, {1: "a"}, {1, 2}])
def test_what_is_no_data_cannot_be_encoded(value):
    with pytest.raises(TypeError, match="cannot be encoded"):
        encode(value)


def test_a_decoded_report_is_a_report():
    back = report_from_json(to_json(replace(report(right()), verdict=Verdict.PASS)))
    assert isinstance(back, Report)
    assert back
