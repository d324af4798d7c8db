"""What users write goes through every format as data: each is read again by a parser of its own."""

import html.parser
import json
import re
import unicodedata
from functools import cache
from xml.etree import ElementTree

import pytest
from hostile import PAYLOADS, hostile
from junitparser import JUnitXml
from markdown_it import MarkdownIt

from bncheck.codec import report_from_json, to_json
from bncheck.model import Outcome
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.wording import clean

SGR = re.compile(r"\x1b\[[0-9;]*m")
COMMAND = re.compile(r"::(error|warning|notice) ([^:]*)::(.*)")


def rendered(form, payload, **style):
    return REPORTERS.get(form)(hostile(PAYLOADS[payload]), Style(width=100, verbose=True, **style))


@cache
def harmless(form):
    """Return the same report with one plain word in every place."""
    return REPORTERS.get(form)(hostile("word"), Style(width=100, verbose=True))


def unescaped(text):
    for code, character in (("%2C", ","), ("%3A", ":"), ("%0A", "\n"), ("%0D", "\r"), ("%25", "%")):
        text = text.replace(code, character)
    return text


def as_html(text):
    return MarkdownIt("commonmark").enable("table").render(text)


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.data = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.data.append(data)


def structure(text):
    """Return the tags and attributes of a page, which no text of a user may add to."""
    page = Page()
    page.feed(text)
    page.close()
    return page


# ----------------------------------------------------------------------------------------------------- a parser of each


def read_json(text, payload):
    assert to_json(report_from_json(json.loads(text))) == to_json(hostile(PAYLOADS[payload]))


def read_sarif(text, payload):
    run = json.loads(text)["runs"][0]
    plain = json.loads(harmless("sarif"))["runs"][0]
    assert [r["ruleId"] for r in run["results"]] == [r["ruleId"] for r in plain["results"]]
    name = clean(PAYLOADS[payload])
    for result in run["results"]:
        (location,) = result["locations"]
        assert location["logicalLocations"][0]["fullyQualifiedName"] == name
        said = result["message"]["text"]
        assert "](" not in said
        assert re.fullmatch(r"(?:[^{}]|\{\{|\}\})*", said), "a brace that is not doubled is a placeholder"
        uri = location["physicalLocation"]["artifactLocation"]["uri"] if "physicalLocation" in location else ""
        assert re.fullmatch(r"[A-Za-z0-9%/._~-]*", uri)


def read_junit(text, payload):
    suite = next(iter(JUnitXml.fromstring(text.encode())))
    assert suite.name == clean(PAYLOADS[payload], longest=4000)
    plain = next(iter(JUnitXml.fromstring(harmless("junit").encode())))
    assert suite.failures == plain.failures
    if payload != "empty":  # an error that is empty is none
        assert (suite.tests, suite.errors, suite.skipped) == (plain.tests, plain.errors, plain.skipped)
    made, ours = ({e.tag for e in ElementTree.fromstring(xml).iter()} for xml in (text, harmless("junit")))
    assert made <= ours, "a user's text is an element"


def read_github(text, payload):
    lines = text.splitlines()
    plain = harmless("github").splitlines()
    if payload != "empty":  # an error that is empty is none
        assert [line.split()[0] for line in lines] == [line.split()[0] for line in plain]
    for line in lines:
        _, properties, message = COMMAND.fullmatch(line).groups()
        given = dict(part.split("=", 1) for part in properties.split(","))
        assert set(given) <= {"file", "line", "title"}
        assert set(re.findall("%..", message)) <= {"%25", "%0A", "%0D"}
        if "file" in given:
            assert unescaped(given["file"]) == clean(PAYLOADS[payload], keep_lines=True, longest=4000)


def read_markdown(text, payload):
    found = structure(as_html(text))
    plain = structure(as_html(harmless("markdown")))
    ours = set(plain.tags)
    assert set(found.tags) <= ours, "a user's text is markup"
    for tag in ("h2", "h3", "h4", "table", "tr", "td", "th", "pre", "ul", "li"):
        assert found.tags.count(tag) <= plain.tags.count(tag), f"a user's text is a {tag}"
    if payload:
        outside = re.sub(r"<(code|pre)\b.*?</\1>", "", as_html(text), flags=re.S)
        # What GitHub makes links of, outside of code.
        assert not re.search(r"@\w|#\d|https?:|www\.|:\w+:", outside)


def read_html(text, payload):
    found = structure(text)
    plain = structure(harmless("html"))
    assert set(found.tags) <= set(plain.tags), "a user's text is a tag"
    assert set(found.attributes) <= set(plain.attributes), "a user's text is an attribute"
    assert found.tags.count("script") == plain.tags.count("script")
    if payload == "markup":
        assert "<bncheck-evil onload=x>" in "".join(found.data)


def read_text(text, payload):
    if payload == "markup":
        assert "[red]x[/]" in text, "it is no markup of rich's"


PARSERS = {
    "json": read_json,
    "sarif": read_sarif,
    "junit": read_junit,
    "github": read_github,
    "markdown": read_markdown,
    "html": read_html,
    "plain": read_text,
    "rich": read_text,
    "short": read_text,
}


def test_every_format_is_read_again():
    assert set(PARSERS) == set(REPORTERS.names()), "a new format needs a parser here"


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("form", REPORTERS.names())
def test_the_data_of_a_user_stays_data(form, payload):
    text = rendered(form, payload)
    PARSERS[form](text, payload)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("form", REPORTERS.names())
def test_no_text_has_what_a_terminal_would_obey(form, payload):
    text = rendered(form, payload)
    text.encode("utf-8")  # no lone surrogate
    assert not {c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_colours_are_the_only_control_sequences(payload):
    text = SGR.sub("", rendered("rich", payload, color=True))
    assert "\x1b" not in text


@pytest.mark.parametrize("form", sorted(set(REPORTERS.names()) - {"json", "html"}))
def test_a_long_text_is_cut(form):
    assert len(rendered(form, "long")) < 600_000


def test_the_hostile_report_is_hostile_everywhere():
    made = hostile("evil")
    target = made.targets[0]
    assert {made.version, made.dtype, target.name, target.error, target.replay, *target.discovery} == {"evil"}
    assert target.defined.file == target.diagnoses[0].line.text == target.findings[0].message == "evil"
    assert target.exhibits[0].printed == target.exhibits[0].comparisons[0].tensor == "evil"
    assert target.findings[1].outcome is Outcome.FAIL
