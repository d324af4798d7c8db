"""Code that takes float32 alone: a kernel, a tensor of ones beside x, a check of the dtype.

How code is called, and its conventions, are found out in float64, which tells an eps or a fraction from another one to
ten digits more. What refuses float64 is tried in float32, and verified in it.
"""

from __future__ import annotations

import linecache
import re
from dataclasses import replace

from bncheck import guard
from bncheck.adapters.log import Log
from bncheck.adapters.probe import Found
from bncheck.adapters.protocol import Candidate
from bncheck.adapters.trials import examine, score_of
from bncheck.errors import BrokenCodeError, TargetError
from bncheck.model import Declared

# What is said where a dtype is refused: "expected scalar type Float but found Double", "must be <f4", a mere
# "assert x.dtype == np.float32", of which only the line speaks.
_OF_WIDTH = re.compile(r"float|double|dtype|precision|itemsize|\bf4|\bf8", re.I)


def examined(candidate: Candidate, declared: Declared, log: Log) -> Found:
    """Return how a candidate wants to be called: in float64, or in float32 if it raises for what it gets in float64.

    Raises
    ------
    StubError, TargetError
        As :func:`bncheck.adapters.trials.examine` does.

    """
    try:
        found = examine(candidate, declared, log)
    except TargetError as error:
        refused = _refusal(log) or _of_backward(log.of_backward)
        if isinstance(error, BrokenCodeError) or not refused:
            raise
        return _narrowed(candidate, declared, log, refused, error)
    refused = _of_backward([fit.raised for fit in found.fits.values() if fit.raised])
    if not refused:
        return found
    try:
        narrow = _narrowed(candidate, declared, log, refused, None)
    except TargetError:
        return found
    return narrow if score_of(narrow) > score_of(found) else found


def _narrowed(candidate: Candidate, declared: Declared, log: Log, refused: str, error: TargetError | None) -> Found:
    """Return how a candidate wants to be called with float32 arrays; raise the error that tells most if it does not."""
    log.lines.append("float64 is refused; in float32:")
    narrow = Log(log.lines, dtypes=("float64", "float32"))
    try:
        return replace(examine(candidate, declared, narrow), refused=refused)
    except TargetError as other:
        # What speaks of the width still was not for want of float32.
        raise (error if error is not None and _refusal(narrow) else other) from None


def _refusal(log: Log) -> str:
    """Return the exception among those of a trial that may be one for the width of the arrays, "" if there is none."""
    return next((_told(error) for error in (*log.errors, *log.of_unmade) if _of_width(error)), "")


def _of_backward(raised: list[str]) -> str:
    """Return the first of what backwards raised that may be for the width; a bare assert says nothing against it."""
    return next((said for one in raised if _OF_WIDTH.search(said := one.removesuffix(": ")) or said != one), "")


def _of_width(error: BaseException) -> bool:
    last = next(iter(list(guard.user_lines(error))[-1:]), None)
    return bool(_OF_WIDTH.search(guard.one_line(error)) or (last and _OF_WIDTH.search(linecache.getline(*last))))


def _told(error: BaseException) -> str:
    said, place = guard.one_line(error), guard.where(error)
    return f"{type(error).__name__}{': ' * bool(said)}{said}{', ' * bool(place)}{place}"
