"""The layout is found from how gamma acts and from the gradients' shapes, never from the axis that is normalised."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.adapters.layouts import layout
from bncheck.errors import UsageError

# Statistics over `axes`, parameters' gradients over `sums`; gamma and beta are put in shape by `shaped`.
PAIR = """
def bn_forward(x, gamma, beta, eps=1e-5):
    {check}
    mu = x.mean(axis={axes}, keepdims=True); std = np.sqrt(x.var(axis={axes}, keepdims=True) + eps)
    xhat = (x - mu) / std
    g, b = {shaped}
    return g * xhat + b, (xhat, std, g)

def bn_backward(dout, cache):
    xhat, std, g = cache
    d = dout * g
    dx = (d - d.mean(axis={axes}, keepdims=True) - xhat * (d * xhat).mean(axis={axes}, keepdims=True)) / std
    return dx, {dgamma}, {dbeta}
"""


def pair(axes, sums=None, *, shaped="gamma, beta", check="pass", keep=False, dgamma=None, dbeta=None):
    how = f"axis={axes if sums is None else sums}, keepdims={keep}"
    return PAIR.format(
        axes=axes,
        shaped=shaped,
        check=check,
        dgamma=dgamma or f"(dout * xhat).sum({how})",
        dbeta=dbeta or f"dout.sum({how})",
    )


MAPS = "gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)"
ANY_LAST = "tuple(range(x.ndim - 1))"
RIGHT = {
    "NC": (pair(0), ("NC",), "(C,)"),
    "NC, rows": (pair(0, check="assert gamma.shape[0] == 1", keep=True), ("NC",), "(1, C)"),
    "CN": (pair(1, keep=True), ("CN",), "(C, 1)"),
    "CN, flat gradients": (pair(1), ("CN",), "(C, 1)"),
    "CN, flat parameters": (pair(1, shaped="gamma[:, None], beta[:, None]"), ("CN",), "(C,)"),
    "NCHW": (pair((0, 2, 3), shaped=MAPS), ("NCHW",), "(C,)"),
    "NCHW, four axes": (pair((0, 2, 3), keep=True), ("NCHW",), "(1, C, 1, 1)"),
    "NCHW, flat gradients": (pair((0, 2, 3)), ("NCHW",), "(1, C, 1, 1)"),
    "NHWC": (pair((0, 1, 2)), ("NHWC",), "(C,)"),
    "NHWC, four axes": (pair((0, 1, 2), keep=True, check="assert gamma.ndim == 4"), ("NHWC",), "(1, 1, 1, C)"),
    "NCL": (pair((0, 2), shaped="gamma[:, None], beta[:, None]"), ("NCL",), "(C,)"),
    "NDHWC": (pair((0, 1, 2, 3)), ("NDHWC",), "(C,)"),
    "any axes, channels last": (
        pair(0).replace("axis=0", "axis=tuple(range(xhat.ndim - 1))").replace("(xhat.ndim", "(x.ndim", 2),
        ("NC", "NLC", "NHWC", "NDHWC"), "(C,)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_right_ones(write, right, case):
    source, layouts, shape = RIGHT[case]
    conventions = right(write(source))
    assert (conventions.layouts, conventions.parameter_shape) == (layouts, shape)
    assert conventions.notes == ()


def test_two_and_four_axes(write, right):
    source = """
    def bn_forward(x, gamma, beta, eps=1e-5):
        if x.ndim == 4:
            n, c, h, w = x.shape
            y, cache = bn_forward(x.transpose(0, 2, 3, 1).reshape(-1, c), gamma, beta, eps)
            return y.reshape(n, h, w, c).transpose(0, 3, 1, 2), cache
        if x.ndim != 2:
            raise ValueError(x.ndim)
        std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
        return gamma * xhat + beta, (xhat, std, gamma)

    def bn_backward(dout, cache):
        if dout.ndim == 4:
            n, c, h, w = dout.shape
            dx, dgamma, dbeta = bn_backward(dout.transpose(0, 2, 3, 1).reshape(-1, c), cache)
            return dx.reshape(n, h, w, c).transpose(0, 3, 1, 2), dgamma, dbeta
        xhat, std, gamma = cache
        g = dout * gamma
        dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
        return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
    """
    assert right(write(source)).layouts == ("NC", "NCHW")


def wrong(source, write):
    (card,) = resolve.cards(write(source))
    return card.conventions


WRONG = {
    "layer norm": (pair(1, 0), ("NC",), "(C,)"),
    "layer norm of columns": (pair(0, 1, keep=True), ("CN",), "(C, 1)"),
    "instance norm": (pair((2, 3), (0, 2, 3), shaped=MAPS), ("NCHW",), "(C,)"),
    "per activation, channels last": (pair(0, (0, 1, 2), check="assert x.ndim == 4"), ("NHWC",), "(C,)"),
    "over everything": (pair(None, 0), ("NC",), "(C,)"),
    "dgamma unsummed": (pair(0, dgamma="dout * xhat"), ("NC",), "(C,)"),
    "dgamma a number": (pair(0, dgamma="(dout * xhat).sum()"), ("NC",), "(C,)"),
    "both unsummed": (pair(0, dgamma="dout * xhat", dbeta="dout"), ("NC",), "(C,)"),
    "features first, dgamma unsummed": (pair(1, dgamma="dout * xhat"), ("CN",), "(C, 1)"),
    "maps, dgamma unsummed": (pair((0, 2, 3), shaped=MAPS, dgamma="dout * xhat"), ("NCHW",), "(C,)"),
    "gamma unused": (pair(0, shaped="1.0 + 0 * gamma, beta"), ("NC",), "(C,)"),
    "beta unused": (pair(0, shaped="gamma, 0 * beta"), ("NC",), "(C,)"),
    "gamma missing from the end": (pair(0, shaped="np.append(gamma[:-1], 0), beta"), ("NC",), "(C,)"),
    "noise": (pair(0, shaped="gamma, beta + 1e-3 * np.random.normal(size=x.shape)"), ("NC",), "(C,)"),
    "backward raises": (pair(0, check="assert x.ndim == 2", dbeta="missing"), ("NC",), "(C,)"),
    "backward raises, maps": (pair((0, 2, 3), shaped=MAPS, dbeta="missing"), ("NCHW",), "(C,)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_ones_are_still_recognised(write, case):
    source, layouts, shape = WRONG[case]
    conventions = wrong(source, write)
    assert (conventions.layouts, conventions.parameter_shape) == (layouts, shape)


def test_y_of_a_wrong_shape_is_left_for_the_checks(write):
    assert wrong(pair(0).replace("return g * xhat + b,", "return (g * xhat + b)[:1],"), write).layouts == ("NC",)


def test_channels_mixed_by_a_reshape(write):
    source = (
        pair(0).replace("bn_", "_bn_")
        + """
