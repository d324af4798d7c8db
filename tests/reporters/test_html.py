"""The page for the browser: its structure, its colours, and foreign text that stays text."""

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import warnings
from enum import Enum
from functools import cache
from importlib.resources import files
from itertools import pairwise

import pytest
from markup_seen import Seen
from render import HOSTILE, REPORTS, report

from bncheck.checks.catalogue import CHECKS
from bncheck.codec import to_json
from bncheck.errors import UsageError
from bncheck.report import Report, Trend, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.specimen import passed, specimen

CSS = (files("bncheck.reporters.document") / "templates" / "style.css").read_text()


def page(made):
    return REPORTERS.get("html")(made, Style())


@cache
def seen(name):
    return Seen(page(REPORTS[name]))


EVERY = pytest.mark.parametrize("name", sorted(REPORTS))


@EVERY
def test_elements_nest(name):
    assert seen(name).misfits == []
    assert seen(name).open == []


def test_an_element_that_is_left_open_is_seen():
    assert Seen("<div><p>a</div>").misfits


@EVERY
def test_one_main_heading_and_no_level_left_out(name):
    levels = [int(tag[1]) for tag, _ in seen(name).elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(two <= one + 1 for one, two in pairwise(levels))


@EVERY
def test_language_title_and_landmarks(name):
    made = seen(name)
    assert made.all("html") == [{"lang": "en"}]
    for landmark in ("head", "header", "main", "footer"):
        assert len(made.all(landmark)) == 1
    assert re.search(r"<head>.*<title>[A-Z]+: .+</title>.*</head>", page(REPORTS[name]), re.DOTALL)


@EVERY
def test_ids_are_unique_and_references_lead_somewhere(name):
    made = seen(name)
    ids = [attributes["id"] for _, attributes in made.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in made.elements:
        named = attributes.get("aria-labelledby", "").split()
        named += [value[1:] for key, value in attributes.items() if key in ("href", "xlink:href")]
        named += re.findall(r"url\(#([^)]*)\)", " ".join(filter(None, attributes.values())))
        assert set(named) <= set(ids)


@EVERY
def test_every_picture_has_a_name_and_a_description(name):
    made = seen(name)
    assert not made.all("img")
    for attributes in made.all("svg"):
        assert attributes["role"] == "img"
        assert len(attributes["aria-labelledby"].split()) == 2
    assert len(made.all("desc")) == len(made.all("svg"))


@EVERY
def test_nothing_is_fetched_and_nothing_is_run(name):
    made = seen(name)
    assert not made.all("script", "link", "iframe", "object", "embed", "base", "form")
    for _, attributes in made.elements:
        assert not [key for key in attributes if key.startswith("on") or key in ("src", "srcset", "action")]
        assert all(value.startswith("#") for key, value in attributes.items() if key.endswith("href"))
        assert "://" not in " ".join(filter(None, attributes.values()))
    assert not re.search(r"@import|url\((?!#)", page(REPORTS[name]))


@EVERY
def test_tables_and_keyboard(name):
    made = seen(name)
    assert all(attributes.get("scope") in ("col", "row") for attributes in made.all("th"))
    assert {attributes["tabindex"] for _, attributes in made.elements if "tabindex" in attributes} <= {"0"}
    for _, attributes in made.elements:
        assert "tabindex" not in attributes or attributes["aria-label"]


@EVERY
def test_the_page_is_ascii(name):
    assert page(REPORTS[name]).isascii()


# -------------------------------------------------------------------------------------------------------- what it says


def test_the_parts_stand_in_their_order():
    text = re.sub(r"\s+", " ", " ".join(seen("diagnosed").texts))
    wanted = (
        "FAIL", "What is wrong", "BUG07", "A small failing case", "dx expected", "Worked out for channel 0",
        "Run this case again", "bncheck replay", "Error over the cases", "Two oracles", "Findings",
        "How the derivative was measured", "How it is called", "What is ruled out", "How this was run",
    )  # fmt: skip
    places = [text.index(word) for word in wanted]
    assert places == sorted(places)


def told(made):
    return re.sub(r"\s+", " ", "".join(Seen(page(made)).texts))


def folded(made, word):
    """Return whether the <details> whose summary says `word` is closed at first."""
    (opening,) = re.findall(rf"<details([^>]*)>\s*<summary>(?:<h3>)?{word}", page(made))
    return "open" not in opening


def test_the_steps_are_open_and_the_line_probe_is_folded_with_a_sentence():
    assert not folded(REPORTS["diagnosed"], "Worked out")
    assert folded(REPORTS["diagnosed"], "How the derivative")
    assert folded(REPORTS["diagnosed"], "What is ruled out")
    assert "found by running it at 16 points" in told(REPORTS["diagnosed"])


def test_every_passed_check_says_what_it_rules_out():
    made = page(REPORTS["pass"])
    passed = REPORTS["pass"].targets[0].findings
    assert made.count("rules out: ") == len(passed)
    assert "rules out: the unbiased variance (<code>ddof=1</code>" in made


@pytest.mark.parametrize("code", sorted(code for code, _ in CHECKS.items()))
def test_every_check_has_something_to_rule_out(code):
    finding = dataclasses.replace(passed(code, CHECKS.get(code).name, "y"))
    target = dataclasses.replace(REPORTS["pass"].targets[0], findings=(finding,))
    assert told(report(target)).count("rules out: ") == 1


def test_a_check_of_another_version_rules_out_nothing_that_is_known():
    target = dataclasses.replace(REPORTS["pass"].targets[0], findings=(passed("BN999", "some-other", "y"),))
    assert "BN999 some-other" in told(report(target))
    assert "rules out: " not in told(report(target))


def test_the_pages_of_the_bug_and_of_the_check_are_named():
    assert "bncheck explain BUG07; bncheck explain BN201" in told(REPORTS["diagnosed"])
    assert "why it matters: bncheck explain BN201 " in told(REPORTS["fail"])


def test_both_oracles_are_explained_where_both_are_asked():
    assert "B asks whether" in told(REPORTS["fail"])
    target = REPORTS["fail"].targets[0]
    alone = dataclasses.replace(target.oracles, backward_is_reference="none", backward_is_own_derivative="none")
    said = told(report(dataclasses.replace(target, oracles=alone)))
    assert "A asks whether" in said
    assert "B asks whether" not in said


STRICT = dataclasses.replace(REPORTS["warn"].targets[0], verdict=Verdict.FAIL)
UNREAD = dataclasses.replace(REPORTS["error"].targets[0], discovery=("nothing fits",))
RESUMED = dataclasses.replace(REPORTS["interrupted"].targets[0], journal="k.jsonl", resumed=8)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (report(STRICT), "Nothing is wrong, but --strict asks that nothing is warned of either."),
        (report(UNREAD), "An adapter of a few lines tells how to call it: bncheck init --adapter."),
        (REPORTS["interrupted"], "Stopped after 34 cases; nothing is known about the others."),
        (report(RESUMED), "8 of 34 cases were read from k.jsonl. The same command with --resume goes on where"),
        (REPORTS["inconclusive"], "What may help: --dtype float64 makes rounding smaller; --cases makes more cases"),
        (REPORTS["contradiction"], "the two oracles contradict each other."),
    ],
)
@pytest.mark.parametrize("form", ["html", "markdown", "plain"])
def test_a_verdict_that_is_not_plain_is_explained_in_every_format(made, sentence, form):
    text = told(made) if form == "html" else REPORTERS.get(form)(made, Style(width=200))
    assert text.count(sentence) == 1
    assert sentence not in told(REPORTS["fail"])


