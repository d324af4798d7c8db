"""Faults of the forward: which mean, which variance, where eps stands, what gamma and beta do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.quantities import Quantity, axes_of, cuts_of, other_axes
from bncheck.bugs.steps import Array, Steps, absolute

# ------------------------------------------------------------------------------------------------------------ variance


@bug(
    "BUG101",
    "variance-unbiased",
    "the variance is divided by m - 1, and the batch is normalised by m",
    step="var",
    wrong="var = sum((x - mu)**2) / (m - 1)",
    mend="divide by m: np.var(x, axis) without ddof, torch.var(x, axis, unbiased=False)",
)
def variance_unbiased(s: Steps) -> Any:
    """The unbiased estimate of the variance normalises the batch.

    Why it happens
    --------------
    ``torch.var``, ``torch.std``, MATLAB and R divide by m - 1 unless they are told otherwise. Bessel's correction
    belongs to the running variance (and there only in some libraries), never to the normalisation of the batch.

    By hand
    -------
    With two rows, 0 and 2: mu = 1, var = 1, xhat = -1 and 1. With m - 1 the variance is 2 and xhat = -0.7 and 0.7.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 1.
    """
    return s.right("var") * s.m / (s.m - 1)


@bug(
    "BUG102",
    "variance-of-uncentred-x",
    "the variance is the mean of x², without the mean taken off",
    step="var",
    wrong="var = mean(x**2)",
    mend="take the mean off first: mean((x - mu)**2)",
)
def variance_uncentred(s: Steps) -> Any:
    """The second moment of x stands for its variance.

    Why it happens
    --------------
    The formula E[x²] - E[x]² lost its second half, or x is squared where x - mu was meant. Data of mean 0 hide it.

    By hand
    -------
    A channel 1, 3: mu = 2, var = 1; the mean of the squares is 5.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return s.mean(s.x**2)


def _counts(samples: Sequence[Sample]) -> list[Choice]:
    """Return what m is mistaken for, where it differs from m: the batch, the channels, one channel's map."""
    counts: dict[str, Callable[[Steps], int]] = {
        "N": lambda s: s.n,
        "C": lambda s: s.c,
        "m C": lambda s: s.m * s.c,
        "1": lambda s: 1,
        "H W": lambda s: s.m // s.n,
        "m / W": lambda s: s.m // (s.x.shape[-1] if s.x.ndim > 3 else 1),
        "m / H": lambda s: s.m // (s.x.shape[-2] if s.x.ndim > 3 else 1),
        "(m - 1)": lambda s: s.m - 1,
        "(m - 2)": lambda s: max(s.m - 2, 1),
        "m**2": lambda s: s.m**2,
        "N**2": lambda s: s.n**2,
        "(m + 1)": lambda s: s.m + 1,
    }
    return [Choice(text, count) for text, count in counts.items() if any(count(a.steps) != a.steps.m for a in samples)]


@bug(
    "BUG103",
    "variance-count",
    "the variance is a sum divided by {}, and not by m",
    step="var",
    wrong="var = sum((x - mu)**2) / {}",
    mend="divide by the number of values that one channel has: N, or N·H·W for (N, C, H, W)",
    choices=_counts,
)
def variance_count(s: Steps, count: Any) -> Any:
    """The sum of squares is divided by another count, or by none.

    Why it happens
    --------------
    ``sum`` for ``mean``; or ``x.shape[0]`` taken over from (N, C) code into code for (N, C, H, W), where a channel has
    N·H·W values; or ``x.shape[1]``, the channels.

    By hand
    -------
    Repeat every row of the batch: a variance does not change.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.2: m' = m·p·q for feature maps of size p × q.
    """
    return s.right("var") * s.m / count(s)


