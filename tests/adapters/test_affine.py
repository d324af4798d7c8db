"""Code that does without gamma or beta: what bncheck applies itself runs along the channels, whatever their axis."""

import numpy as np
import pytest

from bncheck.session import Setup

ONE_PARAMETER = """
def scale_bn(x, g, eps=1e-5):
    mu, var = x.mean(axis={over}, keepdims=True), x.var(axis={over}, keepdims=True)
    inv_std = 1 / np.sqrt(var + eps)
    xhat = (x - mu) * inv_std
    return xhat {forward}, (xhat, inv_std, g)

def scale_bn_backward(dy, cache):
    xhat, inv_std, g = cache
    d = dy {backward}
    dx = inv_std * (d - d.mean(axis={over}, keepdims=True) - xhat * (d * xhat).mean(axis={over}, keepdims=True))
    return dx, {gradient}
"""
GAMMA = {
    "forward": "* g.reshape(1, -1, 1, 1)",
    "backward": "* g.reshape(1, -1, 1, 1)",
    "gradient": "(dy * xhat).sum(axis=(0, 2, 3))",
}
BETA = {"forward": "+ g.reshape(1, -1, 1, 1)", "backward": "", "gradient": "dy.sum(axis=(0, 2, 3))"}
MAPS = np.array([1.0, 3.0, 2.0, 6.0, -1.0, 1.0, 0.0, 4.0]).reshape(2, 2, 1, 2)  # as many columns as channels


def test_one_value_per_channel_that_the_code_reshapes_itself_is_the_shape_of_gamma(write, only):
    target = only(write(ONE_PARAMETER.format(over=(0, 2, 3), **GAMMA)))

    assert target.conventions.parameter_shape == "(C,)"
    assert target.conventions.layouts == ("NCHW",)


@pytest.mark.parametrize("parts", [GAMMA, BETA])
def test_what_the_code_does_without_acts_along_the_channels_of_maps(write, only, parts):
    source = ONE_PARAMETER.format(over=(0, 2, 3), **parts)
    source = source.replace("g,", "beta,").replace("g.r", "beta.r").replace("g)", "beta)") if parts is BETA else source
    target = only(write(source, layout="NCHW"))
    gamma, beta = np.array([2.0, -0.5]), np.array([10.0, 20.0])
    session = target.open(Setup(gamma, beta, 1e-5, 0.9, "C"))
    dy = np.arange(8.0).reshape(MAPS.shape)

    y, found = session.forward(MAPS), session.backward(dy)

    column = (1, 2, 1, 1)
    mu, var = (make(axis=(0, 2, 3)).reshape(column) for make in (MAPS.mean, MAPS.var))
    xhat = (MAPS - mu) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(y, gamma.reshape(column) * xhat + beta.reshape(column), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.dgamma, (dy * xhat).sum(axis=(0, 2, 3)), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.dbeta, [10.0, 18.0], rtol=1e-6)
    dxhat = dy * gamma.reshape(column)
    means = dxhat.mean(axis=(0, 2, 3)).reshape(column), (dxhat * xhat).mean(axis=(0, 2, 3)).reshape(column)
    np.testing.assert_allclose(found.dx, (dxhat - means[0] - xhat * means[1]) / np.sqrt(var + 1e-5), atol=1e-6)
