"""Faults of the backward: what it takes from the forward, and the three paths on which dy reaches x."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.forward import LEFT, one_eps, untouched
from bncheck.bugs.quantities import axes_of, other_axes
from bncheck.bugs.steps import Steps, absolute
from bncheck.bugs.terms import direct_coefficient

# --------------------------------------------------------------------------------------- what the backward begins with

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
    Choice("1 / (var + eps)", lambda s: 1 / (s.var + s.eps)),
    Choice("1 / var", lambda s: 1 / s.var),
    Choice("sqrt(var + eps)", lambda s: np.sqrt(s.var + s.eps)),
    Choice("1 / sqrt(var + 2 eps)", lambda s: 1 / np.sqrt(s.var + 2 * s.eps)),
    Choice("1 / sqrt(var + eps**2)", lambda s: 1 / np.sqrt(s.var + s.eps**2)),
    Choice("1 / sqrt(m var / (m - 1) + eps)", lambda s: 1 / np.sqrt(s.var * s.m / (s.m - 1) + s.eps)),
    Choice("1 / sqrt((m - 1) var / m + eps)", lambda s: 1 / np.sqrt(s.var * (s.m - 1) / s.m + s.eps)),
    Choice("1 / sqrt(var - eps)", lambda s: 1 / np.sqrt(s.var - s.eps)),
    Choice("1 / (sqrt(var + eps) + eps)", lambda s: 1 / (np.sqrt(s.var + s.eps) + s.eps)),
    Choice("sqrt(var)", lambda s: np.sqrt(s.var)),
    Choice("var + eps", lambda s: s.var + s.eps),
    Choice("1", lambda s: 1 + 0 * s.var),
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


# ------------------------------------------------------------------------------------------------------------ the paths


@bug(
    "BUG211",
    "mean-path-dropped",
    "the path through the mean is missing in dx",
    step="mean_path",
    wrong="dx = gamma / sqrt(var + eps) * (dy - xhat * mean(dy * xhat))",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="subtract mean(dy) in the bracket; in stages: add dmu / m",
)
def mean_path_dropped(s: Steps) -> Any:
    """X moves the mean, the mean moves every xhat: that part of dx is left out.

    Why it happens
    --------------
    The mean is taken for a constant. A loss of sum(y²) with gamma = 1 and beta = 0 hides it.

    By hand
    -------
    The sum of every channel of dx is 0, whatever dy is.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dmu.
    """
    return 0 * s.right("mean_path")


@bug(
    "BUG212",
    "variance-path-dropped",
    "the path through the variance is missing in dx",
    step="variance_path",
    wrong="dx = gamma / sqrt(var + eps) * (dy - mean(dy))",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="subtract xhat * mean(dy * xhat) in the bracket; in stages: add dvar * 2 (x - mu) / m",
)
def variance_path_dropped(s: Steps) -> Any:
    """X moves the variance, the variance scales every xhat: that part of dx is left out.

    Why it happens
    --------------
    The standard deviation is taken for a constant. dy = 1 for every element hides it.

    By hand
    -------
    With eps = 0, sum(dx * xhat) is 0 in every channel, whatever dy is.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dsigma².
    """
    return 0 * s.right("variance_path")


@bug(
    "BUG213",
    "statistics-as-constants",
    "mean and variance are taken for constants: both of their paths are missing in dx",
    step="variance_path mean_path",
    wrong="dx = dy * gamma / sqrt(var + eps)",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="add the paths through the mean and the variance; what is there is the gradient of eval mode",
)
def statistics_as_constants(s: Steps) -> Any:
    """Dx is that of a layer whose statistics are given.

    Why it happens
    --------------
    The gradient of inference is used in training; or statistics are detached from the graph.

    By hand
    -------
    The sum of every channel of dx is 0, whatever dy is.

    References
    ----------
    Ioffe & Szegedy 2015, section 3; CrypTen issue 143.
    """
    return 0 * s.right("variance_path"), 0 * s.right("mean_path")


@bug(
    "BUG229",
    "variance-path-alone",
    "only the variance path is left in dx: dy - mean(dy) is missing, or it is dy - dy, with nothing averaged",
    step="direct_path mean_path",
    wrong="dx = gamma / sqrt(var + eps) * (dy - dy - xhat * mean(dy * xhat))",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="begin the bracket with dy - mean(dy), the mean taken per channel",
)
def variance_path_alone(s: Steps) -> Any:
    """The direct path and the path through the mean cancel, or neither is there.

    Why it happens
    --------------
    The sum of the mean path was lost, so that dy is subtracted from itself; or both were dropped with one term.

    By hand
    -------
    With a batch so large that the means vanish, dx is dy * gamma / std.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dx.
    """
    return 0 * s.right("direct_path"), 0 * s.right("mean_path")


@bug(
    "BUG214",
    "direct-path-dropped",
    "the direct path, dy by itself, is missing in dx",
    step="direct_path",
    wrong="dx = gamma / sqrt(var + eps) * (-mean(dy) - xhat * mean(dy * xhat))",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="add dxhat / sqrt(var + eps)",
)
def direct_path_dropped(s: Steps) -> Any:
    """Dx holds the corrections alone.

    Why it happens
    --------------
    An intermediate that is overwritten in place of added to.

    By hand
    -------
    With a batch so large that the means vanish, dx is dy * gamma / std.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.
    """
    return 0 * s.right("direct_path")


@bug(
    "BUG215",
    "dvar-in-place-of-dmu",
    "dvar stands where dmu belongs in dx",
    step="mean_path",
    wrong="dx = dxhat / sqrt(var + eps) + dvar * 2 (x - mu) / m + dvar / m",
    right="dx = dxhat / sqrt(var + eps) + dvar * 2 (x - mu) / m + dmu / m",
    mend="the last term is dmu / m",
)
def dvar_for_dmu(s: Steps) -> Any:
    """The last term of the staged formula has the wrong name.

    Why it happens
    --------------
    A widely read transcription of the paper prints it so, together with a wrong sign of the first term.

    By hand
    -------
    The sum of every channel of dx is 0, whatever dy is.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dx.
    """
    return s.dvar / s.m


@bug(
    "BUG216",
    "dmu-in-place-of-dvar",
    "dmu stands where dvar belongs in dx",
    step="variance_path",
    wrong="dx = dxhat / sqrt(var + eps) + dmu * 2 (x - mu) / m + dmu / m",
    right="dx = dxhat / sqrt(var + eps) + dvar * 2 (x - mu) / m + dmu / m",
    mend="the term with x - mu is multiplied by dvar",
)
def dmu_for_dvar(s: Steps) -> Any:
    """The middle term of the staged formula has the wrong name.

    Why it happens
    --------------
    dmu and dvar differ by a letter or two, have the same shape, and stand in neighbouring terms.

    By hand
    -------
    With eps = 0, sum(dx * xhat) is 0 in every channel, whatever dy is.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dx.
    """
    return s.dmu * 2 * s.back_centred / s.m


_MEANS = [
    Choice("mean(dy * xhat)", lambda s: s.mean(s.dy * s.back_xhat)),
    Choice("mean(dy * x)", lambda s: s.mean(s.dy * s.x)),
    Choice("mean(x)", lambda s: s.mean(s.x)),
    Choice("mean(dx)", lambda s: s.mean(s.direct_path + s.variance_path)),
    Choice("mean(dy) xhat", lambda s: s.mean(s.dy) * s.back_xhat),
]


@bug(
    "BUG217",
    "mean-path-of-something-else",
    "the mean path of dx subtracts {}, and not mean(dy)",
    step="mean_path",
    wrong="dx = gamma / sqrt(var + eps) * (dy - {} - xhat * mean(dy * xhat))",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="sum dxhat per channel: over N, and over H and W where there are any",
    choices=_MEANS,
)
def mean_path_of_something_else(s: Steps, value: Any) -> Any:
    """Another mean is subtracted.

    Why it happens
    --------------
    A mean over other axes has a shape that broadcasts; or another array of the same shape has a similar name.

    By hand
    -------
    The sum of every channel of dx is 0, whatever dy is.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dmu.
    """
    return -s.back_gamma * s.back_inv_std * value(s)


_VARIANCES = [
    Choice("xhat * mean(dy)", lambda s: s.back_xhat * s.mean(s.dy)),
    Choice("x * mean(dy * xhat)", lambda s: s.x * s.mean(s.dy * s.back_xhat)),
    Choice("(x - mu) * mean(dy * x)", lambda s: s.back_centred * s.back_inv_std**2 * s.mean(s.dy * s.x)),
    Choice("x * mean(dy * (x - mu)) / (var + eps)", lambda s: s.x * s.back_inv_std**2 * s.mean(s.dy * s.back_centred)),
    Choice("xhat * mean(dy) * mean(xhat * dy)", lambda s: s.back_xhat * s.mean(s.dy) * s.mean(s.dy * s.back_xhat)),
    Choice("mean(dy * xhat)", lambda s: s.mean(s.dy * s.back_xhat)),
    Choice("dy * mean(dy * xhat)", lambda s: s.dy * s.mean(s.dy * s.back_xhat)),
    Choice("xhat", lambda s: s.back_xhat),
    Choice("xhat * dy", lambda s: s.back_xhat * s.dy),
    Choice("xhat**2 * dy", lambda s: s.back_xhat**2 * s.dy),
    Choice("xhat * mean(xhat)", lambda s: s.back_xhat * s.mean(s.back_xhat)),
    Choice("xhat * mean(dy * y)", lambda s: s.back_xhat * s.mean(s.dy * s.y)),
    Choice("y * mean(dy * xhat)", lambda s: s.y * s.mean(s.dy * s.back_xhat)),
]


@bug(
    "BUG218",
    "variance-path-of-something-else",
    "the variance path of dx subtracts {}, and not xhat * mean(dy * xhat)",
    step="variance_path",
    wrong="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - {})",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="multiply dy by xhat, average per channel, multiply by xhat again",
    choices=_VARIANCES,
)
def variance_path_of_something_else(s: Steps, value: Any) -> Any:
    """Another product is subtracted.

    Why it happens
    --------------
    Axes; x for xhat; one of the two factors xhat is lost.

    By hand
    -------
    With eps = 0, sum(dx * xhat) is 0 in every channel, whatever dy is.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dsigma².
    """
    return -s.back_gamma * s.back_inv_std * value(s)


_DX = [
    Choice("dy", lambda s: s.dy),
    Choice("dy * gamma", lambda s: s.dy * s.gamma),
    Choice("dy / sqrt(var + eps)", lambda s: s.dy * s.inv_std),
    Choice("gamma / sqrt(var + eps)", lambda s: s.gamma * s.inv_std + 0 * s.dy),
    Choice("0", lambda s: 0 * s.dy),
    Choice("dy * xhat", lambda s: s.dy * s.xhat),
    Choice("clip(dx, -1, 1)", lambda s: np.clip(s.right("dx"), -1, 1)),
]


@bug(
    "BUG219",
    "dx-is-something-else",
    "dx is {}",
    step="dx",
    wrong="dx = {}",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="write dx in stages: dxhat, dvar, dmu, and the three paths",
    choices=_DX,
)
def dx_is_something_else(s: Steps, value: Any) -> Any:
    """Nothing of the formula is there.

    Why it happens
    --------------
    A placeholder that was never filled in; or an intermediate is returned, and dx is computed and dropped.

    By hand
    -------
    The sum of every channel of dx is 0, whatever dy is.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.
    """
    return value(s)


@bug(
    "BUG228",
    "dx-left-out",
    "{} of dx is 0: it is left out",
    step="dx",
    wrong="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat)), but 0 in {}",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="mind where the loop over rows or channels ends",
    choices=LEFT,
)
def dx_left_out(s: Steps, place: tuple[int, int]) -> Any:
    """A loop does not reach the end.

    Why it happens
    --------------
    ``range(c - 1)``, blocks of a kernel that do not cover all channels.

    By hand
    -------
    Look for zeros at the end of dx.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dx.
    """
    return untouched(s.right("dx"), place)