def test_targets_are_counted_alike_everywhere():
    made = report(REPORTS["interrupted"].targets[0], REPORTS["pass"].targets[0])
    assert "1 right, 1 interrupted" in told(made)
    assert "1 right, 1 interrupted" in REPORTERS.get("plain")(made, Style())


@EVERY
def test_a_case_and_the_oracles_are_called_alike_in_every_format(name):
    for form in ("html", "markdown", "plain"):
        text = REPORTERS.get(form)(REPORTS[name], Style(width=100))
        assert not re.search("smallest|the derivative of your forward", text)


def test_words_beside_a_formula_leave_it_a_formula():
    diagnosis = dataclasses.replace(
        REPORTS["diagnosed"].targets[0].diagnoses[0], wrong="dgamma = sum(dy * xhat) without the last row"
    )
    made = page(report(dataclasses.replace(REPORTS["diagnosed"].targets[0], diagnoses=(diagnosis,))))
    assert "</math> without the last row</div>" in made


def test_windows_have_the_indices_of_their_rows_and_columns():
    table = page(REPORTS["large"]).split('<table class="numbers"')[1].split("</table>")[0]
    columns = re.findall(r'<th scope="col">(\d+)</th>', table)
    rows = re.findall(r'<th scope="row">(\d+)</th>', table)
    title = re.search(r"dx\[(\d+):(\d+), (\d+):(\d+)\]", page(REPORTS["large"]))
    top, bottom, left, right = map(int, title.groups())
    assert rows == [str(at) for at in range(top, bottom)]
    assert columns == [str(at) for at in range(left, right)]
    assert top <= 25 < bottom
    assert left <= 12 < right


