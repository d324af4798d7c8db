# shape: function pair, channels last, of small differentiable steps; each gradient is summed to the shape of what it belongs to, whatever that is
# name: batch_norm_forward
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dgamma, dbeta)
# note: gamma of any shape that broadcasts is taken, and its gradient has that shape: which axis holds the channels is told by the statistics alone
# bug-mean-path-dropped: d_mean = unbroadcast(-d_centred, mean.shape) ==> d_mean = np.zeros(mean.shape)
# bug-variance-path-doubled: 2 * centred * ==> 4 * centred *
# bug-gamma-forgotten: d_normal = dy * gamma ==> d_normal = dy * 1.0
import numpy as np


def unbroadcast(gradient, shape):
    """Sum what broadcasting has spread."""
    for _ in range(gradient.ndim - len(shape)):
        gradient = gradient.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1:
            gradient = gradient.sum(axis=axis, keepdims=True)
    return gradient


def batch_norm_forward(x, gamma, beta, eps=1e-5):
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes)
    centred = x - mean
    std = np.sqrt((centred**2).mean(axis=axes) + eps)
    return gamma * (centred / std) + beta, (centred, std, mean, gamma, beta)


def batch_norm_backward(dy, cache):
    centred, std, mean, gamma, beta = cache
    m = dy.size // std.size
    d_normal = dy * gamma
    d_std = unbroadcast(-d_normal * centred / std**2, std.shape)
    d_centred = d_normal / std + 2 * centred * (d_std / (2 * std)) / m
    d_mean = unbroadcast(-d_centred, mean.shape)
    dx = d_centred + d_mean / m
    return dx, unbroadcast(dy * (centred / std), np.shape(gamma)), unbroadcast(dy, np.shape(beta))
