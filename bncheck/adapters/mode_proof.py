"""Proving a mode switch by numbers: in training y follows the batch, in inference what earlier batches left behind.

No name has a part in it. An option for something else (``affine``, ``debug``, ``centred``) does not change what y
depends on; one that normalises with the averages so far, and goes on averaging, is no inference either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bncheck import guard
from bncheck.adapters.probe import EPS, MOMENTUM
from bncheck.adapters.protocol import Parameters, Reading
from bncheck.adapters.target import Way

# Single precision rounds by less, and one batch moves running statistics by more, with a momentum of 0.999 too.
_SAME = 1e-4


def tells_the_mode(reading: Reading, way: Way, sizes: tuple[int, ...]) -> bool:
    """Tell whether what a reading is told in training and otherwise makes its code train, and infer.

    In training y is to depend on the rows beside, and not on earlier batches. Otherwise it is to depend on earlier
    batches, and a batch seen so is to leave nothing behind.
    """
    random = np.random.default_rng(5)
    one, two, asked, beside = (random.normal(shift, scale, sizes) for shift, scale in ((3, 2), (-3, 1), (0, 1), (1, 3)))
    beside[:1] = asked[:1]

    def y_of(*batches: tuple[Any, bool]) -> Any:
        with guard.user_code():
            run = reading.start(_parameters(way, sizes[1]))
            for x, train in batches:
                y = run.forward(way.batch(x), train)
        return way.layout.canonical(np.array(y, dtype=float))

    try:
        return _trains(y_of, one, two, asked, beside) and _infers(y_of, one, two, asked, beside)
    except KeyboardInterrupt:
        raise
    except BaseException:  # what raises when it is turned is no switch
        return False


def _parameters(way: Way, channels: int) -> Parameters:
    random = np.random.default_rng(6)
    gamma, beta = (way.parameter(random.uniform(0.5, 2.0, channels)) for _ in range(2))
    return Parameters(gamma, beta, EPS, MOMENTUM, axis=way.layout.channel_axis)


def _trains(y_of: Callable[..., Any], one: Any, two: Any, asked: Any, beside: Any) -> bool:
    y = y_of((one, True), (asked, True))
    return _alike(y, y_of((two, True), (asked, True))) and not _alike(y[:1], y_of((one, True), (beside, True))[:1])


def _infers(y_of: Callable[..., Any], one: Any, two: Any, asked: Any, beside: Any) -> bool:
    y = y_of((one, True), (asked, False))
    if _alike(y, y_of((two, True), (asked, False))):
        return False
    return _alike(y, y_of((one, True), (beside, False), (asked, False)))


def _alike(one: Any, other: Any) -> bool:
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=_SAME, atol=_SAME, equal_nan=True)
