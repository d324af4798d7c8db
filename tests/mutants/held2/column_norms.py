"""Norms of columns and dot products; the deviation is taken off once more in the backward."""

import numpy as np


def _dots(a, b):
    return np.array([np.dot(p, q) for p, q in zip(a.T, b.T, strict=True)])


def bn_forward(x, gamma, beta, eps=1e-5):
    rows = x.shape[0]  # part: count
    dev = x - np.mean(x, axis=0)  # part: xc
    length = np.linalg.norm(dev, axis=0)  # part: var
    std = np.hypot(length / np.sqrt(rows), np.sqrt(eps))  # part: std
    y = dev * (gamma / std) + beta  # part: y
    return y, (dev, std, gamma)


def bn_backward(dy, cache):
    dev, std, gamma = cache
    rows = dy.shape[0]  # part: count
    level = np.mean(dy, axis=0)  # part: mean-path
    cov = _dots(dev, dy) / rows  # part: var-path
    dx = dy  # part: direct
    dx = dx - level  # part: mean-path
    dx = dx - dev * (cov / std**2)  # part: var-path
    dx = dx * gamma / std  # part: dx
    dgamma = _dots(dy, dev) / std  # part: dgamma
    dbeta = _dots(dy, np.ones_like(dy))  # part: dbeta
    return dx, dgamma, dbeta  # part: return
