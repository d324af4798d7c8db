"""The Jacobian of the normalisation, built for one channel at a time."""

import numpy as np


def forward(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=0)  # part: mu
    var = x.var(axis=0)  # part: var
    std = np.sqrt(var + eps)  # part: std
    xhat = (x - mu) / std  # part: xhat
    return gamma * xhat + beta, (xhat, std, gamma)  # part: y


def backward(dy, cache):
    xhat, std, gamma = cache
    n, c = dy.shape
    dx = np.zeros((n, c))
    for k in range(c):
        h = xhat[:, k]
        jacobian = np.eye(n)  # part: direct
        jacobian -= np.ones((n, n)) / n  # part: mean-path
        jacobian -= np.outer(h, h) / n  # part: var-path
        dx[:, k] = gamma[k] / std[k] * (jacobian @ dy[:, k])  # part: dx
    dgamma = np.sum(dy * xhat, axis=0)  # part: dgamma
    dbeta = np.sum(dy, axis=0)  # part: dbeta
    return dx, dgamma, dbeta  # part: return
