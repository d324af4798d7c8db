"""What the checks say of a target on one case: judgements, and the findings that follow from no other."""

from dataclasses import replace

from bncheck.case import CaseSpec
from bncheck.checks.catalogue import CHECKS, selected
from bncheck.driver import judge
from bncheck.guard import quiet
from bncheck.model import Outcome
from bncheck.verdict import findings

# Small enough for every experiment, and odd in all its sizes.
SPEC = CaseSpec(n=6, c=3, eps=0.1, momentum=0.3, seed=3)
# What running statistics have to be right on: one value per channel, lost digits, small spreads, float32.
SPECS = [
    SPEC, replace(SPEC, n=1), replace(SPEC, n=2, mean=100.0), replace(SPEC, mean=1e6), replace(SPEC, sd=1e-3),
    replace(SPEC, constant=1), replace(SPEC, c=1), replace(SPEC, n=33, dtype="float32", mean=30.0),
]  # fmt: skip


def result(target, spec=SPEC, codes=None):
    checks = selected((), ()) if codes is None else [CHECKS.get(code) for code in codes]
    with quiet():
        return judge(target, spec, checks)[0]


def judged(code, target, spec=SPEC):
    """Return one check's judgement."""
    return result(target, spec, [code]).judgements[code]


def outcomes(target, spec=SPEC):
    return {code: judgement.outcome for code, judgement in result(target, spec).judgements.items()}


def saying(outcome, found):
    return {code for code, said in found.items() if said is outcome}


def complaints(target, spec=SPEC):
    """Return all codes that fail or warn on one case, and of these the ones that follow from no other."""
    found = [f for f in findings([result(target, spec)]) if f.outcome in (Outcome.FAIL, Outcome.WARN)]
    return {f.code for f in found}, {f.code for f in found if f.follows_from is None}


def roots(target, spec=SPEC):
    """Return the codes that fail or warn by themselves on one case."""
    return complaints(target, spec)[1]
