"""Is this Batch Normalization right, and if not, what is wrong.

The public names are loaded at first use, so that ``import bncheck`` costs nothing.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # that of typing, which takes as long to load as all else here
if TYPE_CHECKING:
    from bncheck.api import verify
    from bncheck.errors import BncheckError, StubError, TargetError, UsageError, VerificationFailure
    from bncheck.model import Outcome
    from bncheck.report import Finding, Report, TargetReport, Verdict

__all__ = [
    "BncheckError",
    "Finding",
    "Outcome",
    "Report",
    "StubError",
    "TargetError",
    "TargetReport",
    "UsageError",
    "Verdict",
    "VerificationFailure",
    "verify",
]

_HOMES = {
    "verify": "bncheck.api",
    "Outcome": "bncheck.model",
    **{name: "bncheck.errors" for name in __all__ if name.endswith(("Error", "Failure"))},
    **dict.fromkeys(("Finding", "Report", "TargetReport", "Verdict"), "bncheck.report"),
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'bncheck' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
