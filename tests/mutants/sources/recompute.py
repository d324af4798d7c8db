"""The backward gets the input and the parameters again, and computes the statistics anew."""

import numpy as np


def batch_norm_forward(x, gamma, beta, eps=1e-5):
    mean = x.mean(axis=0)  # part: mu
    std = np.sqrt(x.var(axis=0) + eps)  # part: std
    return gamma * (x - mean) / std + beta  # part: y


def batch_norm_backward(dy, x, gamma, beta, eps=1e-5):
    mean = x.mean(axis=0)  # part: mu
    std = np.sqrt(x.var(axis=0) + eps)  # part: std
    xhat = (x - mean) / std  # part: xhat
    dbeta = dy.sum(axis=0)  # part: dbeta
    dgamma = (dy * xhat).sum(axis=0)  # part: dgamma
    dx = (
        dy  # part: direct
        - dy.mean(axis=0)  # part: mean-path
        - xhat * (dy * xhat).mean(axis=0)  # part: var-path
    )
    dx = dx * gamma / std  # part: dx
    return dx, dgamma, dbeta  # part: return
