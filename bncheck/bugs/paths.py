"""Faults of dx: the three paths on which dy reaches x."""

from __future__ import annotations

from typing import Any

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.cuts import LEFT, untouched
from bncheck.bugs.steps import Steps


@bug(
    "BUG211",
    "mean-path-dropped",
    "the path through the mean is missing in dx",
    step="mean_path",
    wrong="dx = gamma / sqrt(var + eps) * (dy - xhat * mean(dy * xhat))",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="subtract mean(dy) in the bracket; in stages: add dmu / m, where dmu is the derivative of the loss by mu",
)
def mean_path_dropped(s: Steps) -> Any:
    """The mean moves with x, and every xhat with the mean: that part of dx is left out.

    Why it happens
    --------------
    The mean is taken for a constant. A loss of sum(y²) with gamma = 1 and beta = 0 hides it.

    By hand
    -------
    The sum of every channel of dx is 0, whatever dy is. The stages of dx: bncheck explain gradients.

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
    mend="subtract xhat * mean(dy * xhat) in the bracket; in stages: add dvar * 2 (x - mu) / m, where dvar is the "
    "derivative of the loss by var",
)
def variance_path_dropped(s: Steps) -> Any:
    """The variance moves with x, and every xhat with the variance: that part of dx is left out.

    Why it happens
    --------------
    The standard deviation is taken for a constant. dy = 1 for every element hides it.

    By hand
    -------
    With eps = 0, sum(dx * xhat) is 0 in every channel, whatever dy is. The stages of dx: bncheck explain gradients.

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
    mend="add the paths through the mean and the variance; where a library differentiates, take neither out of its "
    "graph (.detach(), no_grad, stop_gradient)",
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
    Choice("(x - mu) * mean(dy * x) / (var + eps)", lambda s: s.back_centred * s.back_inv_std**2 * s.mean(s.dy * s.x)),
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
    mend="multiply dy by xhat, average per channel, multiply by xhat again; in stages: dvar * 2 (x - mu) / m, with "
    "dvar = sum(dxhat * (x - mu)) * (-1/2) * (var + eps)**(-3/2)",
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
