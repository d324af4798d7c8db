"""One node of the computation graph after another, backwards in the same steps."""

import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    N = x.shape[0]
    mean = 1.0 / N * np.sum(x, axis=0)  # part: mu
    centred = x - mean  # part: xc
    sq = centred**2  # part: var
    var = 1.0 / N * np.sum(sq, axis=0)  # part: var
    sqrtvar = np.sqrt(var + eps)  # part: std
    ivar = 1.0 / sqrtvar  # part: std
    normed = centred * ivar  # part: xhat
    scaled = gamma * normed  # part: y
    out = scaled + beta  # part: y
    cache = (normed, gamma, centred, ivar, sqrtvar, var, eps)
    return out, cache


def batchnorm_backward(dout, cache):
    normed, gamma, centred, ivar, sqrtvar, var, eps = cache
    N, D = dout.shape
    dbeta = np.sum(dout, axis=0)  # part: dbeta
    dgamma = np.sum(dout * normed, axis=0)  # part: dgamma
    dnormed = dout * gamma  # part: dxhat
    divar = np.sum(dnormed * centred, axis=0)  # part: var-path
    dcentred1 = dnormed * ivar  # part: direct
    dsqrtvar = -1.0 / sqrtvar**2 * divar  # part: var-path
    dvar = 0.5 / np.sqrt(var + eps) * dsqrtvar  # part: var-path
    dsq = 1.0 / N * np.ones((N, D)) * dvar  # part: var-path
    dcentred2 = 2 * centred * dsq  # part: var-path
    dcentred = dcentred1 + dcentred2  # part: var-path
    dmean = -1 * np.sum(dcentred, axis=0)  # part: mean-path
    dx2 = 1.0 / N * np.ones((N, D)) * dmean  # part: mean-path
    dx = dcentred + dx2  # part: mean-path
    return dx, dgamma, dbeta  # part: return
