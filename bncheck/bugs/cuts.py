"""Faults of what is left out: a part of the batch, a row or a channel of it, a channel of a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.quantities import Quantity, blocks_of, cuts_of
from bncheck.bugs.steps import Array, Steps


def _cuts(samples: Sequence[Sample]) -> list[Choice]:
    """Return what a sum leaves out, divided by the count of all values or of those that are left."""
    steps = [sample.steps for sample in samples]
    cuts = [(cut, 0.0) for cut in cuts_of(steps)] + [(cut, 0.2) for cut in blocks_of(steps)]
    return [
        Choice(cut.text, (cut, whole), cost if whole else cost + 0.05) for cut, cost in cuts for whole in (True, False)
    ]


def _parts(samples: Sequence[Sample]) -> list[Choice]:
    return [Choice(cut.text, cut) for cut in cuts_of([sample.steps for sample in samples])]


def _mean_of_kept(s: Steps, array: Array, kept: Array, *, whole: bool) -> Array:
    found: Array = s.sum(array * kept) / (s.m if whole else kept.sum())
    return found


@bug(
    "BUG141",
    "mean-tail-left-out",
    "{} of the batch is left out of the mean",
    step="mu",
    wrong="mu = mean of x without {}",
    mend="sum over the whole batch: mind where the loop, or the slice, ends",
    choices=_cuts,
)
def mean_tail(s: Steps, value: tuple[Quantity, bool]) -> Any:
    """A part of the batch does not count in the mean.

    Why it happens
    --------------
    A loop that ends one too early; blocks of a kernel that do not reach the end of the batch; a slice.

    By hand
    -------
    Change the last row: the mean must change.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1: the sums run over the whole mini-batch.
    """
    cut, whole = value
    return _mean_of_kept(s, s.x, cut.value(s), whole=whole)


@bug(
    "BUG142",
    "variance-tail-left-out",
    "{} of the batch is left out of the variance",
    step="var",
    wrong="var = mean of (x - mu)**2 without {}",
    mend="sum over the whole batch: mind where the loop, or the slice, ends",
    choices=_cuts,
)
def variance_tail(s: Steps, value: tuple[Quantity, bool]) -> Any:
    """A part of the batch does not count in the variance.

    Why it happens
    --------------
    A loop that ends one too early; blocks of a kernel that do not reach the end of the batch; a slice.

    By hand
    -------
    Change the last row by much: the variance must grow.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1: the sums run over the whole mini-batch.
    """
    cut, whole = value
    return _mean_of_kept(s, s.centred**2, cut.value(s), whole=whole)


@bug(
    "BUG143",
    "variance-of-a-part",
    "the variance is that of the batch without {}, about the mean of that part",
    step="var",
    wrong="var = var of x without {}",
    right="var = mean((x - mu)**2)",
    mend="take the variance of the whole batch: mind where the slice ends",
    choices=_parts,
)
def variance_of_a_part(s: Steps, cut: Quantity) -> Any:
    """The variance is taken of a slice of the batch.

    Why it happens
    --------------
    ``x[:-1].var(axis=0)``, where x was meant.

    By hand
    -------
    Change the last row by much: the variance must grow.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    kept = cut.value(s)
    mu = _mean_of_kept(s, s.x, kept, whole=False)
    return _mean_of_kept(s, (s.x - mu) ** 2, kept, whole=False)


@bug(
    "BUG144",
    "statistics-of-a-part",
    "mean and variance are those of the batch without {}",
    step="mu var",
    wrong="mu, var = mean and var of x without {}",
    right="mu, var = mean(x), mean((x - mu)**2)",
    mend="take the statistics of the whole batch: mind where the slice ends",
    choices=_cuts,
)
def statistics_of_a_part(s: Steps, value: tuple[Quantity, bool]) -> Any:
    """Both statistics are those of a slice of the batch.

    Why it happens
    --------------
    A loop that ends one too early; a slice that was meant for something else.

    By hand
    -------
    Change the last row: mean and variance must change.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    cut, whole = value
    mu = _mean_of_kept(s, s.x, cut.value(s), whole=whole)
    return mu, _mean_of_kept(s, (s.x - mu) ** 2, cut.value(s), whole=whole)


def tails(samples: Sequence[Sample]) -> list[Choice]:
    """Return what a loop over whole blocks of rows leaves out."""
    return [Choice(cut.text, cut) for cut in blocks_of([sample.steps for sample in samples])]


LEFT = [
    Choice("the last row", (0, -1)),
    Choice("the first row", (0, 0)),
    Choice("the last channel", (1, -1)),
    Choice("the first channel", (1, 0)),
    Choice("the last column", (-1, -1)),
]


def untouched(array: Array, place: tuple[int, int]) -> Array:
    """Return an array with 0 in one row, channel or column."""
    found: Array = np.array(array)
    np.moveaxis(found, place[0], 0)[place[1]] = 0
    return found


@bug(
    "BUG145",
    "y-left-out",
    "{} of y is 0: it is left out",
    step="y",
    wrong="y = gamma * xhat + beta, but 0 in {}",
    mend="mind where the loop over rows or channels ends",
    choices=LEFT,
)
def y_left_out(s: Steps, place: tuple[int, int]) -> Any:
    """A loop does not reach the end.

    Why it happens
    --------------
    ``range(c - 1)``, blocks of a kernel that do not cover all channels.

    By hand
    -------
    Look for zeros at the end of y.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return untouched(s.right("y"), place)


# ------------------------------------------------------------------------------------------------------ the gradients


_PLACES = [Choice("the last channel", (1, -1)), Choice("the first channel", (1, 0))]


@bug(
    "BUG305",
    "dgamma-left-out",
    "{} of dgamma is 0: it is left out",
    step="dgamma",
    wrong="dgamma = sum(dy * xhat), but 0 in {}",
    mend="mind where the loop over channels ends",
    choices=_PLACES,
)
def dgamma_left_out(s: Steps, place: tuple[int, int]) -> Any:
    """A loop does not reach the end.

    Why it happens
    --------------
    ``range(c - 1)``, blocks of a kernel that do not cover all channels.

    By hand
    -------
    Look for a zero at the end of dgamma.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dgamma.
    """
    return untouched(s.right("dgamma"), place)


@bug(
    "BUG405",
    "dbeta-left-out",
    "{} of dbeta is 0: it is left out",
    step="dbeta",
    wrong="dbeta = sum(dy), but 0 in {}",
    mend="mind where the loop over channels ends",
    choices=_PLACES,
)
def dbeta_left_out(s: Steps, place: tuple[int, int]) -> Any:
    """A loop does not reach the end.

    Why it happens
    --------------
    ``range(c - 1)``, blocks of a kernel that do not cover all channels.

    By hand
    -------
    Look for a zero at the end of dbeta.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dbeta.
    """
    return untouched(s.right("dbeta"), place)
