"""Scalar loops over features and samples, no vector arithmetic at all."""

import math

import numpy as np


def bn_forward(X, gamma, beta, eps=1e-5):
    n, d = X.shape
    Y = np.zeros((n, d))
    Z = np.zeros((n, d))
    stds = np.zeros(d)
    for j in range(d):
        total = 0.0
        for i in range(n):
            total += X[i, j]  # part: mu
        mean = total / n  # part: mu
        squares = 0.0
        for i in range(n):
            squares += (X[i, j] - mean) ** 2  # part: var
        stds[j] = math.sqrt(squares / n + eps)  # part: std
        for i in range(n):
            Z[i, j] = (X[i, j] - mean) / stds[j]  # part: xhat
            Y[i, j] = gamma[j] * Z[i, j] + beta[j]  # part: y
    return Y, (Z, stds, gamma)


def bn_backward(dY, cache):
    Z, stds, gamma = cache
    n, d = dY.shape
    dX = np.zeros((n, d))
    dgamma = np.zeros(d)
    dbeta = np.zeros(d)
    for j in range(d):
        for i in range(n):
            dbeta[j] += dY[i, j]  # part: dbeta
            dgamma[j] += dY[i, j] * Z[i, j]  # part: dgamma
        for i in range(n):
            rest = n * dY[i, j]  # part: direct
            rest -= dbeta[j]  # part: mean-path
            rest -= Z[i, j] * dgamma[j]  # part: var-path
            dX[i, j] = gamma[j] / (n * stds[j]) * rest  # part: dx
    return dX, dgamma, dbeta  # part: return
