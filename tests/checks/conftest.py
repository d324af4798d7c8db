"""Every sentence that a check says in these tests is one of said.txt, with the outcome and the figures beside it.

``SAID=FILE pytest tests/checks`` adds to a file what is said in place of comparing; sorted, it is the next said.txt.
"""

import functools
import math
import os
import re
from pathlib import Path

import pytest

from bncheck.checks.catalogue import CHECKS
from bncheck.model import Outcome

SAID = Path(__file__).with_name("said.txt")
FIGURES = ("error", "allowed", "index", "got", "want", "suspect")
KNOWN = frozenset(SAID.read_text(encoding="utf-8").splitlines())


def sentence(code, judgement):
    """Return what was said, its numbers, shapes and quotations left out."""
    text = re.sub(r"( raised \w+):.*", r"\1: ...", judgement.message)  # what it says is Python's, or the test's
    text = re.sub(r"(?<!\w)'[^']*'|\"[^\"]*\"", "'...'", text)
    text = re.sub(r"\([\d, ()]*\)", "(...)", text)
    text = re.sub(r"-?\d+(\.\d+)?(e[-+]?\d+)?|\bnan\b|\binf\b", "#", text)
    beside = [name for name in FIGURES if (value := getattr(judgement, name)) is not None and value is not False]
    said = f"{code} {judgement.outcome.value} of {judgement.tensor}: {text}".replace("\n", " ")
    return f"{said} [{', '.join(beside)}]" if beside else said


def fits_together(judgement):
    """Tell whether the error is the distance of what was got from what was wanted, beyond what is allowed or not."""
    error, allowed, got, want = (getattr(judgement, name) for name in ("error", "allowed", "got", "want"))
    if error is None or allowed is None or not math.isfinite(error):
        return True
    if got is not None and want is not None and not math.isclose(error, abs(got - want), rel_tol=1e-9):
        return False
    if judgement.outcome in (Outcome.FAIL, Outcome.WARN):
        return error > allowed
    return judgement.outcome is not Outcome.PASS or error <= allowed


def listened(code, judge):
    @functools.wraps(judge)
    def heard(case, seen):
        judgement = judge(case, seen)
        assert fits_together(judgement), f"{code} gives figures that contradict each other: {judgement}"
        said = sentence(code, judgement)
        if kept := os.environ.get("SAID"):
            with open(kept, "a", encoding="utf-8") as file:
                file.write(said + "\n")
        else:
            assert said in KNOWN, f"{code} says what is not in {SAID.name}: {said}"
        return judgement

    return heard


@pytest.fixture(autouse=True)
def known_sentences():
    """Hold whatever any check says in a test of this folder against the list."""
    kept = {check: check.judge for _, check in CHECKS.items()}
    for check, judge in kept.items():
        object.__setattr__(check, "judge", listened(check.code, judge))
    yield
    for check, judge in kept.items():
        object.__setattr__(check, "judge", judge)
