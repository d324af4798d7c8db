"""Faults of the forward: where eps stands, and which root is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.steps import Array, Steps


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
    Choice("1 / sqrt(max(var, eps))", lambda s: 1 / np.sqrt(np.maximum(s.var, s.eps))),
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