@bug(
    "BUG104",
    "mean-count",
    "the mean is a sum divided by {}, and not by m",
    step="mu",
    wrong="mu = sum(x) / {}",
    mend="divide by the number of values that one channel has: N, or N·H·W for (N, C, H, W)",
    choices=_counts,
)
def mean_count(s: Steps, count: Any) -> Any:
    """The sum of a channel is divided by another count, or by none.

    Why it happens
    --------------
    ``sum`` for ``mean``; or ``x.shape[0]`` taken over from (N, C) code into code for (N, C, H, W).

    By hand
    -------
    The mean of a constant channel is that constant.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return s.right("mu") * s.m / count(s)


_NOT_VARIANCES = [
    Choice("mean((x + mu)**2)", lambda s: s.mean((s.x + s.mu) ** 2)),
    Choice("mean(x - mu)", lambda s: 0 * s.gamma),
    Choice("mean(x)**2", lambda s: s.mean(s.x) ** 2),
    Choice("mean(x**2) - mean(x)", lambda s: s.mean(s.x**2) - s.mean(s.x)),
    Choice("mean(x**2) + mean(x)**2", lambda s: s.mean(s.x**2) + s.mean(s.x) ** 2),
    Choice("std(x)", lambda s: np.sqrt(s.right("var"))),
    Choice("var(x)**2", lambda s: s.right("var") ** 2),
    Choice("mu", lambda s: s.mu + 0 * s.gamma),
    Choice("mean(abs(x))", lambda s: s.mean(absolute(s.x))),
    Choice("mean(x)", lambda s: s.mean(s.x)),
    Choice("mean(x * mu)", lambda s: s.mean(s.x * s.mu)),
    Choice("mean((x / mu)**2)", lambda s: s.mean((s.x / s.mu) ** 2)),
    Choice("mean((x * mu)**2)", lambda s: s.mean((s.x * s.mu) ** 2)),
    Choice("1", lambda s: 1 + 0 * s.gamma),
]


@bug(
    "BUG110",
    "variance-of-something-else",
    "{} stands for the variance",
    step="var",
    wrong="var = {}",
    mend="square the deviations from the mean, and average them: mean((x - mu)**2)",
    choices=_NOT_VARIANCES,
)
def variance_of_something_else(s: Steps, value: Any) -> Any:
    """What is called the variance is made of other things.

    Why it happens
    --------------
    A sign in the deviations; a square that is lost: deviations by themselves add up to 0.

    By hand
    -------
    A channel 1, 3: mu = 2, var = 1.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return value(s)


@bug(
    "BUG105",
    "mean-deviation-for-variance",
    "the mean of |x - mu| stands for the variance",
    step="var",
    wrong="var = mean(abs(x - mu))",
    mend="square the deviations: mean((x - mu)**2)",
)
def mean_deviation(s: Steps) -> Any:
    """Absolute deviations are averaged in place of squared ones.

    Why it happens
    --------------
    A square that was forgotten, with abs to keep it positive; or an L1 batch norm, which is another layer.

    By hand
    -------
    A channel 0, 0, 3: mu = 1, the squares average 2, the absolute deviations 4/3.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return s.mean(absolute(s.centred))


# ---------------------------------------------------------------------------------------------------------------- axes


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


# ---------------------------------------------------------------------------------------------------- what is left out


def _cuts(samples: Sequence[Sample]) -> list[Choice]:
    """Return what a sum leaves out, divided by the count of all values or of those that are left."""
    cuts = cuts_of([sample.steps for sample in samples])
    return [Choice(cut.text, (cut, whole), 0.0 if whole else 0.05) for cut in cuts for whole in (True, False)]


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


# --------------------------------------------------------------------------------------------------- eps and the root


@bug(
    "BUG111",
    "eps-outside-root",
    "eps is added to the standard deviation, outside of the root",
    step="inv_std",
    wrong="inv_std = 1 / (sqrt(var) + eps)",
    mend="add eps to the variance before the root is taken",
)
def eps_outside(s: Steps) -> Any:
    """Eps stands beside the root.

    Why it happens
    --------------
    ``std = np.std(x)`` comes ready made, and eps is added where the division is. Unit variance and a small eps hide it.

    By hand
    -------
    A channel of variance 0: x - mu is divided by sqrt(eps), not by eps.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1; keras issue 10427.
    """
    return 1 / (np.sqrt(s.var) + s.eps)


@bug(
    "BUG112",
    "eps-missing",
    "eps is missing",
    step="inv_std",
    wrong="inv_std = 1 / sqrt(var)",
    mend="add eps to the variance, inside the root",
)
def eps_missing(s: Steps) -> Any:
    """Nothing keeps the division from 0.

    Why it happens
    --------------
    Eps is an argument that never reaches the formula.

    By hand
    -------
    A constant channel, x = 3 in every row: 0 / 0, where xhat should be 0.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 / np.sqrt(s.var)


def _fixed_eps(samples: Sequence[Sample]) -> list[Choice]:
    """Return the one eps that the slope of y tells, in every channel of every sample, if there is one."""
    return one_eps([(s, _slope(s, f.get("y"))) for s, f in samples])


