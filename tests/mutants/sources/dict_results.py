"""Gradients come back in a dictionary, saved values travel in another."""

import numpy as np


def bn_forward(x, gamma, beta, eps=1e-5):
    mean = np.average(x, axis=0)  # part: mu
    diff = x - mean  # part: xc
    var = np.sum(diff * diff, axis=0) / len(x)  # part: var
    inv = 1.0 / np.sqrt(var + eps)  # part: std
    norm = diff * inv  # part: xhat
    out = norm * gamma + beta  # part: y
    cache = {"diff": diff, "inv": inv, "gamma": gamma}
    return out, cache


def bn_backward(dout, cache):
    diff = cache["diff"]
    inv = cache["inv"]
    m = len(dout)  # part: count
    dgamma = np.sum(dout * diff, axis=0) * inv  # part: dgamma
    dbeta = np.sum(dout, axis=0)  # part: dbeta
    dnorm = dout * cache["gamma"]  # part: dxhat
    dinv = np.sum(dnorm * diff, axis=0)  # part: var-path
    dvar = dinv * -0.5 * inv**3  # part: var-path
    dmean = np.sum(dnorm * -inv, axis=0)  # part: mean-path
    dx = dnorm * inv  # part: direct
    dx = dx + dvar * 2 * diff / m  # part: var-path
    dx = dx + dmean / m  # part: mean-path
    return {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}  # part: return
