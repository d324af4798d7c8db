"""Images (N, C, H, W), statistics over a tuple of axes, kept for broadcasting."""

import numpy as np


def batchnorm2d_forward(x, gamma, beta, eps=1e-5):
    mean = x.mean(axis=(0, 2, 3), keepdims=True)  # part: mu
    var = x.var(axis=(0, 2, 3), keepdims=True)  # part: var
    inv_std = 1.0 / np.sqrt(var + eps)  # part: std
    x_hat = (x - mean) * inv_std  # part: xhat
    out = gamma.reshape(1, -1, 1, 1) * x_hat + beta.reshape(1, -1, 1, 1)  # part: y
    return out, (x_hat, inv_std, gamma)


def batchnorm2d_backward(dout, cache):
    x_hat, inv_std, gamma = cache
    N, _, H, W = dout.shape
    m = N * H * W  # part: count
    dbeta = dout.sum(axis=(0, 2, 3))  # part: dbeta
    dgamma = (dout * x_hat).sum(axis=(0, 2, 3))  # part: dgamma
    dx_hat = dout * gamma.reshape(1, -1, 1, 1)  # part: dxhat
    mean_part = dx_hat.sum(axis=(0, 2, 3), keepdims=True) / m  # part: mean-path
    var_part = x_hat * (dx_hat * x_hat).sum(axis=(0, 2, 3), keepdims=True) / m  # part: var-path
    dx = inv_std * (dx_hat - mean_part - var_part)  # part: dx
    return dx, dgamma, dbeta  # part: return
