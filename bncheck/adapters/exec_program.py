"""Programs in any language, spoken to through request and response files."""

from __future__ import annotations

from bncheck.adapters.protocol import Candidate
from bncheck.model import Declared


def candidate(command: str, declared: Declared) -> Candidate:
    """Return the candidate."""
    raise NotImplementedError
