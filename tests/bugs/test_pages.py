"""The page of every bug: each section says something, and the derivation is that of the step where the bug is."""

import re

import pytest

from bncheck.bugs.catalogue import BUGS
from bncheck.bugs.derivations import DERIVATIONS
from bncheck.bugs.memory import LINES

# Words that a section has at least.
SUBSTANCE = {"Derivation": 20, "Why it happens": 5, "By hand": 5, "References": 4, "To mend it": 3}


@pytest.mark.parametrize("code", [code for code, _ in BUGS.items()])
def test_each_section_says_something(code):
    bug = BUGS.get(code)
    what, *rest = re.split(r"^(.+)\n-+$", bug.doc, flags=re.M)
    sections = dict(zip(rest[::2], rest[1::2], strict=True))
    assert len(what.split()) >= 4
    assert {name for name, words in SUBSTANCE.items() if len(sections[name].split()) < words} == set()
    assert sections["Derivation"].strip() == DERIVATIONS[bug.steps[0]].strip()


def test_every_step_is_derived():
    assert set(DERIVATIONS) == set(LINES)


@pytest.mark.parametrize("step", LINES)
def test_a_derivation_has_a_formula_and_words(step):
    paragraphs = DERIVATIONS[step].split("\n\n")
    assert any(all(line.startswith("    ") for line in p.splitlines()) for p in paragraphs)
    assert any(not p.startswith(" ") for p in paragraphs)