def test_formulas_can_be_scrolled_from_the_keyboard():
    made = [
        attributes for _, attributes in seen("diagnosed").elements if attributes.get("class") in ("formula", "scroll")
    ]
    assert made
    assert all(attributes.get("tabindex") == "0" and attributes.get("aria-label") for attributes in made)


@pytest.mark.parametrize("ratios", [(1e308, 1e308, 0.5), (math.inf, 5e-324, 1.0), (1.7e308, 0.0, math.nan)])
@pytest.mark.parametrize("values", [(1e308, -1e308, 5e-324), (1.7e308, 1e-308, 1.0)])
def test_extreme_numbers_are_drawn_in_silence(ratios, values):
    finding = dataclasses.replace(
        specimen().targets[0].findings[1], trend=Trend("N", values, ratios, (True, True, False))
    )
    target = dataclasses.replace(specimen().targets[0], findings=(finding,))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert Seen(page(report(target))).misfits == []
    assert heard == []


def test_cells_that_are_off_are_marked_without_colour():
    cells = re.findall(r'<td class="off">(.*?)</td>', page(REPORTS["fail"]))
    assert len(cells) == 6
    assert all("&#9664;" in cell and "off" in cell for cell in cells)


def test_several_targets_have_a_table_first():
    made = page(REPORTS["several"])
    table, first = made.index("<table"), made.index("<section")
    assert table < first
    assert made[table:first].count("<a href=") == len(REPORTS["several"].targets)


def test_wrong_and_right_stand_side_by_side_as_mathml():
    diagnosis = dataclasses.replace(
        REPORTS["diagnosed"].targets[0].diagnoses[0], wrong="a / b", right="no formula here"
    )
    target = dataclasses.replace(REPORTS["diagnosed"].targets[0], diagnoses=(diagnosis,))
    made = page(report(target))
    assert made.count("<math>") >= 1
    assert "<code>a / b</code>" in made
    assert "<code>no formula here</code>" in made


def test_a_report_without_data_for_plots_has_none():
    assert seen("pass").all("svg") == []
    assert "How the derivative" not in page(REPORTS["not-finite"])


def test_plots_come_out_of_a_stored_report_the_same():
    from bncheck.codec import report_from_json

    stored = report_from_json(json.loads(json.dumps(to_json(specimen()))))
    assert page(stored) == page(specimen())


def test_two_processes_write_the_same_page():
    program = (
        "import sys; from bncheck.reporters import REPORTERS, Style; from bncheck.reporters.specimen import specimen;"
        "sys.stdout.write(REPORTERS.get('html')(specimen(), Style()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=dict(os.environ, PYTHONHASHSEED="7"), capture_output=True, text=True
    )
    assert done.stdout == page(specimen())


