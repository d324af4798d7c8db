"""Faults of the forward: what is taken off x, what gamma and beta do, which statistics are used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.steps import Steps, absolute


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
    Choice("x", lambda s: s.x + 0 * s.gamma),
    Choice("x + beta", lambda s: s.x + s.beta),
    Choice("gamma * x", lambda s: s.gamma * s.x),
    Choice("x - mu", lambda s: s.centred + 0 * s.gamma),
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


HELD = _held()


@bug(
    "BUG133",
    "running-statistics-in-training",
    "in training x is normalised with the running statistics{}",
    step="mu var",
    wrong="mu, var = running_mean, running_var",
    right="mu, var = mean(x), mean((x - mu)**2)",
    mend="use the batch's own statistics while training",
    choices=HELD,
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
