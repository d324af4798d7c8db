"""The registry of bug signatures: wrong versions of the reference, each with one fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bncheck.case import Case
from bncheck.model import Evidence
from bncheck.registry import Registry
from bncheck.report import Diagnosis

# A signature looks at a failing case and its evidence, and returns a diagnosis when it explains them.
Signature = Callable[[Case, Mapping[str, Evidence]], Diagnosis | None]

BUGS: Registry[Signature] = Registry("bug", "bncheck.bugs")
