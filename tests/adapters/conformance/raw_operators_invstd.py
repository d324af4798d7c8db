# shape: raw operators with saved mean and inverse std: native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps); native_batch_norm_backward(grad_out, input, weight, save_mean, save_invstd)
# name: native_batch_norm
# layouts: NC, NCL, NCHW, NCDHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: unbiased
# running-start: passed by the caller
# mode-switch: argument training (required, positional)
# returns: tuple (grad_input, grad_weight, grad_bias)
# note: running_mean and running_var are changed in place
# bug-mean-path-dropped: (grad_out - _bc(grad_out.sum(axis=dims) / n, ndim) - proj) ==> (grad_out - proj)
# bug-dbeta-times-gamma: grad_bias = grad_out.sum(dims) ==> grad_bias = grad_out.sum(dims) * weight
# bug-unbiased-variance: invstd = 1 / np.sqrt(ssd / n + eps) ==> invstd = 1 / np.sqrt(ssd / (n - 1) + eps)
import numpy as np


def _bc(v, ndim):
    return v.reshape((1, -1) + (1,) * (ndim - 2))


def native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps):
    dims = (0,) + tuple(range(2, input.ndim))
    if training:
        n = input.size // input.shape[1]
        mean = input.sum(dims) / n
        ssd = ((input - _bc(mean, input.ndim)) ** 2).sum(dims)
        invstd = 1 / np.sqrt(ssd / n + eps)
        if running_mean is not None:
            running_mean[:] = (1 - momentum) * running_mean + momentum * mean
        if running_var is not None:
            running_var[:] = (1 - momentum) * running_var + momentum * ssd / max(n - 1, 1)
    else:
        mean, invstd = running_mean, 1 / np.sqrt(running_var + eps)
    alpha = weight * invstd
    out = (input - _bc(mean, input.ndim)) * _bc(alpha, input.ndim) + _bc(bias, input.ndim)
    return out, mean, invstd


def native_batch_norm_backward(grad_out, input, weight, save_mean, save_invstd):
    ndim = input.ndim
    dims = (0,) + tuple(range(2, ndim))
    n = grad_out.size // grad_out.shape[1]
    xhat = (input - _bc(save_mean, ndim)) * _bc(save_invstd, ndim)
    grad_bias = grad_out.sum(dims)
    grad_weight = (grad_out * xhat).sum(dims)
    proj = xhat * _bc((grad_out * xhat).sum(dims) / n, ndim)
    grad_input = (grad_out - _bc(grad_out.sum(axis=dims) / n, ndim) - proj) * _bc(weight * save_invstd, ndim)
    return grad_input, grad_weight, grad_bias
