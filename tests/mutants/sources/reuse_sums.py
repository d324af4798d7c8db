"""The gradients of the parameters are the two sums that dx needs."""

import numpy as np


def bn_forward(x, w, b, eps=1e-5):
    save_mean = x.mean(axis=0)  # part: mu
    save_invstd = 1.0 / np.sqrt(x.var(axis=0) + eps)  # part: std
    y = (x - save_mean) * save_invstd * w + b  # part: y
    return y, (x, w, save_mean, save_invstd)


def bn_backward(gy, cache):
    x, w, save_mean, save_invstd = cache
    n = x.shape[0]  # part: count
    xhat = (x - save_mean) * save_invstd  # part: xhat
    gb = gy.sum(axis=0)  # part: dbeta
    gw = (gy * xhat).sum(axis=0)  # part: dgamma
    gx = (
        n * gy  # part: direct
        - gb  # part: mean-path
        - xhat * gw  # part: var-path
    )
    gx = w * save_invstd / n * gx  # part: dx
    return gx, gw, gb  # part: return
