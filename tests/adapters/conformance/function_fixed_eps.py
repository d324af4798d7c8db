# shape: functions batchnorm_forward(X, gamma, beta) -> (out, cache, mu, var), without eps (hard-coded)
# name: batchnorm_forward
# layouts: NC
# parameter-shape: (C,)
# eps-source: fixed
# eps: 1e-8
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dX, dgamma, dbeta)
# bug-variance-path-dropped: dX = (dX_norm * std_inv) + (dvar * 2 * X_mu / N) + (dmu / N) ==> dX = (dX_norm * std_inv) + (dmu / N)
# bug-dgamma-with-centred-x: dgamma = np.sum(dout * X_norm, axis=0) ==> dgamma = np.sum(dout * X_mu, axis=0)
# bug-variance-for-std: X_norm = (X - mu) / np.sqrt(var + 1e-8) ==> X_norm = (X - mu) / (var + 1e-8)
import numpy as np


def batchnorm_forward(X, gamma, beta):
    mu = np.mean(X, axis=0)
    var = np.var(X, axis=0)

    X_norm = (X - mu) / np.sqrt(var + 1e-8)
    out = gamma * X_norm + beta

    cache = (X, X_norm, mu, var, gamma, beta)

    return out, cache, mu, var


def batchnorm_backward(dout, cache):
    X, X_norm, mu, var, gamma, beta = cache

    N, D = X.shape

    X_mu = X - mu
    std_inv = 1. / np.sqrt(var + 1e-8)

    dX_norm = dout * gamma
    dvar = np.sum(dX_norm * X_mu, axis=0) * -.5 * std_inv**3
    dmu = np.sum(dX_norm * -std_inv, axis=0) + dvar * np.mean(-2. * X_mu, axis=0)

    dX = (dX_norm * std_inv) + (dvar * 2 * X_mu / N) + (dmu / N)
    dgamma = np.sum(dout * X_norm, axis=0)
    dbeta = np.sum(dout, axis=0)

    return dX, dgamma, dbeta
