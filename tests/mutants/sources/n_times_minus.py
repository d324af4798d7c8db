"""The short form: N dxhat minus two sums, one product in front."""

import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    sample_mean = x.mean(axis=0)  # part: mu
    sample_var = x.var(axis=0)  # part: var
    x_normalized = (x - sample_mean) / np.sqrt(sample_var + eps)  # part: xhat
    out = gamma * x_normalized + beta  # part: y
    return out, (x, x_normalized, sample_var, gamma, eps)


def batchnorm_backward(dout, cache):
    x, x_normalized, sample_var, gamma, eps = cache
    N = x.shape[0]
    dgamma = np.sum(dout * x_normalized, axis=0)  # part: dgamma
    dbeta = np.sum(dout, axis=0)  # part: dbeta
    dx_normalized = dout * gamma  # part: dxhat
    dx = (
        1.0
        / N  # part: dx
        / np.sqrt(sample_var + eps)  # part: dx
        * (
            N * dx_normalized  # part: direct
            - np.sum(dx_normalized, axis=0)  # part: mean-path
            - x_normalized * np.sum(dx_normalized * x_normalized, axis=0)  # part: var-path
        )
    )
    return dx, dgamma, dbeta  # part: return
