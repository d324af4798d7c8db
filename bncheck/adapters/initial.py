"""What a fresh layer starts from: its own gamma and beta, before bncheck puts others in their place."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from bncheck import guard
from bncheck.adapters.protocol import Parameters, Reading, Starting
from bncheck.adapters.target import Way, as_array


def find_initial(reading: Reading, way: Way, eps: float | None) -> tuple[str, str]:
    """Return in a word what gamma and beta start from: a number, "random", "one number", "a value per element".

    "" where that is not to be seen: functions are given theirs, and so are layers whose constructor asks for them.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            first, second = (_values(reading, way, 1e-5 if eps is None else eps) for _ in range(2))
        except KeyboardInterrupt:
            raise
        except BaseException:
            return "", ""  # a layer that does not run on this batch tells nothing
    channels = way.layout.few[1]
    gamma, beta = (_word(first.get(key), second.get(key), channels) for key in ("gamma", "beta"))
    return gamma, beta


def _values(reading: Reading, way: Way, eps: float) -> dict[str, Any]:
    sizes = way.layout.few
    # Neither 1 nor 0: what the layer has of its own is told from what it was given.
    gamma, beta = way.parameter(np.full(sizes[1], 1.25)), way.parameter(np.full(sizes[1], 0.375))
    x = np.random.default_rng(7).normal(0.5, 1.0, sizes)
    with guard.user_code():
        run = reading.start(Parameters(gamma, beta, eps, 0.9, axis=way.layout.channel_axis))
        run.forward(way.batch(x), True)
    return run.initial() if isinstance(run, Starting) else {}


def _word(first: Any, second: Any, channels: int) -> str:
    one, two = as_array(first), as_array(second)
    if one is None or two is None or one.size == 0 or not np.isfinite(one.astype(float)).all():
        return ""
    if one.shape != two.shape or not np.array_equal(one, two):
        return "random"
    if one.size not in (1, channels):
        return "a value per element"
    if one.size == 1:
        return "one number"
    number = float(one.reshape(-1)[0])
    return f"{number + 0.0:g}" if (one == number).all() else "differs by channel"
