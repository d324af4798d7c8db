"""Bugs that layers of others had, in what they remember: each has its name, or a reason to have none."""

from pathlib import Path

import pytest
from from_scripts import load
from naming import diagnosed

from bncheck.adapters import resolve
from bncheck.bugs.words import UNNAMED
from bncheck.guard import quiet
from bncheck.memory.search import CHECKED
from bncheck.model import Declared, TargetSpec

FIXTURES = Path(__file__).parents[2] / "fixtures"
MATRIX = load("make_matrix")
ENTRIES = {entry["id"]: entry for entry in MATRIX.in_the_wild() if entry.get("caught") in CHECKED}
NAMES = {
    "eps-twice-in-eval": "BUG114",
    "running-variance-biased": "BUG615",
    "gradients-across-calls": "BUG901",
    "eval-gradient-wrong": "BUG721",
    "inference-blends": "BUG702",
    "statistics-never-written": "BUG603",
    "batch-in-eval": "BUG701",
    "last-batch-only": "BUG604",
    "computed-and-not-stored": "BUG603",
    "stored-in-eval": "BUG611",
    "bessel-twice": "BUG629",
    "bessel-of-the-batch": "BUG629",
    "momentum-on-the-wrong-side": "BUG613",
    "momentum-ignored": "BUG607",
    "variance-fed-with-mean": "BUG626",
    "variance-fed-with-deviation": "BUG624",
    "gradients-never-cleared": "BUG901",
}
# One path of two is wrong, one batch size, one order in memory, or it is random; or nothing known comes in.
WITHOUT = {
    "paths-disagree-on-bessel", "bessel-of-one-value", "eval-gradient-differs", "eval-reads-another-order",
    "momentum-reversed-in-one-path", "stored-in-eval-backward",
}  # fmt: skip


def test_each_has_a_name_or_a_reason():
    assert ENTRIES.keys() == NAMES.keys() | WITHOUT


@pytest.mark.parametrize("name", ENTRIES)
def test_a_bug_in_the_wild_has_its_name(name, tmp_path):
    entry = ENTRIES[name]
    source = FIXTURES / entry["file"] if "file" in entry else MATRIX.written(MATRIX.planted(entry), tmp_path)
    spec = TargetSpec(str(source), declared=Declared(profile=entry.get("profile", "auto")))
    with quiet():
        targets = [resolve.target(spec, card.name) for card in resolve.cards(spec) if card.conventions is not None]
        found = [d.code for t in targets for d in diagnosed(t, entry.get("dtype", "float64"), (entry["caught"],), {})]
    assert [code for code in found if code != UNNAMED] == ([NAMES[name]] if name in NAMES else [])
