"""Faults of the number that comes into the running variance: a root, eps, a wrong count, another power."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.memory import Remembering

_VAR = "running_var = k * running_var + (1 - k) * var"
_TAKEN = "running_var = k * running_var + (1 - k) * {}"


def _of_both(text: str, power: Any, cost: float = 0.0) -> list[Choice]:
    """Return a choice made of the variance over m, and the same made of that over m - 1."""
    return [
        Choice(text.format("var"), lambda s: power(s, s.var), cost),
        Choice(text.format("var * m / (m - 1)"), lambda s: power(s, s.var * s.m / (s.m - 1)), cost + 0.1),
    ]


@bug(
    "BUG624",
    "deviation-averaged",
    "running_var averages the standard deviation {} in the place of the variance",
    step="var_taken",
    wrong=_TAKEN,
    mend="average the variance; take the root when it is used",
    choices=[
        *_of_both("sqrt({})", lambda s, var: np.sqrt(var)),
        *_of_both("sqrt({} + eps)", lambda s, var: np.sqrt(var + s.eps)),
        *_of_both("sqrt({}) + eps", lambda s, var: np.sqrt(var) + s.eps),
    ],
)
def deviation_averaged(s: Remembering, value: Any) -> Any:
    """The root is taken before the update, and once more in inference.

    Why it happens
    --------------
    The forward has the standard deviation at hand, under a name like ``std`` or ``sqrtvar``.

    By hand
    -------
    Multiply x by 10: what comes into running_var is 100 times as much.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2: Var[x] is an average of variances.
    """
    return value(s)


@bug(
    "BUG625",
    "eps-in-running-variance",
    "running_var averages {}, with eps in it, and inference adds eps again",
    step="var_taken",
    wrong=_TAKEN,
    mend="average the variance alone; add eps when it is used",
    choices=[
        *_of_both("({} + eps)", lambda s, var: var + s.eps),
        *_of_both("({} - eps)", lambda s, var: var - s.eps, 0.2),
        Choice("(var + eps) * m / (m - 1)", lambda s: (s.var + s.eps) * s.m / (s.m - 1), 0.2),
        Choice("max(var, eps)", lambda s: np.maximum(s.var, s.eps), 0.3),
    ],
)
def eps_in_running_variance(s: Remembering, value: Any) -> Any:
    """Eps is counted twice in inference.

    Why it happens
    --------------
    ``var = x.var(axis=0) + eps`` is written once, and used for both.

    By hand
    -------
    Train on a batch with equal rows again and again: running_var comes to 0, and not to eps.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2; chainer issue 4505.
    """
    return value(s)


@bug(
    "BUG629",
    "bessel-factor",
    "running_var averages {}: the factor of the unbiased variance is wrong",
    step="var_taken",
    wrong=_TAKEN,
    right="running_var = k * running_var + (1 - k) * var * m / (m - 1)",
    mend="the unbiased variance is var * m / (m - 1), with the m values that one channel has in this batch",
    choices=[
        Choice("var * (m - 1) / m", lambda s: s.var * (s.m - 1) / s.m),
        Choice("var * (m / (m - 1))**2", lambda s: s.var * (s.m / (s.m - 1)) ** 2),
        Choice("var * N / (N - 1) with N rows, and not N·H·W", lambda s: s.var * s.n / (s.n - 1)),
        Choice("var * (m + 1) / m", lambda s: s.var * (s.m + 1) / s.m),
        Choice("var * m / (m + 1)", lambda s: s.var * s.m / (s.m + 1)),
        Choice("var * m / (m - 2)", lambda s: s.var * s.m / (s.m - 2), 0.1),
        Choice("var * m / (m - 1) with the first batch's m", lambda s: s.var * s.first.m / (s.first.m - 1), 0.1),
        Choice("var * m / (m - 1) with m of the batch before", lambda s: s.var * s.last.m / (s.last.m - 1), 0.2),
        Choice(
            "var * m C / (m C - 1) with the values of all channels", lambda s: s.var * s.m * s.c / (s.m * s.c - 1), 0.1
        ),
        Choice("var * C / (C - 1)", lambda s: s.var * s.c / (s.c - 1), 0.1),
        Choice("var / (m - 1)", lambda s: s.var / (s.m - 1), 0.1),
        Choice("var / m", lambda s: s.var / s.m, 0.1),
        Choice("var * m", lambda s: s.var * s.m, 0.1),
        Choice("var * (m - 1)", lambda s: s.var * (s.m - 1), 0.1),
        Choice("sum((x - mu)**2) / m with the first batch's m", lambda s: s.var * s.m / s.first.m, 0.2),
    ],
)
def bessel_factor(s: Remembering, value: Any) -> Any:
    """The count that a variance is divided by is not m and not m - 1.

    Why it happens
    --------------
    Bessel's factor is turned upside down, applied to what has it already, or made with N where H and W count, too.

    By hand
    -------
    Two rows, -1 and 1: the variance is 1 over m, and 2 over m - 1.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2: Var[x] = m / (m - 1) E[var].
    """
    return value(s)


def _other_numbers(samples: Sequence[Sample]) -> list[Choice]:
    return [
        *_of_both("1 / sqrt({} + eps)", lambda s, var: 1 / np.sqrt(var + s.eps)),
        *_of_both("({})**2", lambda s, var: var**2),
        *_of_both("1 / ({})", lambda s, var: 1 / var, 0.1),
        *_of_both("1 / ({} + eps)", lambda s, var: 1 / (var + s.eps), 0.1),
        *_of_both("1 / sqrt({})", lambda s, var: 1 / np.sqrt(var), 0.1),
        Choice("mean(abs(x - mu))", lambda s: s.mean(abs(s.centred))),
        Choice("mean(x - mu) = 0", lambda s: 0.0 * s.var, 0.3),
        Choice("the variance of the batch before", lambda s: s.last.var, 0.1),
        Choice("gamma", lambda s: s.gamma + 0.0 * s.var, 0.2),
        Choice("beta", lambda s: s.beta + 0.0 * s.var, 0.2),
        Choice("the first row of x", lambda s: s.x[:1].mean(axis=s.axes, keepdims=True), 0.2),
    ]


@bug(
    "BUG630",
    "running-variance-of-something-else",
    "running_var averages {} in the place of the batch's variance",
    step="var_taken",
    wrong=_TAKEN,
    mend="average var = mean((x - mu)**2), or that over m - 1",
    choices=_other_numbers,
)
def running_variance_of_something_else(s: Remembering, value: Any) -> Any:
    """Another number of the batch stands for its variance.

    Why it happens
    --------------
    The cache holds the inverse of the deviation, and its name does not say so.

    By hand
    -------
    Train on one batch again and again: running_var comes to np.var(x, axis=0).

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return value(s)