def _slope(s: Steps, y: Any) -> Array | None:
    if y is None or np.shape(y) != s.x.shape:
        return None
    centred = s.x - s.mean(s.x)
    found: Array = s.sum(centred * y) / s.sum(centred**2) / s.gamma
    return found


def one_eps(slopes: Sequence[tuple[Steps, Array | None]]) -> list[Choice]:
    """Return the eps with which 1 / sqrt(var + eps) gives all these values, if one does and it is not the case's."""
    with np.errstate(all="ignore"):
        found = [np.ravel(1 / slope**2 - s.var) for s, slope in slopes if slope is not None and slope.all()]
    if not found:
        return []
    values = np.concatenate(found)
    eps = float(np.median(values))
    scale = max(float(np.abs(s.var).max()) for s, _ in slopes)
    if not (np.isfinite(values).all() and eps > 0 and np.ptp(values) <= 1e-3 * eps + 1e-9 * scale):
        return []
    near = float(f"{eps:.1e}")
    eps = near if abs(near - eps) <= np.ptp(values) + 1e-6 * eps else eps
    return [Choice(f"{eps:.3g}", eps, 0.1)]


@bug(
    "BUG113",
    "eps-hard-coded",
    "eps is always {}, whatever it is set to",
    step="inv_std",
    wrong="inv_std = 1 / sqrt(var + {})",
    mend="use the eps that the caller gives",
    choices=_fixed_eps,
)
def eps_hard_coded(s: Steps, eps: float) -> Any:
    """A number stands where eps belongs.

    Why it happens
    --------------
    A constant that was convenient while the code was written; a default of another function that is called without it.

    By hand
    -------
    Set eps to 1, and take a channel of variance 3: inv_std is 1/2. Here it stays what it was.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return 1 / np.sqrt(s.var + eps)


_EPS = [
    Choice("2 eps", lambda s: 2 * s.eps),
    Choice("eps**2", lambda s: s.eps**2),
    Choice("sqrt(eps)", lambda s: np.sqrt(s.eps)),
    Choice("-eps", lambda s: -s.eps),
    Choice("m eps", lambda s: s.m * s.eps),
    Choice("eps / m", lambda s: s.eps / s.m),
]


@bug(
    "BUG114",
    "eps-changed",
    "{} is added to the variance, where eps belongs",
    step="inv_std",
    wrong="inv_std = 1 / sqrt(var + {})",
    mend="add eps to the variance, once",
    choices=_EPS,
)
def eps_changed(s: Steps, eps: Any) -> Any:
    """Something made of eps stands where eps belongs: twice eps, its square, its negative.

    Why it happens
    --------------
    Eps added where the variance is computed and again at the root; a sign.

    By hand
    -------
    A channel that is constant but for very little: inv_std is near 1 / sqrt(eps).

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1; chainer issue 4505.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 / np.sqrt(s.var + eps(s))


_POWERS = [
    Choice("1 / (var + eps)", -2, 0.0),
    Choice("1 / (var + eps)**2", -4, 0.1),
    Choice("1 / (var + eps)**(3/2)", -3, 0.1),
    Choice("sqrt(var + eps)", 1, 0.1),
    Choice("var + eps", 2, 0.1),
    Choice("1 / (var + eps)**(1/4)", -0.5, 0.1),
    Choice("1", 0, 0.1),
]


@bug(
    "BUG115",
    "power-of-variance",
    "x - mu is multiplied by {}, and not divided by the standard deviation",
    step="inv_std",
    wrong="xhat = (x - mu) * {}",
    right="xhat = (x - mu) / sqrt(var + eps)",
    mend="divide by the square root of var + eps",
    choices=_POWERS,
)
def power_of_variance(s: Steps, power: float) -> Any:
    """The variance for the standard deviation, or another power of it.

    Why it happens
    --------------
    A forgotten root; a root that is taken twice; a product where a quotient was meant.

    By hand
    -------
    Multiply x by 10, with eps near 0: xhat must not change.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1; jax issue 442.
    """
    return (s.var + s.eps) ** (power / 2)


