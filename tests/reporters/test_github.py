"""Workflow commands as GitHub's runner reads them."""

import re
from dataclasses import replace

import pytest
from render import FOR_MACHINES, REPORTS, located, report, right, warned

from bncheck.report import SourceLine, Verdict
from bncheck.reporters import REPORTERS, Style

COMMAND = re.compile(r"::(error|warning|notice) ([^:]*)::(.*)")


def commands(made):
    """Return level, properties and message of each line, unescaped as the runner does it."""
    read = []
    for line in REPORTERS.get("github")(made, Style()).splitlines():
        level, properties, message = COMMAND.fullmatch(line).groups()
        given = dict(part.split("=", 1) for part in properties.split(","))
        read.append((level, {key: unescaped(value) for key, value in given.items()}, unescaped(message)))
    return read


def unescaped(text):
    for code, character in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, character)
    return text


@pytest.mark.parametrize("name", sorted(REPORTS | FOR_MACHINES))
def test_every_line_is_a_command(name):
    assert commands((REPORTS | FOR_MACHINES)[name])


@pytest.mark.parametrize("name", sorted(REPORTS | FOR_MACHINES))
def test_only_what_is_right_has_no_error_or_warning(name):
    made = (REPORTS | FOR_MACHINES)[name]
    for target in made.targets:
        levels = {level for level, *_ in commands(replace(made, targets=(target,)))}
        if target.verdict in (Verdict.FAIL, Verdict.INTERRUPTED):
            assert "error" in levels
        elif target.verdict is not Verdict.PASS:
            assert levels & {"error", "warning"}
        else:
            assert "error" not in levels


def test_bugs_come_first_each_at_its_line():
    first, second, third, *_ = commands(report(located()))
    file = "src/my layers/misprinted.py"
    assert first[1] == {"file": file, "line": "43", "title": "BUG07 dvar-for-dmu"}
    assert second[1] == {"file": file, "line": "12", "title": "BUG000 no-known-bug"}
    assert third[1]["title"] == "BN201 dx-matches-numeric"
    assert first[2].splitlines()[:3] == [
        "dvar stands where dmu belongs",
        "wrong: dx = ... + dvar / m",
        "right: dx = ... + dmu / m",
    ]
    assert first[2].splitlines()[-1].startswith("bncheck replay 'v1:")


def test_what_the_runner_would_obey_is_escaped():
    line = SourceLine("a,b:c%0A,d.py", 3, "")
    text = REPORTERS.get("github")(report(replace(right(), name="x%0A::error::y\n::z", defined=line)), Style())
    assert text == (
        "::notice file=a%2Cb%3Ac%250A%2Cd.py,line=3,title=bncheck::PASS x%250A::error::y%0A::z: 7 checks on 200 cases\n"
    )


def test_an_expected_failure_is_a_notice():
    level, _, message = commands(report(located()))[3]
    assert level == "notice"
    assert "expected: it is summed later" in message


def test_warnings_that_fail_the_target_end_in_an_error():
    strict = replace(warned(), verdict=Verdict.FAIL)
    assert [level for level, *_ in commands(report(strict))] == ["warning", "error"]


def test_a_line_of_a_cell_is_told_in_words():
    target = replace(right(), defined=SourceLine("n.ipynb, code cell 3", 7, "def f():"))
    ((_, properties, message),) = commands(report(target))
    assert properties == {"file": "n.ipynb", "title": "bncheck"}
    assert message.startswith("n.ipynb, code cell 3, line 7: PASS")
