"""Faults of what the backward takes from the forward: gamma, the standard deviation, x - mu."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.deviation import one_eps
from bncheck.bugs.fits import direct_coefficient
from bncheck.bugs.forward import HELD
from bncheck.bugs.quantities import axes_of, other_axes
from bncheck.bugs.steps import Steps, absolute

_GAMMAS = [
    Choice("1", lambda s: 1 + 0 * s.gamma),
    Choice("gamma**2", lambda s: s.gamma**2),
    Choice("1 / gamma", lambda s: 1 / s.gamma),
    Choice("abs(gamma)", lambda s: absolute(s.gamma)),
    Choice("max(gamma, 0)", lambda s: np.maximum(s.gamma, 0)),
    Choice("beta", lambda s: s.beta),
    Choice("mean(gamma)", lambda s: s.gamma.mean() + 0 * s.gamma),
    Choice("gamma[0]", lambda s: s.gamma[:, :1] + 0 * s.gamma),
    Choice("-gamma", lambda s: -s.gamma),
]


@bug(
    "BUG201",
    "gamma-in-backward",
    "dx is computed with {} in the place of gamma",
    step="back_gamma",
    wrong="dxhat = dy * {}",
    mend="y = gamma * xhat + beta, so that dxhat = dy * gamma: once, and with its sign",
    choices=_GAMMAS,
)
def gamma_in_backward(s: Steps, value: Any) -> Any:
    """Gamma is missing in dx, or stands there twice, divided, without its sign.

    Why it happens
    --------------
    Gamma starts at 1, and tests use a fresh layer: every one of these is right there.

    By hand
    -------
    Double gamma: dx doubles, dgamma and dbeta stay. Change its sign: dx changes its sign.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, first line of the backward; Knet issue 288.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return value(s)


def _updated(samples: Sequence[Sample]) -> list[Choice]:
    """Return gamma after a step of gradient descent, where one rate gives that of every channel of every sample."""
    told = [(sample.steps, direct_coefficient(sample)) for sample in samples]
    if not told or any(direct is None for _, direct in told):
        return []
    found = []
    for text, count in (("rate * dgamma", lambda s: 1), ("rate * dgamma / m", lambda s: s.m)):
        with np.errstate(all="ignore"):
            rates = np.concatenate([np.ravel(s.gamma * (1 - d / s.inv_std) * count(s) / s.dgamma) for s, d in told])
        rate = float(np.median(rates))
        if np.isfinite(rates).all() and np.ptp(rates) <= _OF_RATE * abs(rate):
            found.append(Choice(f"(gamma - {text})", partial(_stepped, rate, count)))
    return found


# Rates that were measured agree to this; where a step is small, gamma less what it leaves has few digits.
_OF_RATE = 1e-6


def _stepped(rate: float, count: Callable[[Steps], int], s: Steps) -> Any:
    return s.gamma - rate * s.dgamma / count(s)


@bug(
    "BUG206",
    "gamma-already-updated",
    "dx is computed with gamma as the step has left it, {}, and not with the gamma of the forward",
    step="back_gamma",
    wrong="dxhat = dy * {}",
    mend="compute dx before gamma is changed, or keep the gamma of the forward in the cache",
    choices=_updated,
)
def gamma_already_updated(s: Steps, value: Any) -> Any:
    """The parameters take their step inside the backward, before dx is made.

    Why it happens
    --------------
    Layers that train themselves write ``self.gamma -= rate * dgamma`` where dgamma is computed, and dx comes last. A
    small rate hides it.

    By hand
    -------
    Set the rate to 0, then to 1: dx must not change.

    References
    ----------
    Ioffe & Szegedy 2015, section 3: all derivatives are taken at the same parameters.
    """
    return value(s)


def _back_eps(samples: Sequence[Sample]) -> list[Choice]:
    """Return an eps that the direct path of dx tells: dx is read off where dy reaches x by itself."""
    return one_eps([(sample.steps, direct_coefficient(sample)) for sample in samples])


