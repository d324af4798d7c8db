"""docs/reference is what `make reference` writes, and nothing that can be named is missing from it."""

import dataclasses
import re

import click
import pytest
from from_scripts import ROOT, load

import bncheck
from bncheck.bugs.catalogue import BUGS
from bncheck.checks.catalogue import CHECKS
from bncheck.cli import cli
from bncheck.pages.catalogue import PAGES
from bncheck.reporters.schema import schema
from bncheck.settings import Settings, read_pyproject

DOCSTRINGS = load("docstrings")
load("reference_types")
MAKE = load("make_reference")
WRITTEN = MAKE.pages()
DOCS = ROOT / "docs"


def text_of(page):
    return (DOCS / page).read_text(encoding="utf-8")


def headings(text, level=2):
    return re.findall(rf"^{'#' * level} (.+)$", text, re.M)


@pytest.mark.parametrize("page", WRITTEN)
def test_a_page_is_what_the_script_writes(page):
    assert text_of(page) == WRITTEN[page], "make reference"


def test_nothing_else_lies_in_the_reference():
    assert {str(path.relative_to(DOCS).as_posix()) for path in DOCS.glob("reference/**/*.md")} == {
        page for page in WRITTEN if page.startswith("reference/")
    }


@pytest.mark.parametrize(("folder", "registry"), [("checks", CHECKS), ("bugs", BUGS)], ids=["checks", "bugs"])
def test_every_code_has_one_entry_and_is_listed(folder, registry):
    entries = [heading for path in (DOCS / "reference" / folder).glob("*.md") for heading in headings(path.read_text())]
    wanted = [f"{code} {item.name}" for code, item in registry.items()]
    assert sorted(entries) == sorted([*wanted, "BUG000 no-known-bug"] if folder == "bugs" else wanted)
    listed = re.findall(r"^\| \[(\w+)\]", text_of(f"reference/{folder}.md"), re.M)
    assert sorted(listed) == sorted(entry.split()[0] for entry in entries)


def test_an_entry_says_all_that_explain_says():
    said = text_of("reference/checks/gradients.md")
    entry = said.partition("## BN201 ")[2].partition("\n## ")[0]
    for section in ("Promise", "Why it matters", "Evidence", "Typical causes", "References", "Severity"):
        assert f"### {section}\n" in entry
    spoken = " ".join(word for word in re.findall(r"\w+", CHECKS.get("BN201").doc))
    assert spoken in " ".join(re.findall(r"\w+", re.sub(r"\]\(.*?\)", "]", entry)))


@pytest.mark.parametrize("name", cli.commands)
def test_every_option_of_a_command_has_its_line(name):
    section = text_of("reference/commands.md").partition(f"\n## bncheck {name}\n")[2].partition("\n## ")[0]
    assert section
    lines = [line for line in section.splitlines() if line.startswith("- ")]
    options = [parameter for parameter in cli.commands[name].params if isinstance(parameter, click.Option)]
    assert len(lines) == len(options)
    for option in options:
        [line] = [line for line in lines if re.match(rf"- `{option.opts[0]}[ `]", line)]
        assert all(f"`{other}`" in line for other in (*option.opts[1:], *option.secondary_opts))


def test_every_setting_has_an_entry_by_the_key_that_is_read(tmp_path):
    keys = headings(text_of("reference/settings.md"))
    values = dataclasses.asdict(Settings(layout="NC", eps=0.1, kind="closure", adapter_file="a.py", jobs=2))
    read = {}
    for key in keys:
        field = (
            re.search(rf"^## {key}\n\n.*?(?:In Python: `(\w+)`\.)?$", text_of("reference/settings.md"), re.M)[1] or key
        )
        value = values[field]
        if value is not None and value != ():
            spelled = str(value).lower() if isinstance(value, bool | int | float) else repr(value)
            (tmp_path / "pyproject.toml").write_text(f"[tool.bncheck]\n{key} = {spelled}\n")
            assert read_pyproject(tmp_path) == {field: value}
        read[field] = key
    assert set(read) == {field.name for field in dataclasses.fields(Settings)}


def test_every_public_name_and_every_part_of_a_report_has_an_entry():
    assert set(headings(text_of("reference/python.md"))) == set(bncheck.__all__)
    assert set(headings(text_of("reference/json.md"))) == {"Report", *schema()["$defs"]}


def test_every_page_for_beginners_is_a_question():
    assert sorted(headings(text_of("tutorial/questions.md"))) == sorted(set(PAGES.names()) - {"BUG000"})


def test_codes_are_links_but_in_code_and_in_headings():
    here = "reference/checks/laws.md"
    assert MAKE.linked("See BN201, BN999.", here) == (
        "See [BN201](../../reference/checks/gradients.md#bn201-dx-matches-numeric), BN999."
    )
    assert MAKE.linked("# BN201\n`BN201`\n```\nBN201\n```", here) == "# BN201\n`BN201`\n```\nBN201\n```"


def test_a_page_of_explain_becomes_markdown():
    doc = (
        "In short: a_b.\n\nWrong\n-----\ndx = 1 * 2\n\nIn full\n-------\nWith `m` and\n:class:`Report`:\n\n    y = 3\n"
    )
    assert DOCSTRINGS.page(doc) == (
        "In short: a\\_b.\n\n### Wrong\n\n```\ndx = 1 * 2\n```\n\n"
        "### In full\n\nWith `m` and `Report`:\n\n```\ny = 3\n```\n"
    )


def test_entries_of_a_docstring_are_read_by_name():
    body = "a, b : int or None\n    Both\n    of them.\nc\n    No type."
    assert DOCSTRINGS.fields(body) == {
        "a": ("int or None", "Both of them."),
        "b": ("int or None", "Both of them."),
        "c": ("", "No type."),
    }
    assert DOCSTRINGS.bullets({"a": ("int", "One."), "c": ("", "None.")}) == "- `a` (int): One.\n- `c`: None."


def test_check_finds_a_stale_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(MAKE, "DOCS", tmp_path)
    monkeypatch.setattr(MAKE, "pages", lambda: {"reference/one.md": "now\n"})
    assert MAKE.main(["--check"]) == 1
    assert not list(tmp_path.iterdir())
    assert MAKE.main([]) == 0
    assert (tmp_path / "reference" / "one.md").read_text() == "now\n"
    assert MAKE.main(["--check"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "stale: docs/reference/one.md"
