"""Welford's mean and squared deviations, row after row; the gradient goes through the scale."""

import numpy as np


def bn_forward(x, gamma, beta, eps=1e-5):
    mean = np.zeros(x.shape[1])
    spread = np.zeros(x.shape[1])
    seen = 0
    for sample in x:
        seen += 1
        delta = sample - mean  # part: var
        mean = mean + delta / seen  # part: mu
        spread = spread + delta * (sample - mean)  # part: var
    scale = 1.0 / np.sqrt(spread / seen + eps)  # part: std
    normal = (x - mean) * scale  # part: xhat
    return normal * gamma + beta, (normal, scale, gamma)  # part: y


def bn_backward(dout, cache):
    normal, scale, gamma = cache
    rows = len(dout)  # part: count
    dgamma = np.sum(normal * dout, 0)  # part: dgamma
    dbeta = np.sum(dout, 0)  # part: dbeta
    dnormal = gamma * dout  # part: dxhat
    dscale = np.sum(dnormal * normal, 0) / scale  # part: var-path
    dvar = -0.5 * dscale * scale**3  # part: var-path
    dmean = -scale * np.sum(dnormal, 0)  # part: mean-path
    dx = dnormal * scale  # part: direct
    dx = dx + dmean / rows  # part: mean-path
    dx = dx + 2.0 * dvar * normal / (scale * rows)  # part: var-path
    return dx, dgamma, dbeta  # part: return
