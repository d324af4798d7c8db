"""Faults of the forward: what is called the mean, and what the variance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.steps import Steps, absolute


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
    """Return what m is mistaken for, where it differs from m: the batch, the channels, a channel's map or its side."""
    counts: dict[str, Callable[[Steps], int]] = {
        "N": lambda s: s.n,
        "C": lambda s: s.c,
        "m C": lambda s: s.m * s.c,
        "1": lambda s: 1,
        "H W": lambda s: s.m // s.n,
        "H": lambda s: s.x.shape[-2] if s.x.ndim > 3 else s.m,
        "W": lambda s: s.x.shape[-1] if s.x.ndim > 3 else s.m,
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
