"""Staged as the paper prints it, every intermediate by its own line."""

import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    m = x.shape[0]  # part: count
    mu = np.sum(x, axis=0) / m  # part: mu
    xmu = x - mu  # part: xc
    var = np.sum(xmu**2, axis=0) / m  # part: var
    inv_std = 1.0 / np.sqrt(var + eps)  # part: std
    xhat = xmu * inv_std  # part: xhat
    y = gamma * xhat + beta  # part: y
    return y, (xmu, var, xhat, gamma, eps)


def batchnorm_backward(dout, cache):
    xmu, var, xhat, gamma, eps = cache
    m = dout.shape[0]  # part: count
    dbeta = np.sum(dout, axis=0)  # part: dbeta
    dgamma = np.sum(dout * xhat, axis=0)  # part: dgamma
    dxhat = dout * gamma  # part: dxhat
    dvar = np.sum(dxhat * xmu, axis=0) * -0.5 * (var + eps) ** -1.5  # part: var-path
    dmu = np.sum(dxhat, axis=0) * -1.0 / np.sqrt(var + eps)  # part: mean-path
    dx = (
        dxhat / np.sqrt(var + eps)  # part: direct
        + dvar * 2.0 * xmu / m  # part: var-path
        + dmu / m  # part: mean-path
    )
    return dx, dgamma, dbeta  # part: return
