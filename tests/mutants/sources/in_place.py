"""Fresh arrays, then arithmetic in place."""

import numpy as np


def batchnorm_fwd(x, gamma, beta, eps=1e-5):
    n = x.shape[0]  # part: count
    mean = np.zeros(x.shape[1])
    for row in x:
        mean += row  # part: mu
    mean /= n  # part: mu
    xn = x - mean  # part: xc
    var = np.zeros(x.shape[1])
    for row in xn:
        var += row**2  # part: var
    var /= n  # part: var
    istd = 1.0 / np.sqrt(var + eps)  # part: std
    xn *= istd  # part: xhat
    y = xn * gamma  # part: y
    y += beta  # part: y
    return y, (xn, istd, gamma)


def batchnorm_bwd(dy, cache):
    xn, istd, gamma = cache
    n = dy.shape[0]  # part: count
    dgamma = np.zeros(dy.shape[1])
    dbeta = np.zeros(dy.shape[1])
    for row, unit in zip(dy, xn, strict=True):
        dgamma += row * unit  # part: dgamma
        dbeta += row  # part: dbeta
    dx = dy.copy()  # part: direct
    dx -= dbeta / n  # part: mean-path
    dx -= xn * (dgamma / n)  # part: var-path
    dx *= gamma  # part: dxhat
    dx *= istd  # part: dx
    return dx, dgamma, dbeta  # part: return
