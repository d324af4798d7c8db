# shape: functions norm_forward, norm_backward; the new running statistics are among what the cache holds, and nowhere else
# name: norm_forward
# layouts: NC
# parameter-shape: (C,)
# eps-source: fixed
# eps: 1e-6
# momentum: kept
# running-var: biased
# running-start: 0, 1 as given; the first batch where None is
# mode-switch: argument mode: "train" or "test" (default "train")
# returns: tuple (dx, dgamma, dbeta)
# bug-mean-path-missing: dx = (dz - dz.mean(axis=0) - z * (dz * z).mean(axis=0)) * inv ==> dx = (dz - z * (dz * z).mean(axis=0)) * inv
# bug-dgamma-averaged: dgamma = (dout * z).sum(axis=0) ==> dgamma = (dout * z).mean(axis=0)
# bug-one-variance-for-all: var = np.square(x - mean).mean(axis=0) ==> var = np.square(x - mean).mean()
import numpy as np


def relu_forward(x):
    return np.maximum(x, 0), x


def relu_backward(dout, cache):
    return dout * (cache > 0)


def norm_forward(x, gamma, beta, running_mean, running_var, mode="train"):
    """Batch normalization of (N, D) data; hand the last two of the cache to the next call."""
    if mode == "test":
        z = (x - running_mean) / np.sqrt(running_var + 1e-6)
        cache = None
    else:
        mean = x.mean(axis=0)
        var = np.square(x - mean).mean(axis=0)
        inv = 1 / np.sqrt(var + 1e-6)
        z = (x - mean) * inv
        running_mean = mean if running_mean is None else 0.8 * running_mean + 0.2 * mean
        running_var = var if running_var is None else 0.8 * running_var + 0.2 * var
        cache = (gamma, z, inv, running_mean, running_var)
    return gamma * z + beta, cache


def norm_backward(dout, cache):
    gamma, z, inv = cache[:3]
    dbeta = dout.sum(axis=0)
    dgamma = (dout * z).sum(axis=0)
    dz = dout * gamma
    dx = (dz - dz.mean(axis=0) - z * (dz * z).mean(axis=0)) * inv
    return dx, dgamma, dbeta
