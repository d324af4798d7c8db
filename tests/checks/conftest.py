"""Every sentence that a check says in these tests is one of said.txt, with the outcome and the figures beside it.

``SAID=FILE pytest tests/checks`` adds to a file what is said in place of comparing; sorted, it is the next said.txt.
"""

import functools
import os
import re
from pathlib import Path

import pytest

from bncheck.checks.catalogue import CHECKS

SAID = Path(__file__).with_name("said.txt")
FIGURES = ("error", "allowed", "index", "got", "want", "suspect")
KNOWN = frozenset(SAID.read_text(encoding="utf-8").splitlines())


def sentence(code, judgement):
    """Return what was said, its numbers, shapes and quotations left out."""
    text = re.sub(r"(?<!\w)'[^']*'|\"[^\"]*\"", "'...'", judgement.message)
    text = re.sub(r"\([\d, ()]*\)", "(...)", text)
    text = re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?|\bnan\b|\binf\b", "#", text)
    beside = [
        name for name in FIGURES if getattr(judgement, name) is not None and getattr(judgement, name) is not False
    ]
    said = f"{code} {judgement.outcome.value} of {judgement.tensor}: {text}".replace("\n", " ")
    return f"{said} [{', '.join(beside)}]" if beside else said


def listened(code, judge):
    @functools.wraps(judge)
    def heard(case, seen):
        judgement = judge(case, seen)
        said = sentence(code, judgement)
        if kept := os.environ.get("SAID"):
            with open(kept, "a", encoding="utf-8") as file:
                file.write(said + "\n")
        else:
            assert said in KNOWN, f"{code} says what is not in {SAID.name}: {said}"
        return judgement

    return heard


@pytest.fixture(autouse=True, scope="session")
def known_sentences():
    """Hold whatever any check says against the list."""
    kept = {check: check.judge for _, check in CHECKS.items()}
    for check, judge in kept.items():
        object.__setattr__(check, "judge", listened(check.code, judge))
    yield
    for check, judge in kept.items():
        object.__setattr__(check, "judge", judge)
