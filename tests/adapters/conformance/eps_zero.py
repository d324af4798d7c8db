# shape: functions without any epsilon: eps is 0
# name: bn_forward
# layouts: NC
# parameter-shape: (C,)
# eps-source: fixed
# eps: 0
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dgamma, dbeta)
# note: no eps beside the variance is a warning, not a wrong gradient; a constant channel and a batch of one give NaN
# bug-bessel-in-mean-path: t1 = np.sum(dxhat, axis=0) / m ==> t1 = np.sum(dxhat, axis=0) / (m - 1)
# bug-dgamma-averaged: dgamma = np.sum(dy * xhat, axis=0) ==> dgamma = np.sum(dy * xhat, axis=0) / m
# bug-unbiased-std: s = np.std(x, axis=0) ==> s = np.std(x, axis=0, ddof=1)
import numpy as np


def bn_forward(x, gamma, beta):
    s = np.std(x, axis=0)
    xhat = (x - np.mean(x, axis=0)) / s
    return gamma * xhat + beta, (xhat, s, gamma)


def bn_backward(dy, cache):
    xhat, s, gamma = cache
    m = dy.shape[0]
    dbeta = np.sum(dy, axis=0)
    dgamma = np.sum(dy * xhat, axis=0)
    dxhat = dy * gamma
    t1 = np.sum(dxhat, axis=0) / m
    t2 = np.sum(dxhat * xhat, axis=0) / m
    dx = (dxhat - t1 - xhat * t2) / s
    return dx, dgamma, dbeta
