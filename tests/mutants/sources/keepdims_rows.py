"""Everything two-dimensional: statistics stay rows, and so do the gradients of the parameters until the end."""

import numpy as np


def batch_norm_forward(inputs, scale, shift, epsilon=1e-5):
    mean = np.mean(inputs, axis=0, keepdims=True)  # part: mu
    dev = inputs - mean  # part: xc
    variance = np.mean(dev * dev, axis=0, keepdims=True)  # part: var
    denom = np.sqrt(variance + epsilon)  # part: std
    normed = dev / denom  # part: xhat
    outputs = normed * scale + shift  # part: y
    return outputs, (dev, variance, scale, epsilon)


def batch_norm_backward(upstream, cache):
    dev, variance, scale, epsilon = cache
    batch = upstream.shape[0]  # part: count
    denom = np.sqrt(variance + epsilon)  # part: std
    normed = dev / denom  # part: xhat
    dscale = np.sum(upstream * normed, axis=0)  # part: dgamma
    dshift = np.sum(upstream, axis=0)  # part: dbeta
    dnormed = upstream * scale  # part: dxhat
    dvariance = -0.5 * np.sum(dnormed * dev, axis=0, keepdims=True) / denom**3  # part: var-path
    dmean = -np.sum(dnormed / denom, axis=0, keepdims=True)  # part: mean-path
    dmean = dmean - 2.0 * dvariance * np.mean(dev, axis=0, keepdims=True)  # part: mean-path
    dinputs = dnormed / denom  # part: direct
    dinputs = dinputs + 2.0 * dvariance * dev / batch  # part: var-path
    dinputs = dinputs + dmean / batch  # part: mean-path
    return dinputs, dscale, dshift  # part: return
