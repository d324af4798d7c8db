"""Channels last; every sum is an einsum, and the count stays outside to the end."""

import numpy as np


def bn_forward(x, gamma, beta, eps=1e-5):
    b, h, w, _ = x.shape
    m = b * h * w  # part: count
    mean = np.einsum("bhwc->c", x) / m  # part: mu
    delta = x - mean  # part: xc
    var = np.einsum("bhwc,bhwc->c", delta, delta) / m  # part: var
    std = np.sqrt(eps + var)  # part: std
    z = delta / std  # part: xhat
    return np.einsum("bhwc,c->bhwc", z, gamma) + beta, (z, std, gamma)  # part: y


def bn_backward(dy, cache):
    z, std, gamma = cache
    b, h, w, _ = dy.shape
    m = b * h * w  # part: count
    dgamma = np.einsum("bhwc,bhwc->c", z, dy)  # part: dgamma
    dbeta = np.einsum("bhwc->c", dy)  # part: dbeta
    bracket = m * dy  # part: direct
    bracket = bracket - dbeta  # part: mean-path
    bracket = bracket - np.einsum("bhwc,c->bhwc", z, dgamma)  # part: var-path
    dx = gamma * bracket / std / m  # part: dx
    return dx, dgamma, dbeta  # part: return