_MIXED_POWERS = [
    Choice("1 / (std + eps)**2", lambda s: 1 / (np.sqrt(s.var) + s.eps) ** 2),
    Choice("1 / (var + eps**2)", lambda s: 1 / (s.var + s.eps**2)),
    Choice("1 / var", lambda s: 1 / s.var),
    Choice("1 / (sqrt(var + eps) + eps)", lambda s: 1 / (np.sqrt(s.var + s.eps) + s.eps)),
    Choice("1 / sqrt(std + eps)", lambda s: 1 / np.sqrt(np.sqrt(s.var) + s.eps)),
    Choice("1 / sqrt(sqrt(var + eps) + eps)", lambda s: 1 / np.sqrt(np.sqrt(s.var + s.eps) + s.eps)),
    Choice("1 / sqrt(var) + eps", lambda s: 1 / np.sqrt(s.var) + s.eps),
    Choice("1 / (sqrt(var) - eps)", lambda s: 1 / (np.sqrt(s.var) - s.eps)),
    Choice("1 / sqrt(var * eps)", lambda s: 1 / np.sqrt(s.var * s.eps)),
    Choice("1 / sqrt(var / eps)", lambda s: 1 / np.sqrt(s.var / s.eps)),
    Choice("1 / (sqrt(var) eps)", lambda s: 1 / (np.sqrt(s.var) * s.eps)),
    Choice("var", lambda s: s.var + 0 * s.gamma),
    Choice("sqrt(var)", lambda s: np.sqrt(s.var)),
    Choice("1 / mu", lambda s: 1 / s.mu),
    Choice("sqrt(var) + eps", lambda s: np.sqrt(s.var) + s.eps),
    Choice("eps", lambda s: s.eps + 0 * s.var),
]


@bug(
    "BUG116",
    "eps-and-root-mixed",
    "x - mu is multiplied by {}, and not by 1 / sqrt(var + eps)",
    step="inv_std",
    wrong="inv_std = {}",
    mend="add eps to the variance, then take the root, then divide",
    choices=_MIXED_POWERS,
)
def eps_and_root(s: Steps, value: Any) -> Any:
    """The root, the variance and eps are put together in another way.

    Why it happens
    --------------
    Brackets; a standard deviation that is taken for a variance and rooted again.

    By hand
    -------
    One channel with var = 3 and eps = 1: inv_std is 1/2.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return value(s)


@bug(
    "BUG117",
    "eps-after-division",
    "eps is added to the quotient: (x - mu) / sqrt(var) + eps",
    step="xhat",
    wrong="xhat = (x - mu) / sqrt(var) + eps",
    mend="add eps to the variance, inside the root; mind the brackets",
)
def eps_after_division(s: Steps) -> Any:
    """A bracket is missing, so that eps shifts xhat.

    Why it happens
    --------------
    ``(x - mu) / np.sqrt(var) + eps`` reads like the formula.

    By hand
    -------
    The mean of every channel of xhat is 0; here it is eps.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return s.centred / np.sqrt(s.var) + s.eps


# ------------------------------------------------------------------------------------------------------------ centring


@bug(
    "BUG121",
    "not-centred",
    "the mean is not subtracted from x",
    step="centred",
    wrong="xhat = x / sqrt(var + eps)",
    right="xhat = (x - mu) / sqrt(var + eps)",
    mend="subtract the mean of the channel",
)
def not_centred(s: Steps) -> Any:
    """X is scaled, and stays where it was.

    Why it happens
    --------------
    The variance is computed with the mean, and the numerator without it.

    By hand
    -------
    Add 5 to x: y must not change; the mean of every channel of y is beta.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return s.x


_CENTRES = [
    Choice("x + mu", lambda s: s.x + s.mu),
    Choice("mu - x", lambda s: s.mu - s.x),
    Choice("x * mu", lambda s: s.x * s.mu),
    Choice("x / mu", lambda s: s.x / s.mu),
    Choice("x - var", lambda s: s.x - s.mean((s.x - s.mu) ** 2)),
    Choice("x - sqrt(var + eps)", lambda s: s.x - np.sqrt(s.mean((s.x - s.mu) ** 2) + s.eps)),
    Choice("x - 2 mu", lambda s: s.x - 2 * s.mu),
    Choice("x - beta", lambda s: s.x - s.beta),
    Choice("x - gamma", lambda s: s.x - s.gamma),
    Choice("x - mu**2", lambda s: s.x - s.mu**2),
    Choice("abs(x - mu)", lambda s: absolute(s.x - s.mu)),
    Choice("(x - mu)**2", lambda s: (s.x - s.mu) ** 2),
]


@bug(
    "BUG122",
    "centred-wrongly",
    "the numerator is {}, and not x - mu",
    step="centred",
    wrong="xhat = ({}) / sqrt(var + eps)",
    right="xhat = (x - mu) / sqrt(var + eps)",
    mend="subtract the mean of the channel from x",
    choices=_CENTRES,
)
def centred_wrongly(s: Steps, value: Any) -> Any:
    """The mean is added, or subtracted the other way round.

    Why it happens
    --------------
    A sign that is lost in copying; or mu - x, which a square in the variance hides: only y shows it.

    By hand
    -------
    The largest value of a channel has the largest xhat, and the mean of xhat is 0.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return value(s)


