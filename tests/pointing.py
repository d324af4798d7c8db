"""The lines that are named for the bugs of a source."""

from functools import cache

from bncheck import guard
from bncheck.adapters import resolve
from bncheck.cases.arrays import build
from bncheck.cases.telling import telling
from bncheck.diagnose import Observed, explain
from bncheck.experiments.observation import observed
from bncheck.lines.pointing import pointed
from bncheck.model import TargetSpec


@cache
def lines_of(source):
    """Return the lines that are named for the first target of a source, None for a bug without one."""
    spec = TargetSpec(source)
    with guard.quiet():
        card = next(card for card in resolve.cards(spec) if card.conventions)
        target = resolve.target(spec, card.name)
        ranks = tuple(len(layout) - 2 for layout in card.conventions.layouts)
        cases = [build(case) for case in telling("float64", ranks, card.conventions.eps)]
        answers = [(case, observed(target, case)) for case in cases]
        named = explain([Observed(*answer) for answer in answers])
        return [diagnosis.line for diagnosis in pointed(target, answers, named, source)]
