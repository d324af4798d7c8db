"""Faults of what comes into the running statistics: not the batch's mean, not its variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.memory import Remembering

_MEAN = "running_mean = k * running_mean + (1 - k) * mu"
_VAR = "running_var = k * running_var + (1 - k) * var"
_TAKEN = "running_var = k * running_var + (1 - k) * {}"


@bug(
    "BUG621",
    "statistics-swapped",
    "running_mean averages the variance, and running_var the mean",
    step="running_mean running_var",
    wrong="running_mean = k * running_mean + (1 - k) * var, and running_var with mu",
    right=f"{_MEAN}, and running_var with var",
    mend="swap the two where they are stored or handed back",
)
def statistics_swapped(s: Remembering) -> Any:
    """Each of the two averages what belongs into the other.

    Why it happens
    --------------
    Mean and variance come back from a function in the order that was not expected.

    By hand
    -------
    Add 100 to x: running_mean grows by some 100, and running_var does not change.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return s.mixed(s.old_mean, s.var_taken), s.mixed(s.old_var, s.mean_taken)


@bug(
    "BUG622",
    "statistics-stored-swapped",
    "running_mean and running_var change places in every update",
    step="running_mean running_var",
    wrong="running_var, running_mean = k * running_mean + (1 - k) * mu, k * running_var + (1 - k) * var",
    right=f"{_MEAN}, and running_var with var",
    mend="store each under its own name",
)
def stored_swapped(s: Remembering) -> Any:
    """Each of the two is stored under the other's name.

    Why it happens
    --------------
    Two values are assigned at once, in the wrong order.

    By hand
    -------
    Add 100 to x: running_mean grows by some 100, and running_var does not change.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return s.right("running_var"), s.right("running_mean")


@bug(
    "BUG623",
    "running-mean-of-something-else",
    "running_mean averages {} in the place of the batch's mean",
    step="mean_taken",
    wrong="running_mean = k * running_mean + (1 - k) * {}",
    mend="average mu, the mean of x over all axes but C",
    choices=[
        Choice("sum(x)", lambda s: s.sum(s.x)),
        Choice("var", lambda s: s.var),
        Choice("sqrt(var)", lambda s: np.sqrt(s.var), 0.1),
        Choice("sqrt(var + eps)", lambda s: np.sqrt(s.var + s.eps)),
        Choice("mean(xhat) = 0", lambda s: 0.0 * s.mu, 0.3),
        Choice("mean(y) = beta", lambda s: s.beta),
        Choice("mean(x**2)", lambda s: s.mean(s.x**2)),
        Choice("mean(abs(x))", lambda s: s.mean(abs(s.x))),
        Choice("mu**2", lambda s: s.mu**2, 0.1),
        Choice("gamma", lambda s: s.gamma),
        Choice("mu / sqrt(var + eps)", lambda s: s.mu * s.inv_std),
        Choice("the mean of the batch before", lambda s: s.last.mu),
        Choice("mu + eps", lambda s: s.mu + s.eps),
        Choice("the first row of x", lambda s: s.x[:1].mean(axis=s.axes, keepdims=True)),
        Choice("the last row of x", lambda s: s.x[-1:].mean(axis=s.axes, keepdims=True)),
        Choice("max(x)", lambda s: s.x.max(axis=s.axes, keepdims=True)),
        Choice("the median of x", lambda s: np.median(s.x, axis=s.axes, keepdims=True)),
        Choice("m * mu / (m - 1)", lambda s: s.mu * s.m / (s.m - 1)),
    ],
)
def running_mean_of_something_else(s: Remembering, value: Any) -> Any:
    """Another number of the batch stands for its mean.

    Why it happens
    --------------
    A name is set anew before the update reads it, or the wrong one of two is read.

    By hand
    -------
    Train on one batch again and again: running_mean comes to np.mean(x, axis=0).

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return value(s)


@bug(
    "BUG626",
    "running-variance-of-mean",
    "running_var averages {}: it is fed with the mean",
    step="var_taken",
    wrong=_TAKEN,
    mend="average the variance in the second line",
    choices=[
        Choice("mu", lambda s: s.mu),
        Choice("mu**2", lambda s: s.mu**2, 0.1),
        Choice("abs(mu)", lambda s: abs(s.mu), 0.2),
        Choice("running_mean as it was", lambda s: s.old_mean, 0.2),
        Choice("running_mean as updated already", lambda s: s.running_mean, 0.2),
    ],
)
def running_variance_of_mean(s: Remembering, value: Any) -> Any:
    """The line of the running mean stands twice.

    Why it happens
    --------------
    The line was copied, and one of its names was not changed.

    By hand
    -------
    Add 100 to x: running_var does not change.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return value(s)


@bug(
    "BUG627",
    "running-variance-about-other-mean",
    "running_var averages {}: squares that are not about the batch's own mean",
    step="var_taken",
    wrong=_TAKEN,
    mend="take the batch's own mean off before squaring",
    choices=[
        Choice("mean(x**2)", lambda s: s.mean(s.x**2)),
        Choice("mean((x - running_mean)**2) by the old running_mean", lambda s: s.mean((s.x - s.old_mean) ** 2)),
        Choice(
            "mean((x - running_mean)**2) by the running_mean updated already",
            lambda s: s.mean((s.x - s.running_mean) ** 2),
        ),
        Choice("sum(x**2)", lambda s: s.sum(s.x**2), 0.2),
        Choice("(mean(x**2) - running_mean**2)", lambda s: s.mean(s.x**2) - s.running_mean**2, 0.2),
        Choice("(mean(x**2) - running_mean**2) by the old running_mean", lambda s: s.mean(s.x**2) - s.old_mean**2, 0.3),
        Choice("(mean(x**2) - mu)", lambda s: s.mean(s.x**2) - s.mu, 0.3),
    ],
)
def about_other_mean(s: Remembering, value: Any) -> Any:
    """The mean is not taken off, or it is that of other batches.

    Why it happens
    --------------
    running_mean is at hand, and is updated first.

    By hand
    -------
    Add 100 to x: what comes into running_var does not change.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2: an average of the batches' own variances.
    """
    return value(s)


@bug(
    "BUG628",
    "running-variance-of-normalised",
    "running_var averages {}: it is taken after normalising",
    step="var_taken",
    wrong=_TAKEN,
    mend="take the variance of x, before it is normalised",
    choices=[
        Choice("var(xhat)", lambda s: s.mean((s.xhat - s.mean(s.xhat)) ** 2)),
        Choice("var(y)", lambda s: s.mean((s.y - s.mean(s.y)) ** 2)),
        Choice("var(xhat) over m - 1", lambda s: s.sum((s.xhat - s.mean(s.xhat)) ** 2) / (s.m - 1), 0.1),
        Choice("var(y) over m - 1", lambda s: s.sum((s.y - s.mean(s.y)) ** 2) / (s.m - 1), 0.1),
    ],
)
def of_normalised(s: Remembering, value: Any) -> Any:
    """What is normalised has a variance near 1, whatever the batch.

    Why it happens
    --------------
    x is set anew, ``x = (x - mu) / std``, and then the update reads x.

    By hand
    -------
    Multiply x by 10: what comes into running_var is 100 times as much.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2.
    """
    return value(s)
