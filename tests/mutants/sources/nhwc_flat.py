"""Channels last: all but the last axis are flattened into rows, and unflattened at the end."""

import numpy as np


def bn_forward(images, gamma, beta, eps=1e-3):
    flat = images.reshape(-1, images.shape[-1])
    mean = flat.mean(0)  # part: mu
    variance = ((flat - mean) ** 2).mean(0)  # part: var
    std = np.sqrt(variance + eps)  # part: std
    normalized = (flat - mean) / std  # part: xhat
    out = normalized * gamma + beta  # part: y
    return out.reshape(images.shape), (normalized, std, gamma)


def bn_backward(grad, cache):
    normalized, std, gamma = cache
    g = grad.reshape(-1, grad.shape[-1])
    d_beta = g.sum(0)  # part: dbeta
    d_gamma = (g * normalized).sum(0)  # part: dgamma
    d_norm = g * gamma  # part: dxhat
    d_norm_mean = d_norm.mean(0)  # part: mean-path
    d_norm_proj = (d_norm * normalized).mean(0)  # part: var-path
    d_images = (
        d_norm  # part: direct
        - d_norm_mean  # part: mean-path
        - normalized * d_norm_proj  # part: var-path
    ) / std  # part: dx
    return d_images.reshape(grad.shape), d_gamma, d_beta  # part: return
