"""The report for people, in fragments: what must stand in it, and what must never."""

import re
import unicodedata
from dataclasses import replace

import pytest
from render import (
    HOSTILE,
    REPORTS,
    broken,
    finding,
    hostile,
    inconclusive,
    located,
    misprinted,
    report,
    right,
    stub,
    warned,
)

from bncheck.model import Outcome
from bncheck.report import CHANGED, TargetReport, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.document import view
from bncheck.reporters.specimen import CASE, specimen

ANSI = re.compile(r"\x1b\[[0-9;]*m")
WIDTHS = (60, 80, 120)


def plain(made, **style):
    return REPORTERS.get("plain")(made, Style(**style))


def one(target, **style):
    return plain(report(target), **style)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", sorted(REPORTS))
def test_no_line_is_longer_than_the_screen_but_the_replay_command(name, width):
    replays = {t.replay for t in REPORTS[name].targets}
    for line in plain(REPORTS[name], width=width).splitlines():
        assert len(line) <= width or line.strip() in replays


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", sorted(set(REPORTS) - {"several", "hostile"}))
def test_a_target_fits_one_screen(name, width):
    assert plain(REPORTS[name], width=width).count("\n") <= 40


@pytest.mark.parametrize("form", ["rich", "plain", "markdown"])
def test_what_a_journal_has_to_do_with_a_report_is_said(form):
    def told(**facts):
        known = {"cases": 1200, "planned": 1200, "journal": "k2.jsonl", "resumed": 425}
        target = replace(right(), **{**known, **facts})
        return " ".join(REPORTERS.get(form)(report(target), Style(100)).split())

    assert "425 of 1,200 cases were read from k2.jsonl." in told()
    assert "--resume" not in told()
    on = "The same command with --resume goes on where k2.jsonl ends."
    assert on in told(verdict=Verdict.INTERRUPTED)
    assert on in told(planned=2000, stopped="--max-time 6 was over", resumed=0)
    assert "--resume" not in told(verdict=Verdict.INTERRUPTED, stopped=CHANGED)
    assert "--resume" not in told(verdict=Verdict.INTERRUPTED, journal="", resumed=0)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_failure_holds_what_its_reader_needs(width):
    text = one(misprinted(), width=width)
    words = " ".join(text.split())
    assert text.startswith("✘ FAIL  misprinted.py::batchnorm")
    for fragment in (
        "eps: an argument",
        "→ The backward is wrong: it is not the derivative of its forward.",
        "BN201 dx-matches-numeric",
        "197 of 197 cases",
        "fails from N = 2",
        "follows from BN201: BN211 dx-matches-reference",
        "6 checks pass, 1 does not apply",
        "N=3, C=2, eps=1e-05, float64",
        "x = [[0.5, -1.25], [2, 0.75], [-0.375, 1.5]]",
        "dx[2, 0] is 2.832, and should be -1.168; error 4.01, allowed 3.2e-13",
        "right: dgamma and dbeta",
    ):
        assert fragment in words
    assert re.search(r"A  \S.*yes +no +ok +WRONG +ok +ok", text)
    assert re.search(r"B  \S.*– +no +– +WRONG +ok +ok", text)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("reporter", ["rich", "plain"])
def test_the_replay_command_stands_whole_on_a_line(reporter, width):
    command = f"bncheck replay '{CASE.id}' {'folder/' * 30}misprinted.py"
    text = REPORTERS.get(reporter)(report(replace(misprinted(), replay=command)), Style(width=width))
    assert f"\n  {command}\n" in text


def test_values_that_are_off_are_marked_without_colour():
    text = one(misprinted())
    assert "-1.7984◀" in text
    assert text.count("◀") == 7  # six elements and the legend


def test_folded_findings_are_on_no_line_of_their_own():
    assert "✘ BN211" not in one(misprinted(), verbose=True)


def test_passed_checks_are_counted_and_listed_only_when_asked():
    assert "BN202" not in one(misprinted())
    assert "✔ BN202 dgamma-matches-numeric" in one(misprinted(), verbose=True)


def test_verbose_shows_every_tensor_of_the_case():
    assert "dgamma expected" not in one(misprinted())
    assert "dgamma expected" in one(misprinted(), verbose=True)


def test_a_pass_says_what_was_verified():
    words = " ".join(one(right()).split())
    assert words.startswith("✔ PASS right.py::batchnorm")
    assert "7 checks passed on 200 cases in float64; 99.5% of all answers were decided" in words
    assert "The error nearest to its bound reaches 0.21 of what rounding explains (BN101 y-matches-reference)." in words


def test_almost_all_is_never_called_all():
    found = finding(Outcome.PASS, counts={"pass": 99999, "inconclusive": 1})
    assert "99.9% of all" in one(replace(right(), findings=(found,)))