@bug(
    "BUG123",
    "numerator-not-centred",
    "the mean is taken off for the variance, and not from the numerator",
    step="xhat",
    wrong="xhat = x / sqrt(var + eps)",
    mend="subtract the mean of the channel in the numerator too",
)
def numerator_not_centred(s: Steps) -> Any:
    """The variance is right, the numerator is x itself.

    Why it happens
    --------------
    ``x / np.sqrt(np.var(x, axis=0) + eps)``: the library takes the mean off for the variance alone.

    By hand
    -------
    Add 5 to x: y must not change; here it moves by 5 * gamma / sqrt(var + eps).

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return s.x * s.inv_std


@bug(
    "BUG124",
    "mean-subtracted-after-division",
    "the mean is subtracted after the division: x / std - mu",
    step="xhat",
    wrong="xhat = x / sqrt(var + eps) - mu",
    mend="subtract first, then divide; mind the brackets",
)
def mean_after_division(s: Steps) -> Any:
    """A bracket is missing around x - mu.

    Why it happens
    --------------
    ``x - mu / np.sqrt(...)`` and ``x / np.sqrt(...) - mu`` read like the formula.

    By hand
    -------
    The mean of every channel of xhat is 0.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return s.x * s.inv_std - s.mu


@bug(
    "BUG125",
    "mean-divided-alone",
    "the mean alone is divided by the standard deviation: x - mu / std",
    step="xhat",
    wrong="xhat = x - mu / sqrt(var + eps)",
    mend="put brackets around x - mu",
)
def mean_divided_alone(s: Steps) -> Any:
    """A bracket is missing around x - mu.

    Why it happens
    --------------
    In ``x - mu / np.sqrt(var + eps)`` the quotient binds before the difference.

    By hand
    -------
    Multiply x by 10, with eps near 0: xhat must not change.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1.
    """
    return s.x - s.mu * s.inv_std


# ------------------------------------------------------------------------------------------------------ gamma and beta

_AFFINE = [
    Choice("xhat + beta", lambda s: s.xhat + s.beta),
    Choice("gamma * xhat", lambda s: s.gamma * s.xhat),
    Choice("xhat", lambda s: s.xhat + 0 * s.gamma),
    Choice("gamma * (xhat + beta)", lambda s: s.gamma * (s.xhat + s.beta)),
    Choice("beta * xhat + gamma", lambda s: s.beta * s.xhat + s.gamma),
    Choice("gamma * xhat - beta", lambda s: s.gamma * s.xhat - s.beta),
    Choice("gamma * xhat * beta", lambda s: s.gamma * s.xhat * s.beta),
    Choice("gamma + xhat + beta", lambda s: s.gamma + s.xhat + s.beta),
    Choice("gamma * xhat + gamma", lambda s: s.gamma * s.xhat + s.gamma),
    Choice("beta * xhat + beta", lambda s: s.beta * s.xhat + s.beta),
    Choice("xhat / gamma + beta", lambda s: s.xhat / s.gamma + s.beta),
    Choice("gamma / xhat + beta", lambda s: s.gamma / s.xhat + s.beta),
    Choice("-gamma * xhat + beta", lambda s: s.beta - s.gamma * s.xhat),
    Choice("gamma**2 * xhat + beta", lambda s: s.gamma**2 * s.xhat + s.beta),
    Choice("abs(gamma) * xhat + beta", lambda s: absolute(s.gamma) * s.xhat + s.beta),
    Choice("max(gamma, 0) * xhat + beta", lambda s: np.maximum(s.gamma, 0) * s.xhat + s.beta),
    Choice("(1 + gamma) * xhat + beta", lambda s: (1 + s.gamma) * s.xhat + s.beta),
    Choice("gamma * xhat / beta", lambda s: s.gamma * s.xhat / s.beta),
    Choice("gamma * (xhat - beta)", lambda s: s.gamma * (s.xhat - s.beta)),
    Choice("gamma * x + beta", lambda s: s.gamma * s.x + s.beta),
    Choice("gamma * (x - mu) + beta", lambda s: s.gamma * s.centred + s.beta),
    Choice("gamma[0] * xhat + beta[0]", lambda s: s.gamma[:, :1] * s.xhat + s.beta[:, :1]),
    Choice("gamma[0] * xhat + beta", lambda s: s.gamma[:, :1] * s.xhat + s.beta),
    Choice("mean(gamma) * xhat + beta", lambda s: s.gamma.mean() * s.xhat + s.beta),
    Choice("beta", lambda s: 0 * s.xhat + s.beta, 0.5),
    Choice("gamma", lambda s: 0 * s.xhat + s.gamma),
    Choice("beta * xhat", lambda s: s.beta * s.xhat + 0 * s.gamma),
    Choice("xhat + gamma", lambda s: s.xhat + s.gamma),
    Choice("xhat - beta", lambda s: s.xhat - s.beta),
    Choice("gamma * xhat + 2 beta", lambda s: s.gamma * s.xhat + 2 * s.beta),
    Choice("gamma * xhat + abs(beta)", lambda s: s.gamma * s.xhat + absolute(s.beta)),
    Choice("gamma * xhat + beta**2", lambda s: s.gamma * s.xhat + s.beta**2),
    Choice("gamma * xhat + mean(beta)", lambda s: s.gamma * s.xhat + s.beta.mean()),
    Choice("gamma * xhat + mu", lambda s: s.gamma * s.xhat + s.mu),
    Choice("gamma * xhat**2 + beta", lambda s: s.gamma * s.xhat**2 + s.beta),
    Choice("gamma - xhat + beta", lambda s: s.gamma - s.xhat + s.beta),
]


