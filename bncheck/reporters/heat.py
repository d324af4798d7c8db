"""The error of a tensor as a picture: a line and a bar per channel, a character per element, read without colour."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.text import Text

from bncheck.report import Comparison
from bncheck.reporters.matrices import errors, severities
from bncheck.reporters.wording import clean, number

Value = TypeVar("Value")

WITHIN = "."
# The sign of each level of severity, and its colour: the worst are what the eye has to find.
SIGNS, STYLES = "░▒▓█", ("red", "red", "bold red", "bold red")
LEGEND = f"{WITHIN} within bounds, {SIGNS} up to 1%, 10%, 50%, 100% of the worst error"
# Cells of the longest bar, and the columns that bars and their numbers take.
BAR, LONGEST_BAR, FIGURES = "█", 8, 20
HEIGHTS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Lane:
    """The elements of a channel, or of neighbouring ones: the severity of each, and the largest error."""

    label: str
    levels: tuple[int, ...]
    worst: float


def heat_map(comparison: Comparison, room: int, most: int) -> Iterator[Text]:
    """Yield one line for each channel in at most `room` columns; nothing if the shapes differ.

    Along a line run the elements of the channel, in the order of the batch. Where elements are more than fit, or
    channels more than `most`, neighbours are put together, and the worst of them is shown. Of several channels each
    has a bar beside it, as long as its largest error is large.
    """
    drawn = lanes(comparison, most)
    wide = max((len(lane.label) for lane in drawn), default=0)
    bars = FIGURES if len(drawn) > 1 else 0
    cells = [binned(lane.levels, max(room - wide - 3 - bars, 1)) for lane in drawn]
    for lane, line in zip(drawn, cells, strict=True):
        text = Text.assemble((f"{lane.label:>{wide}} │", "dim"), no_wrap=True)
        for level in line:
            text.append(SIGNS[level - 1] if level else WITHIN, style=STYLES[level - 1] if level else "dim")
        text.append("│", style="dim")
        if bars:
            text.append_text(_bar(lane.worst, max(other.worst for other in drawn)))
        yield text


def _bar(error: float, largest: float) -> Text:
    """Return a bar and the number that it stands for."""
    if error == 0.0:
        return Text("  within bounds", style="dim")
    share = error / largest if math.isfinite(largest) else float(math.isinf(error))
    bar = BAR * max(round(share * LONGEST_BAR), 1)
    return Text.assemble(("  ", ""), (f"{bar:<{LONGEST_BAR}}", "red"), f" {number(error, 2)}")


def channel_bars(comparison: Comparison) -> Text | None:
    """Return one line with a bar for each channel, as high as its largest error is large; None for a lone channel."""
    drawn = lanes(comparison, most=max(len(comparison.expected.values), 1))
    if len(drawn) < 2:
        return None
    worst = max(drawn, key=lambda lane: lane.worst)
    text = Text.assemble((f"error of {clean(comparison.tensor)} by channel  ", "dim"))
    for lane in drawn:
        share = 1.0 if lane.worst == worst.worst else lane.worst / worst.worst
        height = HEIGHTS[max(math.ceil(share * len(HEIGHTS)) - 1, 0)]
        text.append(*((height, "red") if lane.worst else (WITHIN, "dim")))
    return text.append(f"  up to {number(worst.worst, 2)} in {worst.label}", style="dim")


def lanes(comparison: Comparison, most: int) -> list[Lane]:
    """Return the channels, those that are more than `most` put together; nothing if the shapes differ."""
    shape = comparison.expected.shape
    if shape != comparison.found.shape or not comparison.expected.values:
        return []
    found = errors(comparison)
    sizes, levels = _by_channel(found, shape), _by_channel(severities(found), shape)
    together = -(-len(levels) // most)
    return [
        Lane(
            _label(i, min(i + together, len(levels))),
            tuple(max(several) for several in zip(*levels[i : i + together], strict=True)),
            max(max(size) for size in sizes[i : i + together]),
        )
        for i in range(0, len(levels), together)
    ]


def binned(line: Sequence[int], cells: int) -> list[int]:
    """Return a line in at most so many cells: of neighbours that share one the worst is kept."""
    size = -(-len(line) // cells)
    return [max(line[i : i + size]) for i in range(0, len(line), size)]


def _by_channel(values: Sequence[Value], shape: Sequence[int]) -> list[list[Value]]:
    """Return the values of each channel, (N, C, ...) or (C,), in the order of the batch."""
    n, c, *spatial = (*(1, 1)[len(shape) :], *shape)
    pixels = math.prod(spatial)
    return [
        [values[(row * c + channel) * pixels + p] for row in range(n) for p in range(pixels)] for channel in range(c)
    ]


def _label(first: int, end: int) -> str:
    return f"channel {first}" if end == first + 1 else f"channels {first} to {end - 1}"
