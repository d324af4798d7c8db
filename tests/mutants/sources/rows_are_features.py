"""Features first: a row is a feature, a column is an example (as in courses that write Z = W A + b)."""

import numpy as np


def batch_norm_forward(Z, gamma, beta, eps=1e-8):
    m = Z.shape[1]  # part: count
    mu = np.sum(Z, axis=1, keepdims=True) / m  # part: mu
    Zc = Z - mu  # part: xc
    sigma2 = np.sum(np.square(Zc), axis=1, keepdims=True) / m  # part: var
    sigma = np.sqrt(sigma2 + eps)  # part: std
    Z_norm = Zc / sigma  # part: xhat
    Z_tilde = gamma * Z_norm + beta  # part: y
    return Z_tilde, (Z_norm, Zc, sigma, gamma)


def batch_norm_backward(dZ_tilde, cache):
    Z_norm, Zc, sigma, gamma = cache
    m = dZ_tilde.shape[1]  # part: count
    dgamma = np.sum(dZ_tilde * Z_norm, axis=1, keepdims=True)  # part: dgamma
    dbeta = np.sum(dZ_tilde, axis=1, keepdims=True)  # part: dbeta
    dZ_norm = dZ_tilde * gamma  # part: dxhat
    dsigma2 = np.sum(dZ_norm * Zc, axis=1, keepdims=True) * (-0.5) / sigma**3  # part: var-path
    dmu = -np.sum(dZ_norm, axis=1, keepdims=True) / sigma  # part: mean-path
    dZ = dZ_norm / sigma  # part: direct
    dZ = dZ + dsigma2 * 2 * Zc / m  # part: var-path
    dZ = dZ + dmu / m  # part: mean-path
    return dZ, dgamma, dbeta  # part: return
