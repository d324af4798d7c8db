"""The error of a tensor as a picture of squares: the larger the square, the worse; read without colour, too."""

from __future__ import annotations

from dataclasses import dataclass

from bncheck.report import Comparison
from bncheck.reporters.heat import binned, lanes
from bncheck.reporters.matrices import SHARES

# Pixels of a tile, and of the largest square in it; the least is still seen on a phone.
TILE = 14
SIDES = (2.0, 5.0, 7.5, 10.0, 13.0)
# More tiles than these are put together: a phone shows 24 of them at full size.
MOST_CHANNELS, MOST_ELEMENTS = 16, 48
LABEL = 6.5  # pixels of a letter of the labels


@dataclass(frozen=True, slots=True)
class Square:
    """A square of the picture; `level` 0 is within bounds."""

    x: float
    y: float
    side: float
    level: int


@dataclass(frozen=True, slots=True)
class Picture:
    """Squares, the channels' labels with their places, and the size of it all."""

    width: float
    height: float
    squares: tuple[Square, ...]
    labels: tuple[tuple[float, str], ...]
    text: str


def picture(comparison: Comparison) -> Picture | None:
    """Return the picture, a row for each channel; None if the shapes differ."""
    rows = [(lane.label, binned(lane.levels, MOST_ELEMENTS)) for lane in lanes(comparison, MOST_CHANNELS)]
    if not rows:
        return None
    left = max(len(label) for label, _ in rows) * LABEL + 6
    squares = [
        Square(
            round(left + TILE * (j + 0.5) - SIDES[level] / 2, 2),
            TILE * (i + 0.5) - SIDES[level] / 2,
            SIDES[level],
            level,
        )
        for i, (_, line) in enumerate(rows)
        for j, level in enumerate(line)
    ]
    off = sum(square.level > 0 for square in squares)
    return Picture(
        width=left + TILE * max(len(line) for _, line in rows),
        height=TILE * len(rows),
        squares=tuple(squares),
        labels=tuple((TILE * (i + 0.7), label) for i, (label, _) in enumerate(rows)),
        text=f"{off} of {len(squares)} tiles are off; the worst ones are in {_worst_rows(rows)}.",
    )


def _worst_rows(rows: list[tuple[str, list[int]]]) -> str:
    worst = [label for label, line in rows if len(SHARES) in line]
    return ", ".join(worst[:4]) + (f" and {len(worst) - 4} more" if len(worst) > 4 else "")
