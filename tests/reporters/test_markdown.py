"""Markdown as a parser of CommonMark with tables reads it."""

import html
import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from render import FOR_MACHINES, REPORTS, located, report

from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.markup import cell, code, fenced, prose, words

PARSER = MarkdownIt("commonmark").enable("table")
TEXTS = [
    "a|b", "`", "``a``", " a ", "`a", "a`", "<b>", "a\\", "\\|", "|", "a&amp;b", "@octocat", "#12", "owner/repo#1",
    "https://evil.example", "www.evil.example", "me@evil.example", ":tada:", "1. a", "- a", "# a", "[a](b)", "*a*",
    "a_b_c", "_a_", "~a~", "=", "a = b", "50% of it", "\u202ea", "~~~", "===", "/", "$x$", "0) a",
]  # fmt: skip


def rendered(text):
    return PARSER.render(text).strip()


def shown(markup):
    """Return what a reader sees of a line of HTML, and whether it is more than words and code."""
    plain = re.sub(r"</?(p|code)>", "", markup)
    return html.unescape(plain), "<" in plain


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_in_a_paragraph_is_what_it_was(text):
    seen, is_markup = shown(rendered(words(text)))
    assert not is_markup
    assert seen.strip() == text.replace("\u202e", "\\u202e").strip()


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_in_a_cell_is_what_it_was(text):
    table = rendered(f"| a | b |\n|---|---|\n| {cell(text)} | end |")
    cells = re.findall("<td>(.*?)</td>", table)
    assert len(cells) == 2, "a pipe begins a cell"
    assert cells[1] == "end"
    seen, is_markup = shown(cells[0])
    assert not is_markup
    assert seen.strip() == text.replace("\u202e", "\\u202e").strip()


@pytest.mark.parametrize("text", TEXTS)
def test_what_github_makes_a_link_of_stands_in_code(text):
    outside = re.sub("<code>.*?</code>", "", rendered(words(text)))
    assert not re.search(r"@|#|://|www|:\w+:|\$", outside)


def test_plain_words_stay_words():
    for text in (
        "dx is off",
        "N odd: in 41 of 41 cases, in 0 of 156 others",
        "error 3.2e-13, allowed 1e-05",
        "eps=1e-5",
    ):
        assert words(text) == text


@pytest.mark.parametrize("text", ["a", "```", "a\n```\nb", "````\n`````", "~~~"])
def test_a_fence_is_longer_than_what_it_holds(text):
    tokens = PARSER.parse(f"{fenced(text)}\n\nend")
    assert [token.type for token in tokens] == ["fence", "paragraph_open", "inline", "paragraph_close"]
    assert tokens[0].content == f"{text}\n"


def test_code_of_nothing_is_nothing():
    assert code("") == code("  ") == ""


def test_prose_keeps_its_code_and_loses_no_star():
    assert rendered(prose("``a * b`` is *not* a_b <c>")) == "<p><code>a * b</code> is *not* a_b &lt;c&gt;</p>"


@pytest.mark.parametrize("name", sorted(REPORTS | FOR_MACHINES))
def test_the_table_has_a_row_for_each_target(name):
    made = (REPORTS | FOR_MACHINES)[name]
    table = PARSER.render(REPORTERS.get("markdown")(made, Style())).partition("</table>")[0]
    rows = re.findall("<tr>.*?</tr>", table, re.S)
    assert len(rows) == 1 + len(made.targets)
    assert all(row.count("<td>") == 4 for row in rows[1:])


def test_the_command_can_be_copied_whole():
    command = "bncheck replay 'v1:plain:seed=1' \"a ``` b.py\" " + "x" * 1000
    text = REPORTERS.get("markdown")(report(replace(located(), replay=command)), Style())
    fences = [token for token in PARSER.parse(text) if token.type == "fence"]
    assert fences[-1].content == f"{command}\n"


def test_a_bug_has_its_lines_and_its_place():
    text = REPORTERS.get("markdown")(report(located()), Style())
    assert "- wrong: `dx = ... + dvar / m`\n- right: `dx = ... + dmu / m`\n" in text
    assert "- probably here: `src/my layers/misprinted.py:43` `dx = dxhat * inv_std + dvar / m`" in text
    assert "- yours: `2 dgamma`" in text


def test_of_a_large_tensor_the_wrong_elements_are_shown():
    text = REPORTERS.get("markdown")(REPORTS["large"], Style())
    rows = [line for line in text.splitlines() if line.startswith("[")]
    assert len(rows) == 1
    assert rows[0].startswith("[25, 12]")
    assert rows[0].endswith("<- off")
