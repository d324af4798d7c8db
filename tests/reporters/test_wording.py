"""Numbers, cases and foreign text in words."""

import pytest
from render import finding, report

from bncheck.case import CaseSpec
from bncheck.model import Outcome
from bncheck.report import Exhibit, Finding, TargetReport, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.pages import columns, page
from bncheck.reporters.short import nameless
from bncheck.reporters.wording import LONGEST, case_in_words, cases_in_words, clean, count, excess, several, to_ascii


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain", "plain"),
        ("a\nb\tc\rd", "a b c d"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb\u2028c\ud800", "a\\u202eb\\u2028c\\ud800"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("größer", "größer"),
    ],
)
def test_clean_spells_out_what_is_hidden(text, said):
    assert clean(text) == said


def test_clean_can_keep_lines_and_spell_ascii():
    assert clean("a\nb", keep_lines=True) == "a\nb"
    assert clean("ö × ∇", ascii_only=True) == "\\xf6 x \\u2207"


def test_clean_cuts_what_is_too_long():
    assert len(clean("x" * 10_000)) == LONGEST


def test_to_ascii_keeps_the_width_of_the_houses_signs():
    signs = "✔✘·–×→…─◀"
    assert to_ascii(signs).isascii()
    assert len(to_ascii(signs)) == len(signs)


@pytest.mark.parametrize(("names", "said"), [("", ""), ("a", "a"), ("ab", "a and b"), ("abc", "a, b and c")])
def test_several(names, said):
    assert several(list(names)) == said


def test_count():
    assert (count(1, "case"), count(2000, "case")) == ("1 case", "2,000 cases")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (CaseSpec(n=2, c=1), "N=2, C=1, eps=0.5, float64"),
        (CaseSpec(n=2, c=1, spatial=(4, 5), dtype="float32"), "N=2, C=1, H=4, W=5, eps=0.5, float32"),
        (CaseSpec(mean=1e6, sd=1e-6), "N=4, C=3, eps=0.5, float64, mean 1e+06, standard deviation 1e-06"),
        (CaseSpec(constant=1, gamma="zero"), "N=4, C=3, eps=0.5, float64, 1 constant channel, first gamma 0"),
        (CaseSpec(dy_scale=1e3, memory="strided"), "N=4, C=3, eps=0.5, float64, dy times 1000, non-contiguous arrays"),
    ],
)
def test_a_case_in_words_says_what_is_out_of_the_ordinary(spec, said):
    assert case_in_words(Exhibit(spec.id, 0.5, {}, ())) == said


def test_a_case_of_another_schema_is_shown_as_it_is():
    assert case_in_words(Exhibit("v9:new:q=1", 0.5, {}, ())) == "v9:new:q=1"


def test_skipped_cases_are_not_counted_as_judged():
    assert cases_in_words(finding(Outcome.FAIL, counts={"fail": 3, "pass": 1, "skip": 9})) == "3 of 4 cases"
    assert cases_in_words(finding(Outcome.FAIL)) == ""


@pytest.mark.parametrize(("error", "allowed"), [(None, 1.0), (1.0, None), (1.0, 0.0), (float("nan"), 1.0)])
def test_no_quotient_where_there_is_none(error, allowed):
    assert excess(finding(Outcome.FAIL, error=error, allowed=allowed)) is None


def test_the_quotient_of_what_was_not_decided_says_nothing():
    assert excess(finding(Outcome.FAIL, error=1.0, allowed=2.0)) == 0.5
    assert excess(finding(Outcome.INCONCLUSIVE, error=1.0, allowed=2.0)) is None


def test_a_page_has_sections_and_fits_the_screen():
    text = page("BN1 a", "Summary here.\n\nPromise\n-------\n" + "word " * 40 + "\n\nMore words.", 50)
    lines = text.splitlines()
    assert lines[:4] == ["BN1 a", "  Summary here.", "", "Promise"]
    assert "-------" not in text
    assert max(map(len, lines)) <= 50


def test_columns_line_up_and_wrap():
    text = columns([("a", "", "one two three four five six"), ("long", "", "b")], 26)
    assert text == "a     one two three four\n      five six\nlong  b\n"


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("a.py", "a.py: no such file.", "no such file."),
        ("a.py::f", "a.py::f: f raised TypeError: no.", "f raised TypeError: no."),
        ("a.py", "a.py::f: f raised TypeError: no.", "f raised TypeError: no."),
        ("old/a.py::f", "a.py::f: f raised.", "f raised."),
        ("a.py", "aa.py: no such file.", "aa.py: no such file."),
        ("a.py", "not implemented yet: f returns None", "not implemented yet: f returns None"),
        ("a.py", "a.py", "a.py"),
        ("a.py", "a.py::f has no backward. Name it: a.py::f.", "a.py::f has no backward. Name it: a.py::f."),
        ("a b.py", "a b.py::f: f raised.", "f raised."),
    ],
)
def test_an_error_does_not_repeat_the_name_that_stands_before_it(name, error, told):
    target = TargetReport(name, Verdict.ERROR, error=error)
    assert nameless(target) == told
    assert REPORTERS.get("short")(report(target), Style()) == f"ERROR {name}: {told}\n"


def test_expected_failures_are_no_warnings():
    found = [
        Finding(f"BN{at}", "a", Outcome.WARN, "error", "told", expected=why)
        for at, why in enumerate(("", "old", "old"))
    ]
    target = TargetReport("a.py", Verdict.PASS, findings=tuple(found), cases=3)
    assert (
        REPORTERS.get("short")(report(target), Style())
        == "PASS a.py: 0 checks on 3 cases, 1 warning, 2 expected failures\n"
    )
    assert "1 warning · 2 expected failures · 3 cases" in REPORTERS.get("plain")(report(target), Style())
