"""Features first: a matrix of equal shares gives the mean, its complement the deviation."""

import numpy as np


def batchnorm_forward(A, gamma, beta, eps=1e-5):
    m = A.shape[1]  # part: count
    share = np.full((m, m), 1.0 / m)  # part: xc
    D = A - A @ share  # part: xc
    V = (D**2) @ share[:, :1]  # part: var
    R = (V + eps) ** -0.5  # part: std
    U = D * R  # part: xhat
    return gamma * U + beta, {"U": U, "R": R, "share": share, "gamma": gamma}  # part: y


def batchnorm_backward(dZ, cache):
    U, R, share, gamma = cache["U"], cache["R"], cache["share"], cache["gamma"]
    dU = gamma * dZ  # part: dxhat
    keep = dU  # part: direct
    keep = keep - dU @ share  # part: mean-path
    keep = keep - U * ((dU * U) @ share)  # part: var-path
    dA = R * keep  # part: dx
    dgamma = np.sum(dZ * U, axis=1, keepdims=True)  # part: dgamma
    dbeta = np.sum(dZ, axis=1, keepdims=True)  # part: dbeta
    return dA, dgamma, dbeta  # part: return
