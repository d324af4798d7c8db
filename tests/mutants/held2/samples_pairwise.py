"""Samples against samples: each row of dx gathers what every other sample sends it."""

import numpy as np


def normalize(x, gamma, beta, eps=1e-5):
    n = x.shape[0]  # part: count
    mu = sum(x[i] for i in range(n)) / n  # part: mu
    var = sum((x[i] - mu) ** 2 for i in range(n)) / n  # part: var
    sd = (var + eps) ** 0.5  # part: std
    u = np.stack([(x[i] - mu) / sd for i in range(n)])  # part: xhat
    return u * gamma + beta, (u, sd, gamma)  # part: y


def normalize_backward(dy, cache):
    u, sd, gamma = cache
    n = dy.shape[0]  # part: count
    dx = np.zeros_like(dy)
    for i in range(n):
        dx[i] = dy[i]  # part: direct
        for j in range(n):
            dx[i] -= dy[j] / n  # part: mean-path
            dx[i] -= u[i] * u[j] * dy[j] / n  # part: var-path
        dx[i] *= gamma / sd  # part: dx
    dgamma = sum(dy[i] * u[i] for i in range(n))  # part: dgamma
    dbeta = sum(dy[i] for i in range(n))  # part: dbeta
    return dx, dgamma, dbeta  # part: return
