"""The result of a case in one line of JSON, short and quick: it crosses between processes, and stands in journals.

A judgement is a list that ends where all that follows is what it is by default: a check that passes takes ten or twenty
bytes. The same result gives the same bytes wherever it is made, so that sweeps can be compared by their digests.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any

from bncheck.errors import UsageError
from bncheck.model import CaseResult, Judgement, Outcome

_LETTERS = {Outcome.PASS: "p", Outcome.FAIL: "f", Outcome.WARN: "w", Outcome.SKIP: "s", Outcome.INCONCLUSIVE: "i"}
_OUTCOMES = {letter: outcome for outcome, letter in _LETTERS.items()}
# What follows code and letter, and the types that it may have.
_FIELDS = ("message", "tensor", "error", "allowed", "index", "got", "want", "suspect")
_DEFAULTS = tuple(getattr(Judgement(Outcome.PASS), field) for field in _FIELDS)
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def result_text(result: CaseResult) -> str:
    """Return the text of a result: strict JSON without a line break."""
    data = [result.case, result.evaluations, [_data(code, found) for code, found in result.judgements.items()]]
    try:
        return json.dumps(data, allow_nan=False, default=_plain, separators=(",", ":"))
    except ValueError:  # a number that JSON has no name for
        return json.dumps(_spelled(data), allow_nan=False, default=_plain, separators=(",", ":"))


def read_result(data: Any) -> CaseResult:
    """Return the result of a text's data.

    Raises
    ------
    UsageError
        If the data is no result.

    """
    try:
        case, evaluations, judged = data
        if type(case) is str and type(evaluations) is int:
            return CaseResult(case, dict(map(_judgement, judged)), evaluations)
    except (ValueError, TypeError, KeyError, OverflowError):  # the line below says so
        pass
    raise UsageError(f"this is no result of a case: {data!r:.80}")


def _data(code: str, found: Judgement) -> list[Any]:
    error, allowed, got, want = found.error, found.allowed, found.got, found.want
    values: list[Any] = [code, _LETTERS[found.outcome], found.message, found.tensor]
    # A whole number in the place of a float would come back as one, in other bytes.
    values += [None if error is None else float(error), None if allowed is None else float(allowed), found.index]
    values += [None if got is None else float(got), None if want is None else float(want), found.suspect]
    last = len(_FIELDS)
    while last and values[last + 1] == _DEFAULTS[last - 1]:
        last -= 1
    return values[: last + 2]


def _judgement(values: Any) -> tuple[str, Judgement]:
    if type(values) is list and len(values) <= _USUAL:
        return _usual(*values)  # a TypeError if something is no word
    return _read(*values)


@lru_cache(maxsize=4096, typed=True)  # nine in ten checks say the same in all cases
def _usual(*values: str) -> tuple[str, Judgement]:
    return _read(*values)


# Code, letter, message and tensor: words, and no numbers.
_USUAL = 4


def _read(code: Any, letter: Any, *values: Any) -> tuple[str, Judgement]:
    rest = list(values)
    if type(code) is not str or len(rest) > len(_FIELDS):
        raise ValueError(code)
    for at, value in enumerate(rest):
        if type(value) is not _TYPES[at] and (value is not None or at in _NEVER_NONE):
            rest[at] = _other(at, value)
    return code, Judgement(_OUTCOMES[letter], *rest)


_TYPES = (str, str, float, float, tuple, float, float, bool)
_NEVER_NONE = (0, 7)


def _other(at: int, value: Any) -> Any:
    """Return a value that JSON has another type for."""
    wanted = _TYPES[at]
    if wanted is float and isinstance(value, str | int) and not isinstance(value, bool):
        return _NOT_FINITE[value] if isinstance(value, str) else float(value)
    if wanted is tuple and isinstance(value, list) and all(type(number) is int for number in value):
        return tuple(value)
    raise ValueError(value)


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as the number that it is."""
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain data")


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return [_spelled(item) for item in value] if isinstance(value, list | tuple) else value
