# shape: one forward that returns its cache if it is told to, and one function for each gradient
# name: batch_norm_nchw
# layouts: NCHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: three functions: compute_dx, compute_dgamma, compute_dbeta
# note: each takes what it needs of the cache, under the names that the forward gives it
# bug-mean-path-dropped: (m * g - _sum(g) - x_norm * _sum(g * x_norm)) ==> (m * g - x_norm * _sum(g * x_norm))
# bug-dgamma-of-std: return np.einsum("bhij->h", dy * x_norm) ==> return np.einsum("bhij->h", dy * x_norm) / dy.shape[0]
# bug-biased-by-one: var = _sum((x - mu) ** 2) / (x.size / x.shape[1]) ==> var = _sum((x - mu) ** 2) / (x.size / x.shape[1] - 1)
import numpy as np


def _sum(a):
    return a.sum(axis=(0, 2, 3), keepdims=True)


def batch_norm_nchw(x, gamma, beta, eps=1e-5, return_cache=False):
    n_channels = x.shape[1]
    gamma_b = gamma.reshape(1, n_channels, 1, 1)
    mu = _sum(x) / (x.size / x.shape[1])
    var = _sum((x - mu) ** 2) / (x.size / x.shape[1])
    std_b = np.sqrt(var + eps)
    x_norm = (x - mu) / std_b
    y = gamma_b * x_norm + beta.reshape(1, n_channels, 1, 1)
    if return_cache:
        cache = (x_norm, gamma_b, std_b)
        return y, cache
    return y


def compute_dgamma(dy, x_norm):
    return np.einsum("bhij->h", dy * x_norm)


def compute_dbeta(dy):
    return np.einsum("bhij->h", dy)


def compute_dx(dy, std_b, x_norm, gamma_b):
    m = dy.size / dy.shape[1]
    g = dy * gamma_b
    return (m * g - _sum(g) - x_norm * _sum(g * x_norm)) / (m * std_b)