def bn_forward(x, gamma, beta, eps=1e-5):
    N, C, H, W = x.shape
    out, cache = _bn_forward(x.reshape(N * H * W, C), gamma, beta, eps)
    return out.reshape(N, C, H, W), cache

def bn_backward(dout, cache):
    N, C, H, W = dout.shape
    dx, dgamma, dbeta = _bn_backward(dout.reshape(N * H * W, C), cache)
    return dx.reshape(N, C, H, W), dgamma, dbeta
"""
    )
    spec = write(source, "bn_forward")
    assert resolve.cards(spec)[0].conventions.layouts == ("NCHW",)


def two_and_four(axes_in, axes_out):
    """Return a pair for (N, C) that takes maps too, by a reshape to (-1, C) with the given transpositions."""
    return (
        pair(0).replace("bn_", "_bn_")
        + f"""
def bn_forward(x, gamma, beta, eps=1e-5):
    if x.ndim == 2:
        return _bn_forward(x, gamma, beta, eps)
    a = x.transpose{axes_in}
    out, cache = _bn_forward(a.reshape(-1, x.shape[1]), gamma, beta, eps)
    return out.reshape(a.shape).transpose{axes_out}, cache

def bn_backward(dout, cache):
    if dout.ndim == 2:
        return _bn_backward(dout, cache)
    a = dout.transpose{axes_in}
    dx, dgamma, dbeta = _bn_backward(a.reshape(-1, dout.shape[1]), cache)
    return dx.reshape(a.shape).transpose{axes_out}, dgamma, dbeta
"""
    )


@pytest.mark.parametrize(
    ("axes_in", "axes_out", "notes"),
    [
        ((0, 2, 3, 1), (0, 3, 1, 2), 0),
        ((0, 1, 2, 3), (0, 1, 2, 3), 1),
    ],
)
def test_maps_count_beside_rows_even_where_their_channels_are_mixed(write, axes_in, axes_out, notes):
    spec = write(two_and_four(axes_in, axes_out), "bn_forward")
    conventions = resolve.cards(spec)[0].conventions
    assert conventions.layouts == ("NC", "NCHW")
    assert len(conventions.notes) == notes


def test_rows_that_survive_four_axes_stay_rows(write):
    bare = pair(0, check="gamma = gamma.reshape(1, -1, *[1] * (x.ndim - 2)); beta = beta.reshape(gamma.shape)")
    assert wrong(bare, write).layouts == ("NC",)


TIE = pair(0, dgamma="missing", check="assert x.ndim == 2")


def test_a_tie_goes_to_channels_on_axis_1_and_is_said(write):
    conventions = wrong(TIE, write)
    assert conventions.layouts == ("NC",)
    assert conventions.notes == ("by the shapes CN would fit as well as NC; NC is assumed (--layout overrides it)",)


def test_a_given_layout_overrides(write):
    (card,) = resolve.cards(write(TIE, layout="CN"))
    assert card.conventions.layouts == ("CN",)
    assert card.conventions.notes == ()


def test_an_unknown_layout_is_answered_with_the_known_ones(write):
    with pytest.raises(UsageError, match=r"no layout is called 'NCXH'.*NCHW"):
        resolve.cards(write(pair(0), layout="NCXH"))


@pytest.mark.parametrize("name", ["NC", "CN", "NCL", "NLC", "NCHW", "NHWC", "NDHWC"])
def test_a_layout_there_and_back(name):
    place = layout(name)
    x = np.arange(5 ** len(name)).reshape([5] * len(name))[
        (slice(2), slice(3), slice(4), slice(5), slice(1))[: len(name)]
    ]
    assert place.user(x).shape[place.channel_axis] == 3
    np.testing.assert_array_equal(place.canonical(place.user(x)), x)
