"""The error of the sweep against one parameter of its cases, on one line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from bncheck.report import Trend
from bncheck.reporters.heat import HEIGHTS, WITHIN
from bncheck.reporters.wording import clean, number

# From within the bounds to the largest error, by orders of magnitude; a dot where every case passes.
PASSES, LEVELS = WITHIN, HEIGHTS
MOST_CELLS = 24


def sparkline(trend: Trend, ascii_only: bool = False) -> Text | None:
    """Return "error by N  ...▅▇█  from 1 to 4096": a cell for each value, or for neighbours where they are many.

    Each cell has the worst case of its values. Heights are orders of magnitude of the error over what is allowed. Where
    fewer than two cells have an error there is nothing to compare that the condition does not tell: None.
    """
    points = zip(trend.values, trend.ratios, trend.failed, strict=True)
    by_value = [(value, [(r, f) for _, r, f in group]) for value, group in groupby(points, key=lambda point: point[0])]
    size = -(-len(by_value) // MOST_CELLS) if by_value else 1
    cells = [_worst([case for _, cases in by_value[i : i + size] for case in cases]) for i in _starts(by_value, size)]
    if sum(ratio is not None for ratio in cells) < 2:
        return None
    highest = max((math.log10(ratio) for ratio in cells if ratio is not None and 1 < ratio < math.inf), default=1.0)
    line = Text.assemble((f"error by {clean(trend.parameter, ascii_only)}  ", "dim"))
    for ratio in cells:
        line.append(PASSES if ratio is None else _level(ratio, highest), style="dim" if ratio is None else "red")
    first, last = (by_value[at][0] for at in (0, -1)) if by_value else (0.0, 0.0)
    line.append(f"  from {number(first, 6)} to {number(last, 6)}", style="dim")
    return line


def _starts(values: Sequence[object], size: int) -> range:
    return range(0, len(values), size)


def _worst(cases: Sequence[tuple[float, bool]]) -> float | None:
    """Return the largest error of cases that fail, None if none does."""
    return max((math.inf if math.isnan(ratio) else ratio for ratio, failed in cases if failed), default=None)


def _level(ratio: float, highest: float) -> str:
    share = 1.0 if ratio == math.inf else max(math.log10(max(ratio, 1.0)), 0.0) / max(highest, 1e-9)
    return LEVELS[min(int(share * len(LEVELS)), len(LEVELS) - 1)]
