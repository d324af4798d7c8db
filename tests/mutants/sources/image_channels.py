"""Images channel by channel: each channel is a vector of pixels."""

import numpy as np


def forward(x, gamma, beta, eps=1e-5):
    y = np.zeros_like(x)
    saved = []
    for c in range(x.shape[1]):
        v = x[:, c]
        mu = v.mean()  # part: mu
        s = np.sqrt(v.var() + eps)  # part: std
        h = (v - mu) / s  # part: xhat
        y[:, c] = gamma[c] * h + beta[c]  # part: y
        saved.append((h, s))
    return y, (saved, gamma)


def backward(dy, cache):
    saved, gamma = cache
    C = dy.shape[1]
    dx = np.zeros_like(dy)
    dgamma = np.zeros(C)
    dbeta = np.zeros(C)
    for c in range(C):
        h, s = saved[c]
        d = dy[:, c]
        m = d.size  # part: count
        dgamma[c] = np.sum(d * h)  # part: dgamma
        dbeta[c] = np.sum(d)  # part: dbeta
        r = m * d  # part: direct
        r = r - dbeta[c]  # part: mean-path
        r = r - h * dgamma[c]  # part: var-path
        dx[:, c] = gamma[c] / (m * s) * r  # part: dx
    return dx, dgamma, dbeta  # part: return
