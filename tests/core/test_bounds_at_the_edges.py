"""Rounding bounds where first order ends: underflow, nothing left of the variance, more terms than digits."""

import numpy as np
import pytest

from bncheck.core import reference as ref
from bncheck.core import rounding
from bncheck.errors import ShapeError

U16, TINY16 = 2.0**-11, 2.0**-24


def _half_precision_step(x, gamma, beta, dy, eps):
    """A staged training step, every operation in float16."""
    half, m = np.float16, np.float16(len(x))
    mu = np.add.reduce(x, axis=0, dtype=half) / m
    xc = x - mu
    var = np.add.reduce(xc * xc, axis=0, dtype=half) / m
    inv_std = half(1) / np.sqrt(var + half(eps))
    xhat = xc * inv_std
    dxhat = dy * gamma
    dvar = np.add.reduce(dxhat * xc, axis=0, dtype=half) * half(-0.5) * inv_std**3
    dmu = -np.add.reduce(dxhat * inv_std, axis=0, dtype=half)
    dx = dxhat * inv_std + dvar * half(2) * xc / m + dmu / m
    return {
        "y": gamma * xhat + beta,
        "dx": dx,
        "dgamma": np.add.reduce(dy * xhat, axis=0, dtype=half),
        "dbeta": np.add.reduce(dy, axis=0, dtype=half),
    }


def _worst(dy_scale, *, tiny):
    rng = np.random.default_rng(31)
    worst = 0.0
    for _ in range(300):
        m = int(rng.integers(2, 20))
        x, dy = (rng.integers(-1024, 1024, (m, 16)) / 512 for _ in range(2))
        gamma, beta = rng.integers(1, 64, 16) / 32, rng.integers(-64, 64, 16) / 64
        x, dy, gamma, beta = (a.astype(np.float16) for a in (x, dy * dy_scale, gamma, beta))
        fwd = ref.forward(x, gamma, beta, 0.125)
        want = {"y": fwd.y, **ref.backward(dy, fwd, gamma)._asdict()}
        bounds = rounding.rounding_bounds(x, gamma, beta, dy, 0.125, U16, tiny=tiny)
        for name, value in _half_precision_step(x, gamma, beta, dy, 0.125).items():
            worst = max(worst, float((np.abs(value.astype(float) - want[name]) / getattr(bounds, name)).max()))
    return worst


@pytest.mark.parametrize("dy_scale", [1.0, 1e-3, 1e-5, 1e-6])
def test_underflow_in_half_precision_is_covered(dy_scale):
    assert _worst(dy_scale, tiny=TINY16) <= 1


def test_without_the_underflow_term_it_would_not_be():
    assert _worst(1e-5, tiny=0.0) > 1


def test_where_the_variance_is_lost_there_is_no_bound():
    x = 1e4 + np.arange(5.0)[:, None]
    one_pass = rounding.rounding_bounds(x, [1.0], [0.0], x, 1e-5, 2.0**-24, one_pass=True)
    two_pass = rounding.rounding_bounds(x, [1.0], [0.0], x, 1e-5, 2.0**-24)
    assert (one_pass.y[1] >= rounding.UNBOUNDED).all()
    assert (two_pass.y < 0.1).all()


def test_more_terms_than_digits_have_no_bound():
    x = np.arange(1100.0)[:, None]
    assert (rounding.rounding_bounds(x, [1.0], [0.0], x, 1e-3, U16).dgamma >= rounding.UNBOUNDED).all()


@pytest.mark.parametrize("axes", [(2,), (0, 0), (0, -2), (-3,)])
def test_axes_must_be_axes(axes):
    with pytest.raises(ShapeError, match="axes"):
        ref.forward(np.ones((4, 3)), np.ones(3), np.ones(3), 1e-5, axes)


def test_an_empty_batch_is_refused():
    with pytest.raises(ShapeError, match="empty"):
        ref.forward(np.ones((0, 3)), np.ones(3), np.ones(3), 1e-5)


def test_bounds_refuse_a_dy_of_another_shape():
    with pytest.raises(ShapeError, match="dy has shape"):
        rounding.rounding_bounds(np.ones((4, 3)), np.ones(3), np.ones(3), np.ones((1, 3)), 1e-5, U16)


def test_chainer_keeps_one_value_finite():
    fwd = ref.forward([[2.0]], [1.0], [0.0], 1e-5)
    rule = ref.RUNNING_RULES["chainer"]
    assert ref.update_running(ref.start_running(rule, (1,)), fwd, rule, 0.9).var == pytest.approx([0.9])
