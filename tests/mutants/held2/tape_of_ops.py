"""A tape of small operations, each with its own rule; the backward walks it from the end."""

import numpy as np


def _total(t):
    return np.sum(t, axis=0)


def _spread_back(dt, rows):
    return np.ones((rows, 1)) * dt / rows  # part: shared-average


def forward(x, gamma, beta, eps=1e-5):
    rows = x.shape[0]  # part: count
    mean = _total(x) / rows  # part: mu
    dev = x - mean  # part: xc
    sq = dev**2  # part: var
    var = _total(sq) / rows  # part: var
    std = np.sqrt(var + eps)  # part: std
    inv = 1.0 / std  # part: std
    unit = dev * inv  # part: xhat
    scaled = gamma * unit  # part: y
    out = scaled + beta  # part: y
    return out, (rows, dev, std, inv, unit, gamma)


def backward(dout, tape):
    rows, dev, std, inv, unit, gamma = tape
    dbeta = _total(dout)  # part: dbeta
    dgamma = _total(dout * unit)  # part: dgamma
    dunit = dout * gamma  # part: dxhat
    ddev = dunit * inv  # part: direct
    dinv = _total(dunit * dev)  # part: var-path
    dstd = -dinv / std**2  # part: var-path
    dvar = 0.5 * dstd / std  # part: var-path
    dsq = _spread_back(dvar, rows)  # part: var-path
    ddev = ddev + 2.0 * dev * dsq  # part: var-path
    dmean = -_total(ddev)  # part: mean-path
    dx = ddev + _spread_back(dmean, rows)  # part: mean-path
    return dx, dgamma, dbeta  # part: return
