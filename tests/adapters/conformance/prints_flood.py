# shape: student's functions that print everything to stdout, at import and at each call
# name: batch_norm_fw
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dgamma, dbeta)
# note: five hundred lines on stdout for one forward
# bug-sign-of-dmu: dmu = np.sum(dxhat * -1.0 / np.sqrt(var + eps), axis=0) ==> dmu = np.sum(dxhat * 1.0 / np.sqrt(var + eps), axis=0)
# bug-dgamma-unsummed: dgamma = np.sum(dy * xhat, axis=0) ==> dgamma = dy * xhat
# bug-var-around-zero: var = ((x - mu) ** 2).mean(axis=0) ==> var = (x ** 2).mean(axis=0)
import numpy as np

print("my batch norm, version 3 FINAL")


def debug(name, a):
    print("=" * 40)
    print(name, "shape:", a.shape)
    for row in np.atleast_2d(a):
        for v in row:
            print("   ", v)
    for i in range(120):
        print("debug line", i)


def batch_norm_fw(x, gamma, beta, eps=1e-5):
    debug("x", x)
    mu = x.mean(axis=0)
    debug("mu", mu)
    var = ((x - mu) ** 2).mean(axis=0)
    debug("var", var)
    xhat = (x - mu) / np.sqrt(var + eps)
    debug("xhat", xhat)
    y = gamma * xhat + beta
    debug("y", y)
    return y, (x, xhat, mu, var, gamma, eps)


def batch_norm_bw(dy, cache):
    x, xhat, mu, var, gamma, eps = cache
    m = len(x)
    dxhat = dy * gamma
    dvar = np.sum(dxhat * (x - mu) * -0.5 * (var + eps) ** (-1.5), axis=0)
    dmu = np.sum(dxhat * -1.0 / np.sqrt(var + eps), axis=0)
    dx = dxhat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m + dmu / m
    dgamma = np.sum(dy * xhat, axis=0)
    dbeta = np.sum(dy, axis=0)
    debug("dx", dx)
    print("dgamma", dgamma, "dbeta", dbeta)
    return dx, dgamma, dbeta
