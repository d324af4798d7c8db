"""Faults of the forward: over which axes mean and variance are taken, sums that are none, rows of mixed channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.quantities import axes_of, other_axes
from bncheck.bugs.steps import Array, Steps


def _axes(samples: Sequence[Sample]) -> list[Choice]:
    """Return the sets of axes that are not those of Batch Normalization, averaged over or summed and divided by m."""
    names = other_axes([sample.steps.x.ndim for sample in samples])
    found = [Choice(name, partial(_averaged, axes_of(name))) for name in names]
    found += [
        Choice(f"{name} (summed, and divided by m)", partial(_divided_by_m, axes_of(name)), 0.05)
        for name in names
        if name != "nothing"
    ]
    return found


def _averaged(axes: Callable[[Steps], tuple[int, ...]], s: Steps, array: Array) -> Array:
    return s.mean(array, axes(s))


def _divided_by_m(axes: Callable[[Steps], tuple[int, ...]], s: Steps, array: Array) -> Array:
    found: Array = s.sum(array, axes(s)) / s.m
    return found


@bug(
    "BUG106",
    "statistics-over-other-axes",
    "mean and variance are taken over {}, and not over all axes but C",
    step="mu var",
    wrong="mu, var = mean and var of x over {}",
    right="mu, var = mean and var of x over all axes but C",
    mend="one mean and one variance per channel: axis=0 for (N, C), axis=(0, 2, 3) for (N, C, H, W)",
    choices=_axes,
)
def statistics_over_axes(s: Steps, mean: Any) -> Any:
    """Both statistics are taken over the wrong axes: another kind of normalisation.

    Over C it is a layer norm, over H and W alone an instance norm, over N alone (with a map) one normalisation per
    pixel, over everything one mean and one variance for the whole layer.

    Why it happens
    --------------
    ``axis=1`` for ``axis=0``; a missing axis, which averages over everything; (N, C) code used on feature maps.

    By hand
    -------
    Multiply one channel of x by 10: the other channels of y must not change. Then change one row: all rows of that
    channel must change.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.2. Layer norm: Ba et al. 2016, arXiv:1607.06450.
    """
    mu = mean(s, s.x)
    return mu, mean(s, (s.x - mu) ** 2)


@bug(
    "BUG107",
    "mean-over-other-axes",
    "the mean is taken over {}, and not over all axes but C",
    step="mu",
    wrong="mu = mean of x over {}",
    right="mu = mean of x over all axes but C",
    mend="give the mean the axes of the variance: axis=0 for (N, C), axis=(0, 2, 3) for (N, C, H, W)",
    choices=_axes,
)
def mean_over_axes(s: Steps, mean: Any) -> Any:
    """The mean alone is taken over the wrong axes.

    Why it happens
    --------------
    A forgotten ``axis``: ``np.mean(x)`` is one number, and it broadcasts without a complaint.

    By hand
    -------
    The mean of every channel of xhat is 0.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return mean(s, s.x)


@bug(
    "BUG108",
    "variance-over-other-axes",
    "the variance is averaged over {}, and not over all axes but C",
    step="var",
    wrong="var = mean of (x - mu)**2 over {}",
    right="var = mean of (x - mu)**2 over all axes but C",
    mend="give the variance the axes of the mean: axis=0 for (N, C), axis=(0, 2, 3) for (N, C, H, W)",
    choices=_axes,
)
def variance_over_axes(s: Steps, mean: Any) -> Any:
    """The variance alone is taken over the wrong axes.

    Why it happens
    --------------
    ``np.mean((x - mu)**2)`` without an axis is one number for all channels.

    By hand
    -------
    The mean square of every channel of xhat is var / (var + eps), just below 1.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return mean(s, s.centred**2)


@bug(
    "BUG109",
    "variance-about-one-mean",
    "the variance is np.var over {}, about the mean of those axes",
    step="var",
    wrong="var = var of x over {}",
    right="var = var of x over all axes but C",
    mend="give the variance the axes of the mean: axis=0 for (N, C), axis=(0, 2, 3) for (N, C, H, W)",
    choices=_axes,
)
def variance_about_one_mean(s: Steps, mean: Any) -> Any:
    """The variance is taken over the wrong axes, about the mean over those axes.

    Why it happens
    --------------
    ``np.var(x)`` without an axis: one number for all channels, about the mean of everything.

    By hand
    -------
    The mean square of every channel of xhat is var / (var + eps), just below 1.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return mean(s, (s.x - mean(s, s.x)) ** 2)


_UNSUMMED = [Choice("x", lambda s: s.x), Choice("x / m", lambda s: s.x / s.m), Choice("x / N", lambda s: s.x / s.n)]


@bug(
    "BUG118",
    "mean-not-summed",
    "the mean is {}: nothing is summed",
    step="mu",
    wrong="mu = {}",
    mend="sum over the values of the channel before dividing: one mean per channel",
    choices=_UNSUMMED,
)
def mean_not_summed(s: Steps, value: Any) -> Any:
    """Each value of x has a mean of its own.

    Why it happens
    --------------
    The sum was lost, and broadcasting hides it: every shape still fits.

    By hand
    -------
    mu has one value per channel, whatever the batch.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return value(s)


_UNSUMMED_SQUARES = [
    Choice("(x - mu)**2", lambda s: s.centred**2),
    Choice("(x - mu)**2 / m", lambda s: s.centred**2 / s.m),
    Choice("(x - mu)**2 / N", lambda s: s.centred**2 / s.n),
]


@bug(
    "BUG119",
    "variance-not-summed",
    "the variance is {}: nothing is summed",
    step="var",
    wrong="var = {}",
    mend="sum over the values of the channel before dividing: one variance per channel",
    choices=_UNSUMMED_SQUARES,
)
def variance_not_summed(s: Steps, value: Any) -> Any:
    """Each value of x has a variance of its own.

    Why it happens
    --------------
    The sum was lost, and broadcasting hides it: every shape still fits.

    By hand
    -------
    var has one value per channel, whatever the batch.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return value(s)


_RESHAPES = [
    Choice("reshape(-1, C)", lambda s, a: (a.reshape(-1, s.c), 0, (1, -1))),
    Choice("reshape(C, -1)", lambda s, a: (a.reshape(s.c, -1), 1, (-1, 1))),
]


@bug(
    "BUG146",
    "reshape-mixes-channels",
    "x.{} takes values of all channels for one: the axis of channels was not moved first",
    step="y",
    wrong="rows = x.{}; normalise the rows; reshape them back",
    mend="move the axis of channels to the end before reshaping: x.transpose(0, 2, 3, 1).reshape(-1, C)",
    choices=_RESHAPES,
)
def reshape_mixes_channels(s: Steps, value: Any) -> Any:
    """Feature maps are reshaped into rows without a transposition.

    Why it happens
    --------------
    The shapes fit, and numbers come out; the elements of a row are of one image, and not of one pixel.

    By hand
    -------
    Multiply one channel of x by 10: the other channels of y must not change.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.2.
    """
    rows, over, shape = value(s, s.x)
    centred = rows - rows.mean(axis=over, keepdims=True)
    var = (centred**2).mean(axis=over, keepdims=True)
    found = s.gamma.reshape(shape) * centred / np.sqrt(var + s.eps) + s.beta.reshape(shape)
    return found.reshape(s.x.shape)
