"""Every bug of docs/bugs-in-the-wild.md, planted: the check that the page names fails, or warns, by itself."""

from pathlib import Path

import pytest
from from_scripts import load

from bncheck.adapters import resolve
from bncheck.cases.plan import cases_for
from bncheck.checks.catalogue import CHECKS, selected
from bncheck.driver import judge
from bncheck.guard import quiet
from bncheck.model import Declared, Outcome, TargetSpec
from bncheck.settings import Settings
from bncheck.verdict import findings

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "fixtures"


MATRIX = load("make_matrix")
ENTRIES = {entry["id"]: entry for entry in MATRIX.in_the_wild()}
WRONG = [name for name, entry in ENTRIES.items() if "caught" in entry]
RIGHT = [name for name, entry in ENTRIES.items() if "caught" not in entry]


# What is right has to be so on all recipes; wrong ones are tried until they are caught, on a default run at most.
RECIPES, DEFAULT = 60, Settings().cases


def results(entry, folder, cases=DEFAULT):
    """Judge case after case of a default run."""
    source = FIXTURES / entry["file"] if "file" in entry else MATRIX.written(MATRIX.planted(entry), folder)
    spec = TargetSpec(str(source), declared=Declared(profile=entry.get("profile", "auto")))
    for card in resolve.cards(spec):
        target = resolve.target(spec, card.name)
        for case in cases_for(target.conventions, Settings(cases=cases, dtype=entry.get("dtype", "float64"))):
            yield judge(target, case, selected((), ()))[0]


def alone(judged):
    """Return the codes that fail or warn on one case and follow from no other."""
    found = findings([judged])
    return {f.code for f in found if f.outcome in (Outcome.FAIL, Outcome.WARN) and f.follows_from is None}


@pytest.mark.parametrize("name", WRONG)
def test_the_check_that_the_page_names_catches_it(name, tmp_path):
    with quiet():
        caught = any(ENTRIES[name]["caught"] in alone(judged) for judged in results(ENTRIES[name], tmp_path))
    assert caught


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_no_bug_is_not_accused(name, tmp_path):
    with quiet():
        accused = {code for judged in results(ENTRIES[name], tmp_path, RECIPES) for code in alone(judged)}
    assert not accused


def test_the_layer_that_they_are_planted_in_is_right(tmp_path):
    entry = {"file": "wild/layer.py"}
    with quiet():
        accused = {code for judged in results(entry, tmp_path, RECIPES) for code in alone(judged)}
    assert not accused


def test_the_page_is_that_of_the_list():
    assert (ROOT / "docs" / "bugs-in-the-wild.md").read_text(encoding="utf-8") == MATRIX.wild_page()


def test_the_list_is_whole_and_clear():
    layer = (FIXTURES / "wild" / "layer.py").read_text(encoding="utf-8")
    entries = MATRIX.in_the_wild()
    assert len(ENTRIES) == len(entries) >= 100
    for entry in entries:
        assert ("file" in entry) != ("changes" in entry), entry["id"]
        assert entry.get("caught", "BN101") in CHECKS.names(), entry["id"]
        assert bool(entry.get("issues")) == (entry["list"] == "framework"), entry["id"]
        # Each fragment stands in the layer once, and what replaces it is something else.
        assert all(layer.count(old) == 1 and old != new for old, new in entry.get("changes", [])), entry["id"]
        assert (FIXTURES / entry.get("file", "wild/layer.py")).is_file(), entry["id"]
