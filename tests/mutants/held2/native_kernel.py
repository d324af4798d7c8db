"""Images as compiled kernels treat them: a dot product, a mean of gradients, one scale for each channel."""

import numpy as np


def _shaped(t):
    return t[None, :, None, None]


def batch_norm_forward(x, weight, bias, eps=1e-5):
    n = x.size // x.shape[1]  # part: count
    mean = x.sum(axis=(0, 2, 3)) / n  # part: mu
    var_sum = ((x - _shaped(mean)) ** 2).sum(axis=(0, 2, 3))  # part: var
    invstd = 1 / np.sqrt(var_sum / n + eps)  # part: std
    out = (x - _shaped(mean)) * _shaped(invstd * weight) + _shaped(bias)  # part: y
    return out, (x, weight, mean, invstd)


def batch_norm_backward(grad_out, cache):
    x, weight, mean, invstd = cache
    n = grad_out.size // grad_out.shape[1]  # part: count
    total = grad_out.sum(axis=(0, 2, 3))  # part: dbeta
    dotp = ((x - _shaped(mean)) * grad_out).sum(axis=(0, 2, 3))  # part: dgamma
    k = dotp * invstd * invstd / n  # part: var-path
    grad_mean = total / n  # part: mean-path
    grad_in = (
        grad_out  # part: direct
        - _shaped(grad_mean)  # part: mean-path
        - (x - _shaped(mean)) * _shaped(k)  # part: var-path
    ) * _shaped(invstd * weight)  # part: dx
    grad_weight = dotp * invstd  # part: dgamma
    return grad_in, grad_weight, total  # part: return
