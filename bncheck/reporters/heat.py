"""The error of a tensor as a picture: one line per channel, one character per element, read without colour, too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.text import Text

from bncheck.report import Comparison
from bncheck.reporters.matrices import ratio

WITHIN = "."
# From the faintest to the worst: each with the least share of the worst error that it stands for, and its colour.
LEVELS = ((0.0, "░", "red"), (0.01, "▒", "red"), (0.1, "▓", "bold red"), (0.5, "█", "bold red"))
LEGEND = f"{WITHIN} within bounds, {''.join(sign for _, sign, _ in LEVELS)} up to 1%, 10%, 50%, 100% of the worst error"


def heat_map(comparison: Comparison, room: int, most: int) -> Iterator[Text]:
    """Yield one line for each channel in at most `room` columns; nothing if the shapes differ.

    Along a line run the elements of the channel, in the order of the batch. Where elements are more than fit, or
    channels more than `most`, neighbours are put together, and the worst of them is shown.
    """
    lines = levels(comparison, most)
    wide = max((len(label) for label, _ in lines), default=0)
    for label, line in lines:
        text = Text(f"{label:>{wide}} │", style="dim", no_wrap=True)
        for level in binned(line, max(room - wide - 3, 1)):
            sign, style = (WITHIN, "dim") if level == 0 else LEVELS[level - 1][1:]
            text.append(sign, style=style)
        text.append("│", style="dim")
        yield text


def levels(comparison: Comparison, most: int) -> list[tuple[str, list[int]]]:
    """Return for each channel its label and a level for each element, 0 within bounds, else 1 to ``len(LEVELS)``.

    Channels more than `most` are put together; nothing comes back if the shapes differ.
    """
    shape = comparison.expected.shape
    if shape != comparison.found.shape or not comparison.expected.values:
        return []
    errors = [_error(comparison, at) for at in range(len(comparison.expected.values))]
    worst = max((error for error in errors if math.isfinite(error)), default=0.0)
    channels = _by_channel([_level(error, worst) for error in errors], shape)
    together = -(-len(channels) // most)
    starts = range(0, len(channels), together)
    return [
        (
            _label(i, min(i + together, len(channels))),
            [max(several) for several in zip(*channels[i : i + together], strict=True)],
        )
        for i in starts
    ]


def binned(line: Sequence[int], cells: int) -> list[int]:
    """Return a line in at most so many cells: of neighbours that share one the worst is kept."""
    size = -(-len(line) // cells)
    return [max(line[i : i + size]) for i in range(0, len(line), size)]


def _error(comparison: Comparison, at: int) -> float:
    """Return the error of one element; 0 where it is within bounds, inf where it is NaN or infinite."""
    if ratio(comparison, at) <= 1:
        return 0.0
    error = abs(comparison.expected.values[at] - comparison.found.values[at])
    return math.inf if math.isnan(error) else error


def _by_channel(errors: Sequence[int], shape: Sequence[int]) -> list[list[int]]:
    """Return the levels of each channel, (N, C, ...) or (C,), in the order of the batch."""
    n, c, *spatial = (1, *shape) if len(shape) < 2 else shape
    pixels = math.prod(spatial)
    return [
        [errors[(row * c + channel) * pixels + p] for row in range(n) for p in range(pixels)] for channel in range(c)
    ]


def _label(first: int, end: int) -> str:
    return f"channel {first}" if end == first + 1 else f"channels {first} to {end - 1}"


def _level(error: float, worst: float) -> int:
    if error == 0.0:
        return 0
    share = error / worst if worst and math.isfinite(error) else 1.0
    return sum(share >= least for least, _, _ in LEVELS)
