# shape: functions for NCHW data with gamma and beta of shape (1, C, 1, 1)
# name: bn2d_forward
# layouts: NCHW
# parameter-shape: (1, C, 1, 1)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dgamma, dbeta)
# bug-mean-path-sign-flipped: dx = dx_centered - np.mean(dx_centered, axis=AXES, keepdims=True) ==> dx = dx_centered + np.mean(dx_centered, axis=AXES, keepdims=True)
# bug-dgamma-averaged-over-pixels: dgamma = np.sum(dout * x_norm, axis=AXES, keepdims=True) ==> dgamma = np.sum(dout * x_norm, axis=AXES, keepdims=True) / (dout.shape[2] * dout.shape[3])
# bug-unbiased-variance: var = np.var(x, axis=AXES, keepdims=True) ==> var = np.var(x, axis=AXES, keepdims=True, ddof=1)
import numpy as np

AXES = (0, 2, 3)


def bn2d_forward(x, gamma, beta, epsilon=1e-5):
    if gamma.ndim != 4 or beta.ndim != 4:
        raise ValueError("gamma and beta must have shape (1, C, 1, 1)")
    mean = np.mean(x, axis=AXES, keepdims=True)
    var = np.var(x, axis=AXES, keepdims=True)
    std = np.sqrt(var + epsilon)
    x_centered = x - mean
    x_norm = x_centered / std
    return gamma * x_norm + beta, {"x_centered": x_centered, "x_norm": x_norm, "std": std, "gamma": gamma}


def bn2d_backward(dout, cache):
    x_norm, x_centered, std = cache["x_norm"], cache["x_centered"], cache["std"]
    n, _, h, w = dout.shape
    dgamma = np.sum(dout * x_norm, axis=AXES, keepdims=True)
    dbeta = np.sum(dout, axis=AXES, keepdims=True)
    dx_norm = dout * cache["gamma"]
    dvar = np.sum(dx_norm * x_centered, axis=AXES, keepdims=True) * -0.5 / std**3
    dx_centered = dx_norm / std + dvar * 2 * x_centered / (n * h * w)
    dx = dx_centered - np.mean(dx_centered, axis=AXES, keepdims=True)
    return dx, dgamma, dbeta
