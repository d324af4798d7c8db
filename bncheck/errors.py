"""What can go wrong, as one small family of exceptions."""

from __future__ import annotations

# What is said of a file without any Batch Normalization: no adapter helps.
NOTHING = "nothing in it looks like batch normalization"


class BncheckError(Exception):
    """Base of every error that bncheck raises on purpose; its text is fit to be shown to the user."""


class UsageError(BncheckError):
    """The user asked for something that does not exist or does not fit (exit code 2)."""


class TargetError(BncheckError):
    """The target cannot be loaded or understood: nothing was executed (exit code 2).

    `trace` tells line by line what discovery looked at and tried.
    """

    def __init__(self, message: str = "", trace: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.trace = trace


class StubError(TargetError):
    """The target is an exercise stub that is not filled in yet (exit code 2)."""


class BackwardStubError(StubError):
    """The forward runs, and its backward is not filled in yet (exit code 2).

    `what` says what the backward does instead ("returns None").
    """

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


class BrokenCodeError(TargetError):
    """The code cannot run, however it is called: no adapter helps, and what was tried tells nothing (exit code 2)."""


class AdapterError(TargetError):
    """The own code of an adapter file raised: that says nothing about the target (exit code 2).

    `raised` is the exception.
    """

    def __init__(self, message: str, raised: BaseException) -> None:
        super().__init__(message)
        self.raised = raised


class ShapeError(BncheckError, ValueError):
    """Arrays whose shapes do not fit each other were handed to the reference."""


class VerificationFailure(BncheckError, AssertionError):  # noqa: N818 - a failed verification, not a fault
    """Raised by :meth:`bncheck.Report.raise_for_failure` when the verdict is not PASS."""
