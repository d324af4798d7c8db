# shape: closure: batchnorm(x, gamma, beta, eps) -> (y, backward), backward(dy) -> (dx, dgamma, dbeta)
# name: batchnorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dgamma, dbeta)
# bug-first-term-sign-flipped: dx = inv * (dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0)) ==> dx = inv * (-dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0))
# bug-dgamma-summed-over-everything: dgamma = (dy * xhat).sum(0) ==> dgamma = (dy * xhat).sum() + 0 * gamma
# bug-mean-not-subtracted: xhat = (x - mu) * inv ==> xhat = x * inv
"""Layers as closures: every layer returns its output and the function that goes back."""
import numpy as np


def dense(x, w, b):
    def backward(dy):
        return dy @ w.T, x.T @ dy, dy.sum(0)

    return x @ w + b, backward


def relu(x):
    return np.maximum(x, 0), lambda dy: dy * (x > 0)


def batchnorm(x, gamma, beta, eps=1e-5):
    mu, var = x.mean(0), x.var(0)
    inv = 1 / np.sqrt(var + eps)
    xhat = (x - mu) * inv

    def backward(dy):
        dgamma = (dy * xhat).sum(0)
        dbeta = dy.sum(0)
        dxhat = dy * gamma
        dx = inv * (dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0))
        return dx, dgamma, dbeta

    return gamma * xhat + beta, backward


def mse(y, t):
    d = y - t
    return 0.5 * (d**2).sum(), lambda: d
