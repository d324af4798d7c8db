"""Telling a batch norm that normalises maps per activation, over the batch alone, from one that normalises channels.

The paper's fully connected case normalises each activation; its convolutional case normalises all places of a feature
map alike (section 3.2). Code for the first that is handed data of three or more axes does what it says, on its own
terms; it is verified on (N, C) data, and the report says why.
"""

from __future__ import annotations

import warnings

import numpy as np

from bncheck import guard
from bncheck.adapters.probe import EPS, MOMENTUM, PROBES, Fit
from bncheck.adapters.protocol import Parameters, Reading
from bncheck.adapters.target import Way, canonical
from bncheck.adapters.words import words

NOTE = (
    "data of {axes} axes is normalised per activation, over the batch alone: the paper's fully connected case, not its "
    "convolutional one"
)
# Names that promise the convolutional case: there, normalising per activation is a fault and not a choice.
_SPATIAL = frozenset("spatial conv convolution convolutional conv2d conv1d conv3d nchw nhwc maps images 2 3".split())
_NUMBERS = {3: "three", 4: "four", 5: "five"}


def without_activations(reading: Reading, fits: dict[int, Fit], name: str) -> tuple[dict[int, Fit], str]:
    """Return the fits that are meant as maps, and a note about those that are normalised per activation.

    Where nothing but maps is taken, or the name promises them, all fits stay.
    """
    found = [axes for axes, fit in fits.items() if axes > 2 and per_activation(reading, fit.way)]
    if not found:
        return fits, ""
    note = NOTE.format(axes=" and ".join(_NUMBERS[axes] for axes in found))
    if 2 not in fits or fits[2].score < fits[found[0]].score or _SPATIAL & set(words(name)):
        return fits, note
    return {axes: fit for axes, fit in fits.items() if axes not in found}, f"{note}; verified on NC"


def per_activation(reading: Reading, way: Way) -> bool:
    """Tell whether every single activation of y has mean 0 over the batch, with gamma = 1 and beta = 0."""
    sizes = PROBES[len(way.layout.name)][0]
    given = way.batch(np.random.default_rng(5).normal(0.5, 1.0, sizes))
    ones, zeros = (way.parameter(make(sizes[1])) for make in (np.ones, np.zeros))
    parameters = Parameters(ones, zeros, EPS, MOMENTUM, axis=way.layout.channel_axis)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            with guard.user_code():
                y = canonical(reading.start(parameters).forward(given, True), way.layout, given.shape)
        except KeyboardInterrupt:
            raise
        except BaseException:  # code that raises here has its fault met by the checks
            return False
    if not isinstance(y, np.ndarray) or y.shape != sizes:
        return False
    # Means over 4 rows of channel-normalised data are of the order 1/2; rounding leaves 1e-16, float32 code 1e-7.
    return bool(np.abs(y.mean(axis=0)).max() < 1e-5 < np.abs(y).max())
