"""What the backward needs is saved in a dataclass."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Saved:
    centered: np.ndarray
    std: np.ndarray
    gamma: np.ndarray


def bn_forward(x, gamma, beta, eps=1e-5):
    centered = x - x.mean(axis=0)  # part: xc
    var = (centered**2).mean(axis=0)  # part: var
    std = (var + eps) ** 0.5  # part: std
    out = gamma * centered / std + beta  # part: y
    return out, Saved(centered, std, gamma)


def bn_backward(dout, saved):
    m = dout.shape[0]  # part: count
    x_hat = saved.centered / saved.std  # part: xhat
    dbeta = dout.sum(axis=0)  # part: dbeta
    dgamma = (dout * x_hat).sum(axis=0)  # part: dgamma
    dx_hat = dout * saved.gamma  # part: dxhat
    dstd = -(dx_hat * saved.centered).sum(axis=0) / saved.std**2  # part: var-path
    dcentered = dx_hat / saved.std  # part: direct
    dcentered = dcentered + dstd * saved.centered / (m * saved.std)  # part: var-path
    dx = dcentered - dcentered.sum(axis=0) / m  # part: mean-path
    return dx, dgamma, dbeta  # part: return