# -------------------------------------------------------------------------------------------------------------- colours


def variables(block):
    return dict(re.findall(r"--(\w+):\s*(#[0-9a-f]{6})", block))


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, two):
    light, dark = sorted((luminance(one), luminance(two)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


THEMES = {
    "light": variables(CSS[: CSS.index("prefers-color-scheme")]),
    "dark": variables(CSS[CSS.index("prefers-color-scheme") : CSS.index("box-sizing")]),
    "print": variables(CSS[CSS.index("@media print") :]),
}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("role", ["ink", "faint", "good", "bad", "warn", "link"])
@pytest.mark.parametrize("ground", ["ground", "panel"])
def test_text_is_legible_in_every_theme(theme, role, ground):
    assert contrast(THEMES[theme][role], THEMES[theme][ground]) >= 4.5


def test_contrast_is_computed_as_it_is_defined():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_every_theme_has_every_colour_and_no_rule_has_one_of_its_own():
    assert THEMES["light"].keys() == THEMES["dark"].keys() == THEMES["print"].keys()
    assert not re.findall(r"(?<!-)\b(?:color|background|fill|border[\w-]*):[^;]*#[0-9a-f]{3}", CSS)


# -------------------------------------------------------------------------------------------------------- foreign text

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'></title></style></svg>{{ 7919 * 7919 }}$x^2$&lt;"


def planted(value, text):
    """Return plain data with `text` in every string that may come from a user's code."""
    if isinstance(value, Enum) or not (dataclasses.is_dataclass(value) or isinstance(value, str | tuple | dict)):
        return value
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(planted(item, text) for item in value)
    if isinstance(value, dict):
        return {planted(key, text): planted(item, text) for key, item in value.items()}
    fields = [f.name for f in dataclasses.fields(value)]
    return dataclasses.replace(value, **{name: planted(getattr(value, name), text) for name in fields})


@pytest.mark.parametrize("text", [MARKUP, HOSTILE, "--><!--", "]]>", "\x00\x1b[31m\u202e\ud800"])
@pytest.mark.parametrize("name", ["diagnosed", "several"])
def test_foreign_text_stays_text(name, text):
    made = Seen(page(planted(REPORTS[name], text)))
    assert made.misfits == []
    assert made.open == []
    assert not made.all("script", "img")
    assert not [key for _, attributes in made.elements for key in attributes if key.startswith("on")]
    told = "".join(made.texts)
    assert "62710561" not in told
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800]", told)
    if text == MARKUP:
        assert MARKUP in told


def test_a_foreign_parameter_is_no_label_of_a_plot():
    finding = dataclasses.replace(
        specimen().targets[0].findings[1], trend=Trend("$\\frac{1}{", (3.0,) * 9, (2.0,) * 9, (True,) * 9)
    )
    target = dataclasses.replace(specimen().targets[0], findings=(finding,))
    assert ">parameter<" in page(report(target))


# ------------------------------------------------------------------------------------------------------------ libraries


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_a_missing_library_is_told_before_anything_runs(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"needs {library}: pip install 'bncheck\[html\]'"):
        REPORTERS.get("html")
    REPORTERS.get("json")


def test_all_missing_libraries_are_told_at_once(monkeypatch):
    for library in ("jinja2", "matplotlib"):
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=r"the format html needs jinja2 and matplotlib: pip install 'bncheck\[html\]'"):
        REPORTERS.get("html")


def test_other_formats_load_no_library_of_this_one():
    program = (
        "import sys; from bncheck.reporters import REPORTERS, Style; from bncheck.reporters.specimen import specimen;"
        "REPORTERS.get('html'); REPORTERS.get('plain')(specimen(), Style());"
        "sys.exit(str({'jinja2', 'matplotlib', 'markupsafe'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == ""


def test_a_report_of_nothing_is_a_page():
    made = Seen(page(Report((), Verdict.ERROR, "0.0", 0, "float64")))
    assert made.misfits == []
    assert "nothing was verified" in "".join(made.texts)
