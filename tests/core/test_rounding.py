"""Rounding bounds, element by element, as their docstring writes them."""

import math

import numpy as np
import pytest

from bncheck.core.reference import forward
from bncheck.core.rounding import UNBOUNDED, rounding_bounds, statistics_bounds
from bncheck.errors import ShapeError

EPS, U, TINY = 0.25, 2.0**-11, 2.0**-24


def arrays(m):
    rng = np.random.default_rng(m)
    gamma, beta = np.array([1.5, -0.75]), np.array([-2.0, 0.5])
    return rng.normal(2.0, 1.0, (m, 2)), gamma, beta, rng.normal(size=(m, 2))


def by_hand(x, gamma, beta, dy, u, tiny, *, one_pass):
    """The bounds of one channel, from lists of numbers: the docstring's lines in its order, then twice the sum."""
    m = len(x)
    v = (m + 2) * u
    g = v / (1 - v) if v < 0.5 else UNBOUNDED
    mu = math.fsum(x) / m
    var = math.fsum((value - mu) ** 2 for value in x) / m
    inv_std = 1 / math.sqrt(var + EPS)
    xhat = [abs(value - mu) * inv_std for value in x]
    d_mu = g * math.fsum(map(abs, x)) / m
    d_var = (g + 4 * u) * var + 2 * d_mu * math.sqrt(var) + d_mu**2
    if one_pass:
        d_var += 2 * g * math.fsum(value**2 for value in x) / m
    q = (d_var + tiny) / (var + EPS)
    r = (1 / math.sqrt(1 - q) - 1 if q < 0.5 else UNBOUNDED) + 3 * u
    gamma, beta, dy = abs(gamma), abs(beta), [abs(value) for value in dy]
    d_xhat = [(d_mu + u * h / inv_std) * inv_std + h * (r + u) for h in xhat]
    d_y = [
        gamma * d
        + 3 * u * gamma * inv_std * (abs(value) + abs(mu))
        + 2 * u * (gamma * h + beta)
        + 2 * tiny * (1 + gamma)
        for d, h, value in zip(d_xhat, xhat, x, strict=True)
    ]
    of_dy = math.fsum(dy) / m
    of_dy_xhat = math.fsum(a * h for a, h in zip(dy, xhat, strict=True)) / m
    of_dy_d_xhat = math.fsum(a * d for a, d in zip(dy, d_xhat, strict=True)) / m
    d_dgamma = m * g * of_dy_xhat + m * of_dy_d_xhat + m * tiny * (1 + inv_std)
    d_dbeta = m * g * of_dy + m * tiny
    underflow = 2 * tiny * (1 + gamma) * (1 + inv_std) ** 2
    d_dx = [
        gamma
        * inv_std
        * (
            g * of_dy
            + d * of_dy_xhat
            + h * (g * of_dy_xhat + of_dy_d_xhat)
            + d_mu * inv_std * of_dy_xhat
            + (3 * r + 4 * u) * (a + of_dy + h * of_dy_xhat)
        )
        + underflow * (1 + (1 + inv_std) * h)
        for d, h, a in zip(d_xhat, xhat, dy, strict=True)
    ]
    doubled = {"y": [2 * d for d in d_y], "dx": [2 * d for d in d_dx], "dgamma": 2 * d_dgamma, "dbeta": 2 * d_dbeta}
    return doubled, 2 * d_mu, 2 * d_var


@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("tiny", [0.0, TINY])
@pytest.mark.parametrize("m", [1, 3, 8, 1100])
def test_bounds_are_what_the_docstring_says(m, tiny, one_pass):
    x, gamma, beta, dy = arrays(m)
    found = rounding_bounds(x, gamma, beta, dy, EPS, U, tiny=tiny, one_pass=one_pass)
    for c in range(2):
        channel = x[:, c].tolist(), gamma[c], beta[c], dy[:, c].tolist()
        wanted, _, _ = by_hand(*channel, U, tiny, one_pass=one_pass)
        for name, want in wanted.items():
            np.testing.assert_allclose(getattr(found, name)[..., c], want, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("one_pass", [False, True])
@pytest.mark.parametrize("m", [1, 8])
def test_bounds_of_mean_and_variance_are_the_same(m, one_pass):
    x, gamma, beta, dy = arrays(m)
    found = statistics_bounds(x, U, one_pass=one_pass)
    for c in range(2):
        _, mean, var = by_hand(x[:, c].tolist(), gamma[c], beta[c], dy[:, c].tolist(), U, 0.0, one_pass=one_pass)
        assert found.mean[c] == pytest.approx(mean, rel=1e-12)
        assert found.var[c] == pytest.approx(var, rel=1e-12)


def test_statistics_are_of_the_axes_that_are_named():
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    flat = statistics_bounds(np.moveaxis(x, 1, -1).reshape(6, 4), U)
    for one, other in zip(statistics_bounds(x, U, (0, 2)), flat, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
        assert one.shape == (4,)


@pytest.mark.parametrize(("m", "bounded"), [(1021, True), (1022, False)])
def test_half_of_v_is_where_nothing_is_left(m, bounded):
    """v is (m + 2) u: 1023/2048 is below one half, 1024/2048 is not."""
    bound = statistics_bounds(np.ones((m, 1)), U).mean[0]
    assert bound == (pytest.approx(2 * 1023 / 1025, rel=1e-12) if bounded else 2 * UNBOUNDED)


def test_bounds_of_maps_are_those_of_their_elements_side_by_side():
    """Whether the forward is handed over or not."""
    (x, dy), gamma, beta = np.random.default_rng(0).normal(1.0, 1.0, size=(2, 3, 2, 4)), [1.5, -0.75], [-2.0, 0.5]

    def flat(a):
        return np.moveaxis(a, 1, -1).reshape(12, 2)

    want = rounding_bounds(flat(x), gamma, beta, flat(dy), EPS, U)
    for fwd in (None, forward(x, gamma, beta, EPS, (0, 2))):
        found = rounding_bounds(x, gamma, beta, dy, EPS, U, (0, 2), fwd=fwd)
        np.testing.assert_allclose(flat(found.y), want.y, rtol=1e-12)
        np.testing.assert_allclose(flat(found.dx), want.dx, rtol=1e-12)
        np.testing.assert_allclose(found[2:], want[2:], rtol=1e-12)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"gamma": np.ones(3)}, r"gamma has shape \(3,\), but one entry per channel is shape \(2,\)"),
        ({"beta": np.ones(1)}, r"beta has shape \(1,\), but one entry per channel is shape \(2,\)"),
        ({"dy": np.ones((1, 2))}, r"dy has shape \(1, 2\), but x has shape \(3, 2\)"),
    ],
)
def test_what_does_not_fit_is_told_by_its_name(changed, said):
    fwd = forward(np.ones((3, 2)), [1, 1], [0, 0], EPS)
    given = {"x": np.ones((3, 2)), "gamma": np.ones(2), "beta": np.ones(2), "dy": np.ones((3, 2))} | changed
    for known in (fwd, None) if "dy" in changed else (fwd,):
        with pytest.raises(ShapeError, match=said):
            rounding_bounds(**given, eps=EPS, u=U, fwd=known)