def test_a_warning_does_not_hide_behind_a_pass():
    text = one(warned())
    assert text.startswith("✔ PASS")
    assert "! BN401 variance-keeps-its-digits" in text


def test_a_warning_that_fails_names_the_option_that_made_it_fail():
    assert "--strict" in one(replace(warned(), verdict=Verdict.FAIL))
    assert "--strict" not in one(misprinted())


def test_inconclusive_explains_itself():
    text = " ".join(plain(report(inconclusive(), dtype="float32")).split())
    assert "Neither right nor wrong has been shown" in text
    assert "? BN201 dx-matches-numeric 190 of 190 cases" in text
    assert "--dtype float64" in text
    assert "--dtype float64" not in one(inconclusive())


def test_inconclusive_without_any_judgement_says_so():
    found = finding(Outcome.SKIP, counts={"skip": 5})
    text = one(TargetReport("a", Verdict.INCONCLUSIVE, findings=(found,)))
    assert "no check applied to any case" in text


def test_an_error_is_its_message():
    assert one(broken()).splitlines() == [
        "! ERROR  gone.py",
        "  it imports cupy, which is not installed.",
        "  Try pip.",
    ]


def test_a_stub_is_no_error_message():
    assert one(stub()).startswith("! NOT IMPLEMENTED YET  layers.py::bn")


def test_several_targets_start_with_a_table():
    lines = plain(REPORTS["several"]).splitlines()
    assert lines[0] == "6 targets: 2 right, 1 wrong, 1 undecided, 2 not run"
    assert re.fullmatch(r"  ✘ FAIL +misprinted.py::batchnorm +BN201 dx-matches-numeric", lines[2])


def test_what_simply_passes_is_only_in_the_table():
    assert "✔ PASS  right.py" not in plain(report(right(), misprinted()), width=120).partition("──")[2]
    assert "✔ PASS  right.py" in plain(report(right(), misprinted()), width=120, verbose=True).partition("──")[2]


@pytest.mark.parametrize("reporter", ["rich", "plain", "short"])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_foreign_text_cannot_command_the_terminal(reporter, ascii_only):
    made = report(hostile(), replace(broken(), name=HOSTILE, error=HOSTILE))
    for verbose in (False, True):
        text = REPORTERS.get(reporter)(made, Style(color=reporter == "rich", ascii=ascii_only, verbose=verbose))
        assert "evil[bold" in text
        left = ANSI.sub("", text) if reporter == "rich" else text
        assert "\\x1b[31m" in left.replace("\n", "")
        assert {unicodedata.category(c) for c in left} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} <= {"Cc"}
        assert {c for c in left if unicodedata.category(c) == "Cc"} <= {"\n"}
        left.encode("utf-8")


def test_the_colours_that_appear_are_the_reporters_own():
    codes = ";".join(re.findall(r"\x1b\[([0-9;]*)m", rich_text(report(hostile()))))
    assert set(map(int, codes.split(";"))) <= {0, 1, 2, 7, 31, 32, 35}


def rich_text(made):
    return REPORTERS.get("rich")(made, Style(color=True))


def test_colour_changes_no_word():
    colored = ANSI.sub("", rich_text(REPORTS["several"]))
    assert [line.rstrip() for line in colored.splitlines()] == plain(REPORTS["several"]).splitlines()


