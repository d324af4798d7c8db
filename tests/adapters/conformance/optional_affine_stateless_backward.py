# shape: own: functions without a cache; batchnorm(A, eps, gamma=None, beta=None) -> Z; batchnorm_backward(G, A, eps) -> dA
# name: batchnorm
# layouts: NC
# parameter-shape: none
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: dA
# note: the backward is that of a call without gamma and beta, and computes the statistics again
# bug-mean-forgotten: G - G.mean(axis=0) - Z * ==> G - Z *
# bug-eps-outside-root: return (A - A.mean(axis=0)) / np.sqrt(A.var(axis=0) + eps) ==> return (A - A.mean(axis=0)) / (np.sqrt(A.var(axis=0)) + eps)
# bug-wrong-sign: - Z * (G * Z).mean(axis=0) ==> + Z * (G * Z).mean(axis=0)
import numpy as np


def _normalised(A, eps):
    return (A - A.mean(axis=0)) / np.sqrt(A.var(axis=0) + eps)


def batchnorm(A, eps=1e-5, gamma=None, beta=None):
    Z = _normalised(A, eps)
    return Z if gamma is None else gamma * Z + beta


def batchnorm_backward(G, A, eps=1e-5):
    """The gradient of a call without gamma and beta."""
    Z = _normalised(A, eps)
    return (G - G.mean(axis=0) - Z * (G * Z).mean(axis=0)) / np.sqrt(A.var(axis=0) + eps)
