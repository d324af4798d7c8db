"""What a sweep has shown so far, in memory that does not grow with the number of its cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple, Self

from bncheck.case import CaseSpec
from bncheck.compact import result_text
from bncheck.model import CaseResult, Judgement, Outcome

# So many results are kept whole, from the first on; beyond them failures and warnings, so many of each check.
WHOLE, OF_A_KIND = 1000, 200
# Reasons that a check gives for skipping cases, told apart.
_MOST_REASONS = 100


class Telling(NamedTuple):
    """The case that speaks for an outcome of a check: the smallest, or for a pass the one with the largest error."""

    rank: tuple[float, float]
    case: str
    judgement: Judgement


class Tally:
    """Counts and telling cases of every check over all cases; results themselves up to a bound.

    Attributes
    ----------
    cases, evaluations, failures : int
        Cases seen, calls of user code for them, and cases on which some check failed.
    kept : list of CaseResult
        Results that conditions and trends are looked for in: all of them up to `WHOLE` cases.
    counts : dict of Counter
        How many cases had which outcome, by check code.
    telling : dict
        The case that speaks for a check's outcome, by code, outcome, and reason where a case was skipped.
    reasons : dict of Counter
        How many cases a check skipped for which reason.

    """

    def __init__(self) -> None:
        self.cases = self.evaluations = self.failures = 0
        self.kept: list[CaseResult] = []
        self.counts: dict[str, Counter[Outcome]] = {}
        self.telling: dict[tuple[str, Outcome, str], Telling] = {}
        self.reasons: dict[str, Counter[str]] = {}
        self._of_kind: Counter[tuple[str, Outcome]] = Counter()
        self._sum = sha256()

    @classmethod
    def of(cls, results: Iterable[CaseResult]) -> Self:
        """Return the tally of results."""
        tally = cls()
        for result in results:
            tally.add(result)
        return tally

    @property
    def digest(self) -> str:
        """The SHA-256 of every judgement of every case so far, in their order, as 64 hexadecimal digits."""
        return self._sum.hexdigest()

    def add(self, result: CaseResult, text: str = "") -> None:
        """Take the result of one more case in; `text` is what `result_text` makes of it, where that is known."""
        self.cases += 1
        self.evaluations += result.evaluations
        self._sum.update((text or result_text(result)).encode() + b"\n")
        size = size_of(result.case)
        bad = []
        for code, found in result.judgements.items():
            outcome = found.outcome
            if code not in self.counts:
                self.counts[code], self.reasons[code] = Counter(), Counter()
            self.counts[code][outcome] += 1
            reason, rank = "", size
            if outcome in (Outcome.PASS, Outcome.INCONCLUSIVE):  # what came nearest to a failure tells most
                rank = (-_ratio(found), 0.0)
            elif outcome is Outcome.SKIP:
                reason = self._reason(code, found.message)
            else:
                bad.append((code, outcome))
            known = self.telling.get((code, outcome, reason))
            if known is None or rank < known.rank:
                self.telling[code, outcome, reason] = Telling(rank, result.case, found)
        self.failures += any(outcome is Outcome.FAIL for _, outcome in bad)
        if self.cases <= WHOLE or any(self._of_kind[kind] < OF_A_KIND for kind in bad):
            self.kept.append(result)
            self._of_kind.update(bad if self.cases > WHOLE else ())

    def _reason(self, code: str, message: str) -> str:
        """Count a reason, and return it; one of those known where there are too many."""
        reasons = self.reasons[code]
        if message not in reasons and len(reasons) >= _MOST_REASONS:
            message = next(iter(reasons))
        reasons[message] += 1
        return message


def size_of(case: str) -> tuple[float, float]:
    """Return the elements and the channels of a case, by its replay id."""
    spec = CaseSpec.parse(case)
    return spec.m * spec.c, spec.c


def _ratio(judgement: Judgement) -> float:
    return judgement.ratio if judgement.error is not None and judgement.allowed else 0.0
