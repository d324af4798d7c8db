# shape: functions for training, inference and backward; the new running statistics are returned, and given to the inference
# name: batchnorm_forward
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: function batchnorm_inference
# returns: tuple (dx, dgamma, dbeta)
# bug-mean-path-dropped: return (g - g.mean(0) - xhat ==> return (g - xhat
# bug-dgamma-averaged: (dout * xhat).sum(0), dout.sum(0) ==> (dout * xhat).mean(0), dout.sum(0)
# bug-eps-outside: std = np.sqrt(var + eps) ==> std = np.sqrt(var) + eps
import numpy as np


def batchnorm_forward(x, gamma, beta, running_mean, running_var, momentum=0.9, eps=1e-5):
    mu, var = x.mean(0), x.var(0)
    running_mean = momentum * running_mean + (1 - momentum) * mu
    running_var = momentum * running_var + (1 - momentum) * var
    std = np.sqrt(var + eps)
    xhat = (x - mu) / std
    return gamma * xhat + beta, (xhat, std, gamma), running_mean, running_var


def batchnorm_inference(x, gamma, beta, running_mean, running_var, eps=1e-5):
    return gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta


def batchnorm_backward(dout, cache):
    xhat, std, gamma = cache
    g = dout * gamma
    return (g - g.mean(0) - xhat * (g * xhat).mean(0)) / std, (dout * xhat).sum(0), dout.sum(0)
