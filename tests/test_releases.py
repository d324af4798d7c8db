"""What docs/releases.md promises is what the code has, and the changelog is one that can be released from."""

import re
import tomllib
from pathlib import Path

import pytest

import bncheck
from bncheck.case import CASE_SCHEMA
from bncheck.cli import EXIT_CODES, EXIT_HELP, OUR_FAULT
from bncheck.report import SCHEMA

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "releases.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def row(name):
    """Return the row of what may be relied on that begins with a name."""
    (found,) = re.findall(rf"^\| {name}.*$", PAGE, re.M)
    return found


def test_schemas_are_those_of_the_page():
    assert f'`"schema": "{SCHEMA}"`' in row("JSON reports")
    assert f"`{CASE_SCHEMA}:...`" in row("replay ids")


def test_exit_codes_are_those_of_the_page():
    said = {int(code) for code in re.findall(r"\b(\d+) [a-z]", row("exit codes"))}
    assert said == {*EXIT_CODES.values(), OUR_FAULT}
    assert EXIT_HELP.removeprefix("Exit codes: ").rstrip(".") in row("exit codes")


def test_public_names_are_those_of_the_page():
    said = set(re.findall(r"`(\w+)`", row("Python").split("|")[2]))
    assert said == set(bncheck.__all__)


def test_the_changelog_has_its_form():
    found = re.findall(r"^## (.*)$", CHANGELOG, re.M)
    assert found[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d{2}-\d{2}", heading) for heading in found[1:]]
    assert all(released), found
    numbers = [tuple(map(int, match.groups())) for match in released]
    assert numbers == sorted(set(numbers), reverse=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert not numbers or version == ".".join(map(str, numbers[0]))


@pytest.mark.parametrize("part", re.split(r"^## ", CHANGELOG, flags=re.M)[1:], ids=lambda part: part.splitlines()[0])
def test_changes_are_sorted_by_their_kind(part):
    kinds = re.findall(r"^### (.*)$", part, re.M)
    assert kinds == [kind for kind in KINDS if kind in kinds]
    for changes in re.split(r"^### .*\n", part, flags=re.M)[1:]:
        assert re.match(r"\n- ", changes)
        assert not re.search(r"^[^-\s]", changes, re.M), "every change is an item of a list"
