"""All sums by einsum."""

import numpy as np


def forward(x, gamma, beta, eps=1e-5):
    n = x.shape[0]  # part: count
    mu = np.einsum("ij->j", x) / n  # part: mu
    xc = x - mu  # part: xc
    var = np.einsum("ij,ij->j", xc, xc) / n  # part: var
    rstd = (var + eps) ** -0.5  # part: std
    xhat = np.einsum("ij,j->ij", xc, rstd)  # part: xhat
    y = np.einsum("ij,j->ij", xhat, gamma) + beta  # part: y
    return y, (xhat, rstd, gamma)


def backward(dy, cache):
    xhat, rstd, gamma = cache
    n = dy.shape[0]  # part: count
    dbeta = np.einsum("ij->j", dy)  # part: dbeta
    dgamma = np.einsum("ij,ij->j", dy, xhat)  # part: dgamma
    scale = gamma * rstd  # part: dx
    along = np.einsum("ij,j->ij", xhat, dgamma / n)  # part: var-path
    level = dbeta / n  # part: mean-path
    dx = (
        dy  # part: direct
        - level  # part: mean-path
        - along  # part: var-path
    ) * scale  # part: dx
    return dx, dgamma, dbeta  # part: return
