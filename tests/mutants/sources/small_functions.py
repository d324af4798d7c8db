"""Small functions that forward and backward share."""

import numpy as np


def _average(t):
    return np.sum(t, axis=0) / t.shape[0]  # part: shared-average


def _rstd(variance, eps):
    return 1.0 / np.sqrt(variance + eps)  # part: std


def _project(t, unit):
    return unit * _average(t * unit)  # part: var-path


def normalize_forward(x, gamma, beta, eps=1e-5):
    centred = x - _average(x)  # part: xc
    rstd = _rstd(_average(centred**2), eps)  # part: var
    unit = centred * rstd  # part: xhat
    out = gamma * unit + beta  # part: y
    return out, (unit, rstd, gamma)


def normalize_backward(grad_out, cache):
    unit, rstd, gamma = cache
    grad_gamma = np.sum(grad_out * unit, axis=0)  # part: dgamma
    grad_beta = np.sum(grad_out, axis=0)  # part: dbeta
    grad_unit = grad_out * gamma  # part: dxhat
    grad_x = rstd * (
        grad_unit  # part: direct
        - _average(grad_unit)  # part: mean-path
        - _project(grad_unit, unit)  # part: var-path
    )
    return grad_x, grad_gamma, grad_beta  # part: return
