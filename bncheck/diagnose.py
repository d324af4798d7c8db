"""From failing evidence to names: asks every registered bug signature whether it explains what was seen."""

from __future__ import annotations

from collections.abc import Mapping

from bncheck.bugs.catalogue import BUGS
from bncheck.case import Case
from bncheck.model import Evidence
from bncheck.report import Diagnosis


def diagnose(case: Case, seen: Mapping[str, Evidence]) -> tuple[Diagnosis, ...]:
    """Return the diagnoses of the signatures that explain a failing case, the best explained first."""
    found = [signature(case, seen) for _, signature in BUGS.items()]
    return tuple(sorted((d for d in found if d is not None), key=lambda d: -d.explained))
