"""Small windows onto large arrays: expected and found side by side, around the worst element."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bncheck.report import ArrayData, Comparison

# Six by six fills a third of a screen; more rows hide the rest of the report.
LARGEST = 6
# Four significant digits tell most wrong values from right ones; 17 tell any two float64 apart.
FEWEST_DIGITS, MOST_DIGITS = 4, 17
# The least share of the tensor's worst error that each level of severity stands for; level 0 is within bounds.
SHARES = (0.0, 0.01, 0.1, 0.5)


@dataclass(frozen=True, slots=True)
class Cell:
    """One element as text; `level` says how far off it is, 0 if within bounds, else 1 to ``len(SHARES)``."""

    text: str
    level: int = 0

    @property
    def differs(self) -> bool:
        """Whether it is further from its expected value than allowed."""
        return self.level > 0


@dataclass(frozen=True, slots=True)
class Pane:
    """A window onto one array; `title` says which part it shows, `corner` the row and column of its first element."""

    title: str
    rows: tuple[tuple[Cell, ...], ...]
    corner: tuple[int, int] = (0, 0)

    @property
    def cell_width(self) -> int:
        """Columns of the longest element."""
        return max((len(cell.text) for row in self.rows for cell in row), default=0)


def panes(comparison: Comparison, columns: int = LARGEST) -> tuple[Pane, Pane]:
    """Return the windows onto what was expected and what was found, at most `columns` wide."""
    expected, found = comparison.expected, comparison.found
    if expected.shape != found.shape:  # nothing can be told about single elements
        return _lone_pane(expected, comparison.tensor, columns), _lone_pane(found, comparison.tensor, columns)
    ratios = [ratio(comparison, at) for at in range(len(expected.values))]
    worst = max(range(len(ratios)), key=ratios.__getitem__, default=0)
    title, places = _window(expected.shape, worst, columns)
    title = comparison.tensor + title
    shown = [at for row in places for at in row]
    severe = severities(errors(comparison))
    off = [at for at in shown if severe[at]]
    spell = _format([array.values[at] for array in (expected, found) for at in shown])
    digits = _telling_apart(((expected.values[at], found.values[at]) for at in off), spell)
    return (
        _pane(title, places, expected, f".{digits}{spell}"),
        _pane(title, places, found, f".{digits}{spell}", severe),
    )


def how_many_differ(comparison: Comparison) -> int:
    """Return the number of elements further from their expected value than allowed; all, if the shapes differ."""
    if comparison.expected.shape != comparison.found.shape:
        return len(comparison.found.values) or 1
    return sum(ratio(comparison, at) > 1 for at in range(len(comparison.expected.values)))


def inline(array: ArrayData, limit: int) -> str:
    """Return an array as nested lists if that takes at most `limit` characters, else its shape and range."""
    finite = [value for value in array.values if math.isfinite(value)]
    if math.prod(array.shape) == len(array.values) <= LARGEST * LARGEST:
        digits = _telling_apart(pairwise(sorted(set(finite))))
        text = _nested(array.shape, iter(f"{value:.{digits}g}" for value in array.values))
        if len(text) <= limit:
            return text
    extent = f", from {min(finite):.4g} to {max(finite):.4g}" if finite else ""
    odd = len(array.values) - len(finite)
    return f"shape {array.shape}{extent}" + (f", {odd} not finite" if odd else "")


def ratio(comparison: Comparison, at: int) -> float:
    """Return the error of one element over what is allowed; inf for a NaN on one side only."""
    want, got = comparison.expected.values[at], comparison.found.values[at]
    if want == got or (math.isnan(want) and math.isnan(got)):
        return 0.0
    allowances = comparison.allowed.values
    allowed = allowances[at] if len(allowances) == len(comparison.expected.values) else max(allowances, default=0.0)
    error = abs(want - got)
    if math.isnan(error) or not allowed > 0:
        return math.inf
    return 0.0 if math.isinf(allowed) else error / allowed


def errors(comparison: Comparison) -> list[float]:
    """Return the error of each element: 0 where it is within bounds, inf where it is not finite."""
    return [_error(comparison, at) for at in range(len(comparison.expected.values))]


def severities(found: Sequence[float]) -> list[int]:
    """Return the level of each error: 0 for none, else by its share of the largest finite one."""
    worst = max((error for error in found if math.isfinite(error)), default=0.0)
    return [0 if error == 0.0 else sum(_share(error, worst) >= least for least in SHARES) for error in found]


def _share(error: float, worst: float) -> float:
    return error / worst if worst and math.isfinite(error) else 1.0


def _error(comparison: Comparison, at: int) -> float:
    if ratio(comparison, at) <= 1:
        return 0.0
    error = abs(comparison.expected.values[at] - comparison.found.values[at])
    return math.inf if math.isnan(error) else error


def _window(shape: tuple[int, ...], worst: int, columns: int) -> tuple[str, list[list[int]]]:
    """Return the part of the last two axes around the flat index `worst`: its title, and flat indices by row."""
    at = []
    rest = worst
    for size in reversed(shape):
        at.append(rest % max(size, 1))
        rest //= max(size, 1)
    at.reverse()
    height, width = ((1, 1, *shape)[-2:]) if shape else (1, 1)
    row, column = (0, 0, *at)[-2:]
    top, bottom = _around(row, height, LARGEST)
    left, right = _around(column, width, columns)
    first = worst - row * width - column
    places = [[first + r * width + c for c in range(left, right)] for r in range(top, bottom)]
    parts = [str(i) for i in at[:-2]]
    if len(shape) > 1:
        parts.append(_slice(top, bottom, height))
    if shape:
        parts.append(_slice(left, right, width))
    return ("" if set(parts) <= {":"} else f"[{', '.join(parts)}]"), places


def _around(middle: int, size: int, most: int) -> tuple[int, int]:
    start = min(max(middle - most // 2, 0), max(size - most, 0))
    return start, min(start + most, size)


def _slice(start: int, stop: int, size: int) -> str:
    return ":" if (start, stop) == (0, size) else f"{start}:{stop}"


def _pane(
    title: str, places: list[list[int]], array: ArrayData, form: str, severe: Sequence[int] | None = None
) -> Pane:
    level = severe or [0] * len(array.values)
    height, width = (1, 1, *array.shape)[-2:]
    first = next((row[0] for row in places if row), 0)
    return Pane(
        title,
        tuple(tuple(Cell(f"{array.values[at]:{form}}", level[at]) for at in row) for row in places),
        corner=(first // max(width, 1) % max(height, 1), first % max(width, 1)),
    )


def _lone_pane(array: ArrayData, tensor: str, columns: int) -> Pane:
    title, places = _window(array.shape, 0, columns)
    within = [[at for at in row if at < len(array.values)] for row in places]
    shown = f"{tensor}{title if array.values else ''}"
    return _pane(f"{shown} of shape {array.shape}", within, array, f".{FEWEST_DIGITS}g")


def _format(values: Sequence[float]) -> str:
    """Return "f" where four decimals show every value well, so that decimal points line up, else "g"."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value != 0]
    return "f" if not sizes or (min(sizes) >= 1e-3 and max(sizes) < 1e4) else "g"


def _telling_apart(pairs: Iterable[tuple[float, float]], spell: str = "g") -> int:
    """Return how many digits tell the two numbers of every pair apart."""
    digits = FEWEST_DIGITS
    for one, two in pairs:
        while digits < MOST_DIGITS and one != two and f"{one:.{digits}{spell}}" == f"{two:.{digits}{spell}}":
            digits += 1
    return digits


def _nested(shape: tuple[int, ...], texts: Iterator[str]) -> str:
    if not shape:
        return next(texts, "")
    return f"[{', '.join(_nested(shape[1:], texts) for _ in range(shape[0]))}]"
