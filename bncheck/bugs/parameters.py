"""Faults of dgamma and dbeta."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.quantities import LETTERS, axes_of, other_axes
from bncheck.bugs.steps import Array, Steps, absolute

_IN_PLACE_OF_XHAT = [
    Choice("x", lambda s: s.x),
    Choice("(x - mu)", lambda s: s.back_centred),
    Choice("y", lambda s: s.y),
    Choice("(x - mu) / sqrt(var)", lambda s: s.centred / np.sqrt(s.var)),
    Choice("(x - mu) / (sqrt(var) + eps)", lambda s: s.centred / (np.sqrt(s.var) + s.eps)),
    Choice("(x - mu) / (var + eps)", lambda s: s.centred / (s.var + s.eps)),
    Choice("(x - mu) * sqrt(var + eps)", lambda s: s.centred * np.sqrt(s.var + s.eps)),
    Choice("abs(xhat)", lambda s: absolute(s.back_xhat)),
    Choice("xhat**2", lambda s: s.back_xhat**2),
    Choice("dy", lambda s: s.dy),
    Choice("mu", lambda s: s.mu),
    Choice("beta", lambda s: s.beta),
]


@bug(
    "BUG301",
    "dgamma-without-xhat",
    "dgamma sums dy * {}, and not dy * xhat",
    step="dgamma",
    wrong="dgamma = sum(dy * {})",
    mend="keep xhat in the cache: dgamma = sum(dy * xhat)",
    choices=_IN_PLACE_OF_XHAT,
)
def dgamma_without_xhat(s: Steps, value: Any) -> Any:
    """Another array stands for xhat in dgamma.

    Why it happens
    --------------
    The cache holds x, or x - mu, or y. Data that are normalised already hide it.

    By hand
    -------
    Multiply x by 10, with eps near 0: dgamma must not change. Add 5 to x: neither.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dgamma.
    """
    return s.sum(s.dy * value(s))


def _over(a: Array, s: Steps, where: str) -> Array:
    """Return a sum over the axes that a name says, or the array itself."""
    return s.sum(a, axes_of(where)(s))


def _over_all(a: Array, s: Steps, where: str) -> Array:
    """Return a sum over everything, the same for each channel."""
    return _over(a, s, where) + 0 * s.gamma


def _where(samples: Sequence[Sample]) -> list[Choice]:
    """Return the axes that a sum may be taken over by mistake; the one sum over all comes as it is, or as (C,)."""
    ranks = [sample.steps.x.ndim for sample in samples]
    everything = LETTERS[max(ranks, default=2)]
    return [
        *(Choice(name, partial(_over, where=name)) for name in other_axes(ranks)),
        Choice(", ".join(everything), partial(_over_all, where=", ".join(everything))),
    ]


@bug(
    "BUG302",
    "dgamma-summed-over-other-axes",
    "dgamma is summed over {}, and not over all axes but C",
    step="dgamma",
    wrong="dgamma = dy * xhat, summed over {}",
    right="dgamma = dy * xhat, summed over all axes but C",
    mend="one sum per channel: axis=0 for (N, C), axis=(0, 2, 3) for (N, C, H, W)",
    choices=_where,
)
def dgamma_axes(s: Steps, over: Any) -> Any:
    """The products are not summed, or over the wrong axes.

    Why it happens
    --------------
    Textbooks lose the sum; a missing axis sums over everything.

    By hand
    -------
    dgamma has the shape of gamma, and changes in one channel if x changes in that channel.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dgamma.
    """
    return over(s.dy * s.back_xhat, s)


_DGAMMA = [
    Choice("sum(dy)", lambda s: s.sum(s.dy), 0.2),
    Choice("0", lambda s: 0 * s.gamma),
    Choice("sum(dy / xhat)", lambda s: s.sum(s.dy / s.back_xhat)),
    Choice("sum(abs(dy * xhat))", lambda s: s.sum(absolute(s.dy * s.back_xhat))),
    Choice("sum(dx * xhat)", lambda s: s.sum(s.dx * s.back_xhat)),
    Choice("gamma", lambda s: s.gamma),
    Choice("sum(y)", lambda s: s.sum(s.y)),
    Choice("sum(dy / (x - mu)) / sqrt(var + eps)", lambda s: s.sum(s.dy / s.back_centred) * s.back_inv_std),
]


@bug(
    "BUG303",
    "dgamma-is-something-else",
    "dgamma is {}, and not sum(dy * xhat)",
    step="dgamma",
    wrong="dgamma = {}",
    mend="dgamma = sum(dy * xhat), per channel",
    choices=_DGAMMA,
)
def dgamma_is_something_else(s: Steps, value: Any) -> Any:
    """Dgamma is dbeta, or nothing, or made of other things.

    Why it happens
    --------------
    The two gradients are returned in the wrong order, or one is copied from the other.

    By hand
    -------
    dy = 1 everywhere: dgamma is 0 in every channel, dbeta is m.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dgamma.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return value(s)


