# shape: bn_forward(X, gamma, beta, cache=(running_mean, running_var), momentum, train) -> (out, cache, running_mean, running_var)
# name: bn_forward
# layouts: NC
# parameter-shape: (C,)
# eps-source: fixed
# eps: 1e-8
# momentum: kept
# running-var: biased
# running-start: passed by the caller
# mode-switch: argument train (default True)
# returns: tuple (dX, dgamma, dbeta)
# bug-dvar-in-place-of-dmu: dX = (dX_norm * std_inv) + (dvar * 2 * X_mu / N) + (dmu / N) ==> dX = (dX_norm * std_inv) + (dvar * 2 * X_mu / N) + (dvar / N)
# bug-dgamma-averaged: dgamma = np.sum(dout * X_norm, axis=0) ==> dgamma = np.mean(dout * X_norm, axis=0)
# bug-mean-without-axis: mu = np.mean(X, axis=0) ==> mu = np.mean(X)
import numpy as np

eps = 1e-8


def exp_running_avg(running, new, gamma=.9):
    return gamma * running + (1. - gamma) * new


def fc_forward(X, W, b):
    out = X @ W + b
    cache = (W, X)
    return out, cache


def fc_backward(dout, cache):
    W, h = cache
    dW = h.T @ dout
    db = np.sum(dout, axis=0)
    dX = dout @ W.T
    return dX, dW, db


def bn_forward(X, gamma, beta, cache, momentum=.9, train=True):
    running_mean, running_var = cache

    if train:
        mu = np.mean(X, axis=0)
        var = np.var(X, axis=0)

        X_norm = (X - mu) / np.sqrt(var + eps)
        out = gamma * X_norm + beta

        cache = (X, X_norm, mu, var, gamma, beta)

        running_mean = exp_running_avg(running_mean, mu, momentum)
        running_var = exp_running_avg(running_var, var, momentum)
    else:
        X_norm = (X - running_mean) / np.sqrt(running_var + eps)
        out = gamma * X_norm + beta
        cache = None

    return out, cache, running_mean, running_var


def bn_backward(dout, cache):
    X, X_norm, mu, var, gamma, beta = cache

    N, D = X.shape

    X_mu = X - mu
    std_inv = 1. / np.sqrt(var + eps)

    dX_norm = dout * gamma
    dvar = np.sum(dX_norm * X_mu, axis=0) * -.5 * std_inv**3
    dmu = np.sum(dX_norm * -std_inv, axis=0) + dvar * np.mean(-2. * X_mu, axis=0)

    dX = (dX_norm * std_inv) + (dvar * 2 * X_mu / N) + (dmu / N)
    dgamma = np.sum(dout * X_norm, axis=0)
    dbeta = np.sum(dout, axis=0)

    return dX, dgamma, dbeta


def relu_forward(X):
    out = np.maximum(X, 0)
    cache = X
    return out, cache


def relu_backward(dout, cache):
    dX = dout.copy()
    dX[cache <= 0] = 0
    return dX
