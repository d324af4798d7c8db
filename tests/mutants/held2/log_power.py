"""Powers of the variance by exp and log."""

import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    n = x.shape[0]  # part: count
    mu = np.add.reduce(x, axis=0) / n  # part: mu
    off = x - mu  # part: xc
    var = np.add.reduce(off * off, axis=0) / n  # part: var
    level = np.log(var + eps)  # part: std
    xhat = off * np.exp(-0.5 * level)  # part: xhat
    out = beta + gamma * xhat  # part: y
    return out, (off, level, gamma)


def batchnorm_backward(dout, cache):
    off, level, gamma = cache
    n = dout.shape[0]  # part: count
    dbeta = np.add.reduce(dout, axis=0)  # part: dbeta
    dgamma = np.add.reduce(dout * off * np.exp(-0.5 * level), axis=0)  # part: dgamma
    dxhat = gamma * dout  # part: dxhat
    dvar = -0.5 * np.exp(-1.5 * level) * np.add.reduce(dxhat * off, axis=0)  # part: var-path
    doff = (
        np.exp(-0.5 * level) * dxhat  # part: direct
        + 2.0 * off * dvar / n  # part: var-path
    )
    dx = doff - np.add.reduce(doff, axis=0) / n  # part: mean-path
    return dx, dgamma, dbeta  # part: return