@bug(
    "BUG304",
    "dgamma-dbeta-swapped",
    "dgamma and dbeta are swapped",
    step="dgamma dbeta",
    wrong="dgamma, dbeta = sum(dy), sum(dy * xhat)",
    right="dgamma, dbeta = sum(dy * xhat), sum(dy)",
    mend="swap the two, where they are computed or where they are returned",
)
def swapped(s: Steps) -> Any:
    """Each of the two gradients is the other.

    Why it happens
    --------------
    Backward returns them in another order than the one that it declares.

    By hand
    -------
    dy = 1 everywhere: dgamma is 0 in every channel, dbeta is m.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.
    """
    return s.right("dbeta"), s.right("dgamma")


@bug(
    "BUG308",
    "sums-of-dxhat",
    "dgamma and dbeta are summed of dy * gamma, and not of dy: both have gamma once too often",
    step="dgamma dbeta",
    wrong="dgamma, dbeta = sum(dy * gamma * xhat), sum(dy * gamma)",
    right="dgamma, dbeta = sum(dy * xhat), sum(dy)",
    mend="take both sums of dy as it came; multiply it by gamma after that, and into another array: dxhat = dy * gamma",
)
def sums_of_dxhat(s: Steps) -> Any:
    """The gradient of xhat, dy * gamma, stands for dy in both sums.

    Why it happens
    --------------
    ``dy *= gamma`` changes dy in place before the sums are taken; or dxhat is taken for dy. gamma = 1 hides it.

    By hand
    -------
    Double gamma: dgamma and dbeta must not change.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the lines of dl/dgamma and dl/dbeta.
    """
    return s.gamma * s.right("dgamma"), s.gamma * s.right("dbeta")


@bug(
    "BUG401",
    "dbeta-summed-over-other-axes",
    "dbeta is summed over {}, and not over all axes but C",
    step="dbeta",
    wrong="dbeta = dy, summed over {}",
    right="dbeta = dy, summed over all axes but C",
    mend="one sum per channel: axis=0 for (N, C), axis=(0, 2, 3) for (N, C, H, W)",
    choices=_where,
)
def dbeta_axes(s: Steps, over: Any) -> Any:
    """The upstream gradient is not summed, or over the wrong axes.

    Why it happens
    --------------
    Textbooks lose the sum; a missing axis sums over everything.

    By hand
    -------
    dy = 1 everywhere: dbeta is m in every channel.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dbeta.
    """
    return over(s.dy, s)


_DBETA = [
    Choice("sum(dy * xhat)", lambda s: s.sum(s.dy * s.back_xhat), 0.2),
    Choice("0", lambda s: 0 * s.gamma),
    Choice("sum(dy * x)", lambda s: s.sum(s.dy * s.x)),
    Choice("sum(dy * y)", lambda s: s.sum(s.dy * s.y)),
    Choice("sum(abs(dy))", lambda s: s.sum(absolute(s.dy))),
    Choice("beta * sum(dy)", lambda s: s.beta * s.sum(s.dy)),
    Choice("1", lambda s: 1 + 0 * s.gamma),
]


@bug(
    "BUG402",
    "dbeta-is-something-else",
    "dbeta is {}, and not sum(dy)",
    step="dbeta",
    wrong="dbeta = {}",
    mend="dbeta = sum(dy), per channel",
    choices=_DBETA,
)
def dbeta_is_something_else(s: Steps, value: Any) -> Any:
    """Dbeta is dgamma, or nothing, or made of other things.

    Why it happens
    --------------
    The two gradients are returned in the wrong order, or one is copied from the other.

    By hand
    -------
    dy = 1 everywhere: dbeta is m in every channel.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dbeta.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return value(s)


@bug(
    "BUG501",
    "single-precision",
    "it computes in {}, though x is float64: nothing errs by more than rounding in {} explains",
    step="mu",
    wrong="something on the way is {}: x.astype({}), a buffer of its own dtype, a float in C",
    right="float64 from x to the gradients",
    mend="where {} is meant, verify it as such: --dtype {}; else create every intermediate with the dtype of x",
    choices=lambda samples: [],
)
def single_precision(s: Steps, dtype: str) -> Any:  # no step is wrong: diagnosis looks at the size of the errors
    """The formula is right, and half of the digits are lost on the way.

    Each value is off by more than rounding in float64 explains, and by no more than rounding in the smaller dtype does.

    Why it happens
    --------------
    A program in C whose sums are float; ``x.astype(np.float32)``; a buffer that is created with a dtype of its own.

    By hand
    -------
    Print the dtype of every intermediate.

    References
    ----------
    IEEE 754-2019: 24 bits of significand in single, 53 in double precision.
    """
    return np.asarray(s.right("mu")).astype(dtype).astype(np.float64)
