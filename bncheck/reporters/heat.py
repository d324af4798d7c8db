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
    shape = comparison.expected.shape
    if shape != comparison.found.shape or not comparison.expected.values:
        return
    errors = [_error(comparison, at) for at in range(len(comparison.expected.values))]
    worst = max((error for error in errors if math.isfinite(error)), default=0.0)
    channels = _by_channel(errors, shape)
    together = -(-len(channels) // most)
    labels = [_label(i, min(i + together, len(channels))) for i in range(0, len(channels), together)]
    wide = max(map(len, labels))
    cells = max(room - wide - 3, 1)
    for i, label in zip(range(0, len(channels), together), labels, strict=True):
        lines = zip(*channels[i : i + together], strict=True)
        line = [max(several, default=0.0) for several in lines]
        text = Text(f"{label:>{wide}} │", style="dim", no_wrap=True)
        for error in _binned(line, cells):
            sign, style = _sign(error, worst)
            text.append(sign, style=style)
        text.append("│", style="dim")
        yield text


def _error(comparison: Comparison, at: int) -> float:
    """Return the error of one element; 0 where it is within bounds, inf where it is NaN or infinite."""
    if ratio(comparison, at) <= 1:
        return 0.0
    error = abs(comparison.expected.values[at] - comparison.found.values[at])
    return math.inf if math.isnan(error) else error


def _by_channel(errors: Sequence[float], shape: Sequence[int]) -> list[list[float]]:
    """Return the errors of each channel, (N, C, ...) or (C,), in the order of the batch."""
    n, c, *spatial = (1, *shape) if len(shape) < 2 else shape
    pixels = math.prod(spatial)
    return [
        [errors[(row * c + channel) * pixels + p] for row in range(n) for p in range(pixels)] for channel in range(c)
    ]


def _label(first: int, end: int) -> str:
    return f"channel {first}" if end == first + 1 else f"channels {first} to {end - 1}"


def _binned(line: Sequence[float], cells: int) -> list[float]:
    size = -(-len(line) // cells)
    return [max(line[i : i + size]) for i in range(0, len(line), size)]


def _sign(error: float, worst: float) -> tuple[str, str]:
    if error == 0.0:
        return WITHIN, "dim"
    share = error / worst if worst and math.isfinite(error) else 1.0
    return next((sign, style) for least, sign, style in reversed(LEVELS) if share >= least)
