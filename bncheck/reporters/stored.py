"""Reports that were written as JSON, read again: from anywhere, and so with nothing taken for granted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from bncheck.codec import report_from_json
from bncheck.errors import UsageError
from bncheck.report import ArrayData, Report, TargetReport

# A target takes some ten thousand bytes, a megabyte with everything shown: this is a hundred of those.
LARGEST = 100_000_000
# Codes and names are the only texts of a report that reporters print as they are.
_WORD = re.compile(r"[A-Za-z0-9._-]{1,100}")


def stored(path: Path) -> Report:
    """Return the report that a file holds.

    Raises
    ------
    UsageError
        If it cannot be read, or is no report, or that of a newer bncheck; says what is wrong with it.

    """
    try:
        return _sound(report_from_json(_report_alone(_parsed(_text(path)))))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except RecursionError:
        raise UsageError(f"{path}: this is no report of bncheck: it is nested too deep") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}") from None
    if len(data) > LARGEST:
        raise UsageError(f"this is no report of bncheck: it has more than {LARGEST // 1_000_000} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # PowerShell's > writes UTF-16.
        hint = "; it looks like UTF-16: write it with --output" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise UsageError(f"this is not UTF-8 (byte {error.start}){hint}") from None


def _parsed(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        cut = "; it may be cut off" if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated") else ""
        raise UsageError(f"this is no JSON: {error.msg} in line {error.lineno}, column {error.colno}{cut}") from None
    except ValueError as error:  # a number of thousands of digits
        raise UsageError(f"this is no JSON that can be read: {error}") from None


def _report_alone(data: object) -> object:
    """Return what was parsed, unless it is what bncheck writes for others and cannot read."""
    if isinstance(data, dict) and "schema" not in data and isinstance(data.get("runs"), list):
        raise UsageError("this is SARIF, and no report of bncheck: --format json writes what can be read again")
    return data


def _refuse(word: str) -> NoReturn:
    raise UsageError(f"this is no strict JSON: {word} should be a string")


# An array without elements may still have axes that take long to walk along; NumPy's arrays have at most 64.
LARGEST_EMPTY, MOST_AXES = 4096, 64


def _sound(report: Report) -> Report:
    """Return a report that holds what reporters rest on: arrays as large as they say, and codes that are words."""
    for place, target in enumerate(report.targets):
        odd = next((word for word in _ours(target) if not _WORD.fullmatch(word)), None)
        if odd is not None:
            raise UsageError(f"Report.targets[{place}]: {odd!r:.80} is no code or name of a check or a bug")
        for name, array in _arrays(target):
            if not _fits(array, empty=".expected" not in name):
                said = f"{name} has {len(array.values)} values, which do not fit its shape {list(array.shape)!s:.80}"
                raise UsageError(f"Report.targets[{place}]: {said}")
        for finding in target.findings:
            trend = finding.trend
            if trend and len({len(trend.values), len(trend.ratios), len(trend.failed)}) > 1:
                raise UsageError(f"Report.targets[{place}]: the trend of {finding.code} has lists of different lengths")
    return report


def _fits(array: ArrayData, *, empty: bool) -> bool:
    """Tell whether an array is as large as it says; `empty` says whether it may have no elements."""
    if len(array.shape) > MOST_AXES or min(array.shape, default=0) < 0:
        return False
    walked = math.prod(size for size in array.shape if size)
    return math.prod(array.shape) == len(array.values) and (bool(array.values) or (empty and walked <= LARGEST_EMPTY))


def _ours(target: TargetReport) -> Iterator[str]:
    """Yield the codes and names, which are bncheck's own."""
    for finding in target.findings:
        yield from (finding.code, finding.name, *([] if finding.follows_from is None else [finding.follows_from]))
    for diagnosis in target.diagnoses:
        yield from (diagnosis.code, diagnosis.name)


def _arrays(target: TargetReport) -> list[tuple[str, ArrayData]]:
    found = []
    for place, exhibit in enumerate(target.exhibits):
        found += [(f"exhibits[{place}].inputs[{name!r:.80}]", array) for name, array in exhibit.inputs.items()]
        for at, comparison in enumerate(exhibit.comparisons):
            where = f"exhibits[{place}].comparisons[{at}]"
            found += [(f"{where}.expected", comparison.expected), (f"{where}.found", comparison.found)]
    return found
