"""No division after the first line: the reciprocal of the count multiplies."""

import numpy as np


def forward(x, gamma, beta, eps=1e-5):
    rm = 1.0 / x.shape[0]  # part: count
    mu = rm * x.sum(axis=0)  # part: mu
    d = x - mu  # part: xc
    var = rm * (d * d).sum(axis=0)  # part: var
    rs = 1.0 / np.sqrt(var + eps)  # part: std
    h = d * rs  # part: xhat
    y = h * gamma + beta  # part: y
    return y, {"h": h, "rs": rs, "gamma": gamma, "rm": rm}


def backward(dy, cache):
    h, rs, gamma, rm = cache["h"], cache["rs"], cache["gamma"], cache["rm"]
    dbeta = dy.sum(axis=0)  # part: dbeta
    dgamma = (dy * h).sum(axis=0)  # part: dgamma
    g = gamma * rs * dy  # part: direct
    s1 = rm * g.sum(axis=0)  # part: mean-path
    s2 = rm * (g * h).sum(axis=0)  # part: var-path
    dx = (
        g  # part: direct
        - s1  # part: mean-path
        - h * s2  # part: var-path
    )
    return dx, dgamma, dbeta  # part: return
