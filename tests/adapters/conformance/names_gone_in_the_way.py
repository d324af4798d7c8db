# shape: old code: from collections import Iterable at the top, np.product and np.float inside Batch Normalization itself
# name: batchnorm_forward
# needs: collections.Iterable (gone since Python 3.10), numpy.product (gone since NumPy 2.0), numpy.float (gone since NumPy 1.24)
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dgamma, dbeta)
# note: right once the names are given back (collections.abc.Iterable, numpy.prod, float); without them a verifier has to say which name is gone; float32 data gives float64 results
# bug-gamma-missing-in-dx: dxn = dout * gamma ==> dxn = dout
# bug-dgamma-averaged: dgamma = np.sum(dout * xn, axis=axes) ==> dgamma = np.mean(dout * xn, axis=axes)
# bug-unbiased-variance: var = np.sum((x - mean) ** 2, axis=axes) / m ==> var = np.sum((x - mean) ** 2, axis=axes) / (m - 1)
from collections import Iterable

import numpy as np


def as_tuple(v, n):
    return tuple(v) if isinstance(v, Iterable) else (v,) * n


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    axes = tuple(range(x.ndim - 1))
    m = np.product(x.shape[:-1])
    mean = np.sum(x, axis=axes) / np.float(m)
    var = np.sum((x - mean) ** 2, axis=axes) / m
    ivar = 1.0 / np.sqrt(var + eps)
    xn = (x - mean) * ivar
    return gamma * xn + beta, (xn, ivar, gamma, m)


def batchnorm_backward(dout, cache):
    xn, ivar, gamma, m = cache
    axes = tuple(range(dout.ndim - 1))
    dgamma = np.sum(dout * xn, axis=axes)
    dbeta = np.sum(dout, axis=axes)
    dxn = dout * gamma
    dx = ivar * (dxn - np.sum(dxn, axis=axes) / m - xn * np.sum(dxn * xn, axis=axes) / m)
    return dx, dgamma, dbeta