def test_no_colour_unless_asked(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in rich_text(specimen())
    assert "\x1b" not in REPORTERS.get("rich")(specimen(), Style(color=False))
    assert "\x1b" not in REPORTERS.get("plain")(specimen(), Style(color=True))


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_ascii_keeps_every_line(name):
    text = plain(REPORTS[name], ascii=True)
    assert text.isascii()
    if name != "hostile":
        assert len(text) == len(plain(REPORTS[name]))


def test_names_in_other_scripts_survive_or_are_spelled_out():
    target = replace(broken(), name="Слой.py::нормализация")
    assert "Слой.py::нормализация" in one(target)
    assert "\\u0421" in one(target, ascii=True)


def test_numbers_that_are_not_finite_are_shown():
    text = plain(REPORTS["not-finite"])
    assert "nan◀" in text
    assert "-inf◀" in text
    assert "nan × allowed" not in text


def test_a_large_array_is_cut_around_its_worst_element_and_told_apart():
    text = plain(REPORTS["large"], width=100)
    assert "dx[22:28, 10:15]" in text
    assert "0.9866177637 " in text
    assert "0.9866177638◀" in text
    assert "x has shape (40, 30), from -1 to 1" in text


def test_many_findings_do_not_fill_the_screen():
    many = tuple(finding(Outcome.FAIL, code=f"BN{i}", message="long " * 60) for i in range(200, 240))
    text = one(replace(misprinted(), findings=many))
    assert text.count("\n") <= 50
    assert "32 more fail (-v lists them, and what is wrong in each)" in " ".join(text.split())
    assert "BN239" in one(replace(misprinted(), findings=many), verbose=True)


def test_failing_cases_that_are_left_out_are_counted():
    assert "more failing case" not in one(misprinted())
    target = replace(misprinted(), exhibits=misprinted().exhibits * 3)
    assert "2 more failing cases: -v shows all" in one(target)
    assert "more failing case" not in one(target, verbose=True)


def test_lines_that_are_wrong_in_several_targets_are_told_once():
    diagnosis = located().diagnoses[0]
    about = tuple(f for f in located().findings if f.outcome is not Outcome.WARN)
    first = replace(located(), diagnoses=(diagnosis,), findings=about)
    twin = replace(first, name="misprinted.py::another", replay="bncheck replay v1:x misprinted.py::another")
    both = report(first, twin)
    text = " ".join(plain(both).split())
    assert "The same lines are wrong as in misprinted.py::batchnorm, see there (-v shows this report too)." in text
    assert text.count("bncheck replay") == 1
    assert plain(both, verbose=True).count("bncheck replay") == 2
    elsewhere = replace(diagnosis, line=replace(diagnosis.line, number=99))
    for other in (elsewhere, replace(diagnosis, line=None)):
        assert plain(report(first, replace(twin, diagnoses=(other,)))).count("bncheck replay") == 2
    # What no bug with a line is about may be wrong at other lines.
    more = finding(Outcome.FAIL, code="BN509", name="layers-independent", tensor="dbeta")
    two = [replace(target, findings=(*target.findings, more)) for target in both.targets]
    assert plain(report(*two)).count("bncheck replay") == 2
    # A line that is not known may be another one.
    unknown = replace(diagnosis, line=None)
    two = [replace(target, diagnoses=(unknown,)) for target in both.targets]
    assert plain(report(*two)).count("bncheck replay") == 2


def test_the_module_shows_a_specimen(capsys, monkeypatch):
    from bncheck.reporters import terminal

    monkeypatch.setenv("COLUMNS", "80")
    terminal._main()
    assert capsys.readouterr().out == one(misprinted())


def table(target, **style):
    return [line.split()[-6:] for line in one(target, **style).splitlines() if line.startswith(("  A  ", "  B  "))]


def test_a_tensor_of_a_wrong_shape_is_wrong_in_the_table_whatever_else_is_compared():
    shapes = finding(Outcome.FAIL, code="BN501", name="shapes-fit", tensor="dgamma", counts={"fail": 3, "pass": 197})
    target = replace(misprinted(), findings=(*misprinted().findings, shapes))
    assert [row[4] for row in table(target)] == ["WRONG", "WRONG"]
    assert [row[5] for row in table(target)] == ["ok", "ok"]
    page = [[answer.word for answer in answers[2:]] for _, answers in view.oracle_rows(target)]
    assert page == [["ok", "wrong", "wrong", "ok"], ["–", "wrong", "wrong", "ok"]]


def test_a_tensor_that_is_nowhere_finite_is_wrong_in_the_table():
    finite = finding(Outcome.FAIL, code="BN503", name="results-finite", tensor="dbeta", counts={"fail": 200})
    none = [replace(f, outcome=Outcome.SKIP) if f.tensor == "dbeta" else f for f in misprinted().findings]
    assert [row[5] for row in table(replace(misprinted(), findings=(*none, finite)))] == ["WRONG", "WRONG"]
    assert [row[5] for row in table(replace(misprinted(), findings=tuple(none)))] == ["–", "–"]


def test_the_table_tells_expected_failures_from_those_that_stay_away():
    """An expected failure is a warning, one that stays away a failure: of the numbers either says the contrary."""
    known = replace(misprinted().findings[1], outcome=Outcome.WARN, expected="as in the paper")
    assert table(replace(misprinted(), findings=(known,)))[1][3] == "WRONG"
    mended = replace(misprinted().findings[1], counts={"pass": 197, "skip": 3})
    assert table(replace(misprinted(), findings=(mended,)))[1][3] == "ok"


def test_of_one_check_the_table_is_that_of_all_and_the_rest_its_own():
    warning = replace(warned().findings[-1], case="v1:other")
    target = replace(misprinted(), findings=(*misprinted().findings, warning))
    text = one(target, only=warning.code)
    assert table(target, only=warning.code) == table(target)
    assert f"! {warning.code} {warning.name}" in text
    assert "BN201" not in text
    assert "A small failing case" not in text
    assert "A small failing case" in one(target, only="BN201")
    assert one(target, only="BN999") == one(target)