@bug(
    "BUG202",
    "eps-hard-coded-in-backward",
    "the backward uses eps = {}, whatever eps is set to",
    step="back_inv_std",
    wrong="inv_std = 1 / sqrt(var + {})",
    mend="use the eps of the forward; best of all, keep its inv_std",
    choices=_back_eps,
)
def eps_hard_coded_in_backward(s: Steps, eps: float) -> Any:
    """A number stands in the backward where eps belongs.

    Why it happens
    --------------
    Eps did not make it into the cache, and a number was written down where the backward needs one.

    By hand
    -------
    Set eps to 1: dx must shrink as y does.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.
    """
    return 1 / np.sqrt(s.var + eps)


_INVERSES = [
    Choice("1 / sqrt(var)", lambda s: 1 / np.sqrt(s.var)),
    Choice("1 / (sqrt(var) + eps)", lambda s: 1 / (np.sqrt(s.var) + s.eps)),
    Choice(
        "1 / (var + eps)", lambda s: 1 / (s.var + s.eps), 0.0, "the backward divides by var + eps: the root is missing"
    ),
    Choice("1 / var", lambda s: 1 / s.var, 0.0, "the backward divides by var: root and eps are missing"),
    Choice(
        "sqrt(var + eps)",
        lambda s: np.sqrt(s.var + s.eps),
        0.0,
        "the backward multiplies by the standard deviation, sqrt(var + eps), where it should divide by it",
    ),
    Choice("1 / sqrt(var + 2 eps)", lambda s: 1 / np.sqrt(s.var + 2 * s.eps)),
    Choice("1 / sqrt(var + eps**2)", lambda s: 1 / np.sqrt(s.var + s.eps**2)),
    Choice("1 / sqrt(m var / (m - 1) + eps)", lambda s: 1 / np.sqrt(s.var * s.m / (s.m - 1) + s.eps)),
    Choice("1 / sqrt((m - 1) var / m + eps)", lambda s: 1 / np.sqrt(s.var * (s.m - 1) / s.m + s.eps)),
    Choice("1 / sqrt(var - eps)", lambda s: 1 / np.sqrt(s.var - s.eps)),
    Choice("1 / (sqrt(var + eps) + eps)", lambda s: 1 / (np.sqrt(s.var + s.eps) + s.eps)),
    Choice(
        "sqrt(var)",
        lambda s: np.sqrt(s.var),
        0.0,
        "the backward multiplies by sqrt(var), where it should divide by sqrt(var + eps)",
    ),
    Choice(
        "var + eps",
        lambda s: s.var + s.eps,
        0.0,
        "the backward multiplies by var + eps, where it should divide by its root",
    ),
    Choice("1", lambda s: 1 + 0 * s.var, 0.0, "the backward does not divide by the standard deviation"),
    Choice("1 / sqrt(mean(x**2) + eps)", lambda s: 1 / np.sqrt(s.mean(s.x**2) + s.eps)),
]


def _inverses(samples: Sequence[Sample]) -> list[Choice]:
    """Return other standard deviations: made of other parts, or taken over other axes."""
    found = list(_INVERSES)
    for name in other_axes([sample.steps.x.ndim for sample in samples]):
        if name != "nothing":
            found.append(Choice(f"1 / sqrt(var over {name} + eps)", partial(_over_axes, axes_of(name))))
    return found


def _over_axes(axes: Callable[[Steps], tuple[int, ...]], s: Steps) -> Any:
    over = axes(s)
    return 1 / np.sqrt(s.mean((s.x - s.mean(s.x, over)) ** 2, over) + s.eps)


