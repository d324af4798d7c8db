"""Layouts of data and parameters, and the memory in which arrays are handed over.

A layout is a string of axis letters. The canonical one has the batch first and the channels second (NC, NCL, NCHW,
NCDHW); any other order of the same letters is a permutation of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bncheck.errors import UsageError
from bncheck.registry import did_you_mean

CANONICAL = {2: "NC", 3: "NCL", 4: "NCHW", 5: "NCDHW"}
# In the order of preference: a tie goes to the first.
BY_AXES = {2: ("NC", "CN"), 3: ("NCL", "NLC"), 4: ("NCHW", "NHWC"), 5: ("NCDHW", "NDHWC")}
LAYOUTS = tuple(name for names in BY_AXES.values() for name in names)


@dataclass(frozen=True)
class Layout:
    """A permutation of the canonical axes.

    Attributes
    ----------
    name : str
        Axis letters in the user's order.
    to_user, to_canonical : tuple of int or None
        The two transpositions; None where nothing moves.

    """

    name: str
    to_user: tuple[int, ...] | None
    to_canonical: tuple[int, ...] | None

    @property
    def channel_axis(self) -> int:
        """Where the channels are in the user's order."""
        return self.name.index("C")

    @property
    def few(self) -> tuple[int, ...]:
        """Sizes of the canonical axes of a batch of a few values: four rows, three channels.

        A value per element is told from one per channel, and the unbiased variance is 4/3 of the biased one for (N, C)
        data, 16/15 for four axes.
        """
        return (4, 3, 2, 2, 1)[: len(self.name)]

    def user(self, x: Any) -> Any:
        """Return a view of a canonical array in the user's order of axes."""
        return x if self.to_user is None else x.transpose(self.to_user)

    def canonical(self, x: Any) -> Any:
        """Return a view of an array in the user's order of axes in the canonical order."""
        return x if self.to_canonical is None else x.transpose(self.to_canonical)


def layout(name: str) -> Layout:
    """Return the layout of that name; raise UsageError with the known names if there is none."""
    canonical = CANONICAL.get(len(name), "")
    if not name or sorted(name) != sorted(canonical):
        raise UsageError(f"no layout is called {name!r:.40}. {did_you_mean(name, LAYOUTS)}")
    if name == canonical:
        return Layout(name, None, None)
    return Layout(
        name, tuple(canonical.index(letter) for letter in name), tuple(name.index(letter) for letter in canonical)
    )


def parameter_shapes(ndim: int, channels: int, declared: str | None = None) -> list[tuple[int, ...]]:
    """Return the shapes that gamma and beta may have beside data of `ndim` axes, most usual first.

    `declared` is the one that the user gave: "(1, C)"; UsageError if it is none.
    """
    if declared is not None:
        return [_declared_shape(declared, channels)]
    shapes = [(channels,), (1, channels), (channels, 1)]
    if ndim > 2:
        shapes += [(1, channels, *[1] * (ndim - 2)), (*[1] * (ndim - 1), channels)]
    return shapes


def _declared_shape(text: str, channels: int) -> tuple[int, ...]:
    parts = [part.strip() for part in text.strip("() ").split(",") if part.strip()]
    if parts.count("C") != 1 or set(parts) - {"C", "1"}:
        raise UsageError(f"parameter_shape should be like (C,), (1, C) or (1, C, 1, 1), not {text!r}")
    return tuple(channels if part == "C" else 1 for part in parts)


def spell_shape(shape: tuple[int, ...], channels: int) -> str:
    """Return a parameter's shape with the letter C for its channels: "(1, C)"."""
    letters = ["C" if size == channels else str(size) for size in shape]
    return f"({', '.join(letters)}{',' if len(letters) == 1 else ''})"


def in_memory(x: Any, memory: str) -> Any:
    """Return a fresh copy of an array in one of the memory layouts of :data:`bncheck.case.MEMORY`."""
    if memory == "C":
        return x.copy("C")
    if memory == "F":
        return x.copy("F")
    if memory == "channels_last":  # (N, C, *spatial) in the memory of (N, *spatial, C)
        return np.moveaxis(np.moveaxis(x, 1, -1).copy("C"), -1, 1)
    if memory == "readonly":
        copy = x.copy("C")
        copy.flags.writeable = False
        return copy
    # A view with gaps: every second element along the last axis. The gaps hold NaN, so that code which walks over the
    # raw memory shows itself.
    buffer = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, dtype=x.dtype)
    view = buffer[..., ::2]
    view[...] = x
    return view
