"""No mean anywhere: m times the deviation, m squared times the variance, and one division at the end."""

import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    m = len(x)  # part: count
    big = m * x - x.sum(axis=0)  # part: xc
    mass = (big * big).sum(axis=0) / m  # part: var
    root = np.sqrt(mass + m * m * eps)  # part: std
    normed = big / root  # part: xhat
    return normed * gamma + beta, (normed, root, gamma)  # part: y


def batchnorm_backward(dout, cache):
    normed, root, gamma = cache
    m = len(dout)  # part: count
    dbeta = dout.sum(axis=0)  # part: dbeta
    dgamma = (normed * dout).sum(axis=0)  # part: dgamma
    gain = gamma / root  # part: dx
    dx = (
        m * gain * dout  # part: direct
        - gain * dbeta  # part: mean-path
        - gain * dgamma * normed  # part: var-path
    )
    return dx, dgamma, dbeta  # part: return
