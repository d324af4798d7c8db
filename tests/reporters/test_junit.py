"""JUnit XML, read by a parser of its own."""

from dataclasses import replace

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped
from render import FOR_MACHINES, REPORTS, located, report, warned

from bncheck.model import Outcome
from bncheck.report import Verdict
from bncheck.reporters import REPORTERS, Style


def read(made):
    return JUnitXml.fromstring(REPORTERS.get("junit")(made, Style()).encode())


def cases(target):
    return {case.name: case for case in next(iter(read(report(target))))}


def kinds(case):
    return [type(result) for result in case.result]


@pytest.mark.parametrize("name", sorted(REPORTS | FOR_MACHINES))
def test_the_sums_are_right(name):
    made = (REPORTS | FOR_MACHINES)[name]
    read_again = read(made)
    assert [suite.name for suite in read_again] == [s.name for s in read_again]
    assert len(list(read_again)) == len(made.targets)
    for suite in read_again:
        results = [result for case in suite for result in case.result]
        assert suite.tests == len(list(suite))
        for kind, told in ((Failure, suite.failures), (Error, suite.errors), (Skipped, suite.skipped)):
            assert told == sum(isinstance(result, kind) for result in results)
    assert (read_again.tests, read_again.failures) == tuple(
        sum(getattr(suite, key) for suite in read_again) for key in ("tests", "failures")
    )


@pytest.mark.parametrize("name", sorted(REPORTS | FOR_MACHINES))
def test_only_what_passes_is_green(name):
    made = (REPORTS | FOR_MACHINES)[name]
    for target, suite in zip(made.targets, read(made), strict=True):
        assert (suite.failures + suite.errors == 0) is (target.verdict is Verdict.PASS)


def test_a_failure_names_the_bug_and_shows_the_report():
    case = cases(located())["BN201 dx-matches-numeric"]
    (failure,) = case.result
    assert isinstance(failure, Failure)
    assert failure.message == "BUG07 dvar-for-dmu: dvar stands where dmu belongs"
    assert failure.type == "fail"
    assert "bncheck replay 'v1:" in failure.text
    assert "A small failing case" in case.system_out


def test_a_bug_of_eval_mode_is_named_in_the_failure_of_its_check():
    target = located()
    finding = replace(target.findings[1], code="BN302", name="eval-uses-running-statistics", tensor="y")
    bug = replace(target.diagnoses[0], code="BUG705", name="running-variance-misread", tensor="y in eval mode")
    other = replace(bug, code="BUG101", name="variance-over-m-minus-one", tensor="y")
    made = replace(target, findings=(finding,), diagnoses=(bug, other))
    (failure,) = cases(made)["BN302 eval-uses-running-statistics"].result
    assert failure.message.startswith("BUG705 running-variance-misread: ")
    assert "BUG101" not in failure.message


def test_what_follows_says_from_what():
    (failure,) = cases(located())["BN211 dx-matches-reference"].result
    assert failure.message.startswith("follows from BN201: ")


def test_what_does_not_apply_is_skipped_with_the_reason():
    (skipped,) = cases(located())["BN502 dtype-kept"].result
    assert isinstance(skipped, Skipped)
    assert skipped.message == "float64 only"


def test_an_expected_failure_is_skipped_with_its_reason():
    (skipped,) = cases(located())["BN202 dgamma-matches-numeric"].result
    assert isinstance(skipped, Skipped)
    assert "it is summed later" in skipped.message


def test_a_warning_is_told_and_passes_unless_warnings_fail():
    name = "BN401 variance-keeps-its-digits"
    assert kinds(cases(warned())[name]) == []
    assert cases(warned())[name].system_out == "warning: y has lost about 6 digits"
    strict = replace(warned(), verdict=Verdict.FAIL)
    assert kinds(cases(strict)[name]) == [Failure]


def test_what_was_not_decided_beside_a_pass_is_skipped():
    undecided = replace(warned().findings[0], outcome=Outcome.INCONCLUSIVE, message="rounding")
    target = replace(warned(), findings=(undecided, *warned().findings[1:]))
    assert kinds(cases(target)["BN101 y-matches-reference"]) == [Skipped]


def test_a_target_that_cannot_run_is_an_error():
    suites = {suite.name: suite for suite in read(REPORTS["several"])}
    (case,) = suites["gone.py"]
    (error,) = case.result
    assert isinstance(error, Error)
    assert "it imports cupy" in error.message


def test_a_contradiction_of_the_oracles_is_no_success():
    cases_of = {case.name: case for case in next(iter(read(REPORTS["contradiction"])))}
    assert kinds(cases_of["verdict"]) == [Error]
    assert cases_of["verdict"].result[0].message.startswith("Contradiction:")


def test_the_dtype_of_a_suite_is_that_of_its_target():
    found = [
        {p.name: p.value for p in suite.properties()}["dtype"]
        for suite in read(report(replace(warned(), dtype="float32"), warned()))
    ]
    assert found == ["float32", "float64"]
