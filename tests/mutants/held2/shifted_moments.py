"""Two moments about the first row; the gradient goes through both moments. The cache is a named tuple."""

from typing import NamedTuple

import numpy as np


class Kept(NamedTuple):
    moved: np.ndarray
    first: np.ndarray
    inv: np.ndarray
    gamma: np.ndarray


def bn_forward(x, gamma, beta, eps=1e-5):
    moved = x - x[0]
    first = moved.mean(axis=0)  # part: mu
    second = (moved**2).mean(axis=0)  # part: var
    inv = 1.0 / np.sqrt(second - first**2 + eps)  # part: std
    unit = (moved - first) * inv  # part: xhat
    return gamma * unit + beta, Kept(moved, first, inv, gamma)  # part: y


def bn_backward(dout, kept):
    n = dout.shape[0]  # part: count
    unit = (kept.moved - kept.first) * kept.inv  # part: xhat
    dgamma = (dout * unit).sum(axis=0)  # part: dgamma
    dbeta = dout.sum(axis=0)  # part: dbeta
    dunit = dout * kept.gamma  # part: dxhat
    dvar = -0.5 * kept.inv**2 * (dunit * unit).sum(axis=0)  # part: var-path
    dfirst = -kept.inv * dunit.sum(axis=0)  # part: mean-path
    dfirst = dfirst - 2.0 * kept.first * dvar  # part: var-path
    dx = dunit * kept.inv  # part: direct
    dx = dx + 2.0 * kept.moved * dvar / n  # part: var-path
    dx = dx + dfirst / n  # part: mean-path
    return dx, dgamma, dbeta  # part: return