@bug(
    "BUG131",
    "affine-part",
    "y is {}, and not gamma * xhat + beta",
    step="y",
    wrong="y = {}",
    mend="scale xhat by gamma, then add beta; one of each per channel",
    choices=_AFFINE,
)
def affine_part(s: Steps, value: Any) -> Any:
    """Scale and shift are missing, swapped, or in the wrong order.

    Why it happens
    --------------
    gamma = 1 and beta = 0, with which layers start, hide every one of these.

    By hand
    -------
    gamma = 2, beta = 3, xhat = -1: y = 1.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 1, last line.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return value(s)


@bug(
    "BUG132",
    "activation-inside",
    "y is cut off at 0",
    step="y",
    wrong="y = max(gamma * xhat + beta, 0)",
    mend="leave the activation to the layer that follows",
)
def activation_inside(s: Steps) -> Any:
    """A ReLU hides in the layer.

    Why it happens
    --------------
    The layer was cut out of a network where an activation followed.

    By hand
    -------
    Some y must be below 0 where beta is 0: about half of them.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.2: the nonlinearity follows the normalisation.
    """
    return np.maximum(s.right("y"), 0)


def _moved(start: float, *, mine: bool, unbiased: bool) -> Callable[[Steps], Any]:
    """Return running statistics after one update, the batch's weight the momentum or what it leaves."""

    def value(s: Steps) -> Any:
        weight = s.case.spec.momentum if mine else 1 - s.case.spec.momentum
        mu = s.mean(s.x)
        var = s.mean((s.x - mu) ** 2) * (s.m / (s.m - 1) if unbiased else 1.0)
        return weight * mu, (1 - weight) * start + weight * var

    return value


def _held() -> list[Choice]:
    """Return the running statistics of a fresh layer, as they start and after one update."""
    found = [
        Choice(f" of a fresh layer, mean 0 and variance {var:g}", lambda s, var=var: (0 * s.gamma, 0 * s.gamma + var))
        for var in (1.0, 0.0)
    ]
    for start in (1.0, 0.0):
        for mine in (True, False):
            for unbiased in (True, False):
                found.append(Choice(", just updated", _moved(start, mine=mine, unbiased=unbiased), 0.1))
    return found


_HELD = _held()


@bug(
    "BUG133",
    "running-statistics-in-training",
    "in training x is normalised with the running statistics{}",
    step="mu var",
    wrong="mu, var = running_mean, running_var",
    right="mu, var = mean(x), mean((x - mu)**2)",
    mend="use the batch's own statistics while training",
    choices=_HELD,
)
def running_in_training(s: Steps, value: Any) -> Any:
    """The statistics that inference uses are used while training.

    Why it happens
    --------------
    The flag of the mode is read the wrong way round, or not at all.

    By hand
    -------
    A fresh layer in training mode: the mean of every channel of y is beta.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2.
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
