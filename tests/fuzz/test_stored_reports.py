"""Stored reports: whatever a file holds is refused in one line, or shown in every format and written again the same."""

import json
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from render import REPORTS, located, report
from spoiling import TEXTS, assert_short_line, encoded, made, spoiled_bytes, spoiled_data, spoiled_text, times

from bncheck import pipeline
from bncheck.codec import report_from_json, to_json
from bncheck.errors import UsageError
from bncheck.executors.in_process import InProcess
from bncheck.model import TargetSpec
from bncheck.report import TargetReport
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.stored import stored
from bncheck.settings import Settings

# Of a failure, which may be large.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

FIXTURES = Path(__file__).parents[2] / "fixtures"
CODE = ("buggy/misprinted_dx.py", "buggy/running_var_adds_up.py", "hostile/raises.py", "hostile/stub_pass.py")
# The others take ten times as long, and share what they rest on with these.
FORMS = ("json", "plain", "short", "markdown", "github", "junit")


@cache
def texts():
    """Return reports of runs, and such as have something of everything."""
    runs = [pipeline.run([TargetSpec(str(FIXTURES / code))], Settings(cases=6), executor=InProcess()) for code in CODE]
    every = [*runs, report(located()), REPORTS["several"], REPORTS["hostile"], REPORTS["not-finite"]]
    return tuple(REPORTERS.get("json")(each, Style()) for each in every)


@cache
def data():
    return tuple(map(json.loads, texts()))


@cache
def contents():
    return tuple(text.encode() for text in texts())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    texts()  # before a strategy asks, in which no code may run that draws random numbers
    return tmp_path_factory.mktemp("fuzz") / "report.json"


def shown_or_refused(file, content):
    """Read a file of these bytes; tell whether it is a report, which then is shown and written again."""
    file.write_bytes(content)
    try:
        found = stored(file)
    except UsageError as error:
        assert_short_line(error, f"{file}: ")
        return False
    for form in FORMS:
        REPORTERS.get(form)(found, Style(verbose=len(content) % 2 == 0)).encode()
    file.write_text(REPORTERS.get("json")(found, Style()))
    assert repr(to_json(stored(file))) == repr(to_json(found))
    return True


def test_what_is_spoiled_is_right_to_begin_with(file):
    for content in contents():
        assert shown_or_refused(file, content)


@times(2)
@given(made(TargetReport).map(report))
def test_what_is_written_is_read(whole):
    back = report_from_json(json.loads(REPORTERS.get("json")(whole, Style())))
    # NaN is not equal to itself, but its repr is; that of a whole report tells the verdicts alone.
    assert repr(back.targets) == repr(whole.targets)
    assert repr(to_json(back)) == repr(to_json(whole))


@times(5)
@given(spoiled_data(data))
def test_a_report_with_spoiled_values_is_shown_or_refused(file, data):
    shown_or_refused(file, json.dumps(data).encode())


@times(5)
@given(spoiled_text(texts).map(encoded))
def test_a_report_with_spoiled_tokens_is_shown_or_refused(file, content):
    shown_or_refused(file, content)


@times(4)
@given(spoiled_bytes(contents))
def test_a_report_with_spoiled_bytes_is_shown_or_refused(file, content):
    shown_or_refused(file, content)


@times(4)
@given(st.binary() | TEXTS.map(encoded))
def test_any_bytes_are_refused(file, content):
    assert not shown_or_refused(file, content)
