"""Signals (N, C, L): parameters get their axes by None, the count is a product."""

import numpy as np


def batchnorm1d_forward(x, weight, bias, eps=1e-5):
    count = x.shape[0] * x.shape[2]  # part: count
    mu = np.sum(x, axis=(0, 2)) / count  # part: mu
    delta = x - mu[None, :, None]  # part: xc
    var = np.sum(delta * delta, axis=(0, 2)) / count  # part: var
    invstd = 1.0 / np.sqrt(var + eps)  # part: std
    xn = delta * invstd[None, :, None]  # part: xhat
    y = weight[None, :, None] * xn + bias[None, :, None]  # part: y
    return y, (delta, invstd, weight)


def batchnorm1d_backward(grad_output, cache):
    delta, invstd, weight = cache
    count = grad_output.shape[0] * grad_output.shape[2]  # part: count
    s = invstd[None, :, None]
    grad_bias = np.sum(grad_output, axis=(0, 2))  # part: dbeta
    grad_weight = np.sum(grad_output * delta * s, axis=(0, 2))  # part: dgamma
    gxn = grad_output * weight[None, :, None]  # part: dxhat
    gvar = -0.5 * np.sum(gxn * delta, axis=(0, 2)) * invstd**3  # part: var-path
    gmu = -np.sum(gxn, axis=(0, 2)) * invstd  # part: mean-path
    grad_input = (
        gxn * s  # part: direct
        + 2.0 / count * gvar[None, :, None] * delta  # part: var-path
        + gmu[None, :, None] / count  # part: mean-path
    )
    return grad_input, grad_weight, grad_bias  # part: return