@bug(
    "BUG203",
    "std-in-backward",
    "the backward divides by another standard deviation than the forward: it uses {}",
    step="back_inv_std",
    wrong="inv_std = {}",
    mend="use the inv_std of the forward; best of all, keep it in the cache",
    choices=_inverses,
)
def std_in_backward(s: Steps, value: Any) -> Any:
    """Eps is missing or outside of the root, the variance stands for its root, or it is the unbiased one.

    Why it happens
    --------------
    The backward computes the standard deviation anew. A small eps and unit variance hide it.

    By hand
    -------
    Multiply x by 10, with eps near 0: dx shrinks to a tenth.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return value(s)


def _of_held(held: Callable[[Steps], tuple[Any, Any]], s: Steps) -> Any:
    return 1 / np.sqrt(held(s)[1] + s.eps)


@bug(
    "BUG207",
    "running-variance-in-backward",
    "the backward divides by the standard deviation of running_var{}, and not by that of the batch",
    step="back_inv_std",
    wrong="inv_std = 1 / sqrt(running_var + eps)",
    right="inv_std = 1 / sqrt(var + eps)",
    mend="use the inv_std of the forward; best of all, keep it in the cache",
    choices=[
        Choice(", just updated" if held.cost else ", as it starts", partial(_of_held, held.value), 0.1 + held.cost)
        for held in HELD
    ],
)
def running_variance_in_backward(s: Steps, value: Any) -> Any:
    """The average over the batches before stands for the variance of the batch at hand.

    Why it happens
    --------------
    The cache holds running_var, or the backward reads it from the layer. Where a layer has trained for long on batches
    that are alike, the two are near each other.

    By hand
    -------
    A fresh layer, its running_var at 1: multiply x by 10, with eps near 0, and dx must shrink to a tenth.

    References
    ----------
    Ioffe & Szegedy 2015, section 3: sigma is that of the batch.
    """
    return value(s)


_CENTRED = [
    Choice("x", lambda s: s.x),
    Choice("(x - mu) / sqrt(var + eps)", lambda s: s.xhat),
    Choice("x + mu", lambda s: s.x + s.mu),
    Choice("y", lambda s: s.y),
    Choice("mu", lambda s: s.mu + 0 * s.x),
    Choice("dy", lambda s: s.dy),
    Choice("x - mean(x) over everything", lambda s: s.x - s.x.mean()),
    Choice("abs(x - mu)", lambda s: absolute(s.x - s.mu)),
]


@bug(
    "BUG204",
    "centred-in-backward",
    "the variance path of dx is computed with {} in the place of x - mu",
    step="back_centred",
    wrong="dvar = sum(dxhat * {}) * (-1/2) * (var + eps)**(-3/2), and {} once more in dx",
    right="dvar = sum(dxhat * (x - mu)) * (-1/2) * (var + eps)**(-3/2), and x - mu once more in dx",
    mend="keep x - mu in the cache, and use it in both places",
    choices=_CENTRED,
)
def centred_in_backward(s: Steps, value: Any) -> Any:
    """Another array stands for x - mu.

    Why it happens
    --------------
    The cache holds x; or names that differ by a letter.

    By hand
    -------
    Add 5 to x: dx must not change. With x in the place of x - mu it does, because the mean is still in it.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.
    """
    return value(s)


_KEPT_AS_XHAT = [
    Choice("(x - mu)", lambda s: s.back_centred),
    Choice("x", lambda s: s.x),
    Choice("y", lambda s: s.y),
    Choice("gamma * xhat", lambda s: s.gamma * s.xhat),
    Choice("(x - mu) / sqrt(var)", lambda s: s.back_centred / np.sqrt(s.var)),
    Choice("(x - mu) / (sqrt(var) + eps)", lambda s: s.back_centred / (np.sqrt(s.var) + s.eps)),
    Choice("(x - mu) / (var + eps)", lambda s: s.back_centred / (s.var + s.eps)),
    Choice("(x - mu) * sqrt(var + eps)", lambda s: s.back_centred * np.sqrt(s.var + s.eps)),
    Choice("abs(xhat)", lambda s: absolute(s.xhat)),
]


@bug(
    "BUG205",
    "xhat-in-backward",
    "the backward has {} in the place of xhat, in dgamma and in dx",
    step="back_xhat",
    wrong="dgamma = sum(dy * {}), and {} twice in the variance path of dx",
    right="dgamma = sum(dy * xhat), and xhat twice in the variance path of dx",
    mend="take the xhat of the forward, kept in the cache, or make it anew: (x - mu) / sqrt(var + eps)",
    choices=_KEPT_AS_XHAT,
)
def xhat_in_backward(s: Steps, value: Any) -> Any:
    """The backward takes another array for xhat, wherever it has one.

    Why it happens
    --------------
    The cache holds x - mu, x or y, and the backward unpacks it as xhat; gamma is multiplied in place into the array
    that was kept; or xhat is made anew, with another root.

    By hand
    -------
    Multiply x by 10, with eps near 0: dgamma must not change. Add 5 to x: neither must dx.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return value(s)
