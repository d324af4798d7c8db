"""The forward returns the output and a function that pulls gradients back."""

import numpy as np


def batch_norm(x, gamma, beta, eps=1e-5):
    mu = x.mean(0)  # part: mu
    sigma = np.sqrt(((x - mu) ** 2).mean(0) + eps)  # part: std
    z = (x - mu) / sigma  # part: xhat
    y = z * gamma + beta  # part: y

    def pullback(dy):
        dz = dy * gamma  # part: dxhat
        dx = (
            dz  # part: direct
            - dz.mean(0)  # part: mean-path
            - z * (dz * z).mean(0)  # part: var-path
        ) / sigma  # part: dx
        dgamma = (dy * z).sum(0)  # part: dgamma
        dbeta = dy.sum(0)  # part: dbeta
        return dx, dgamma, dbeta  # part: return

    return y, pullback
