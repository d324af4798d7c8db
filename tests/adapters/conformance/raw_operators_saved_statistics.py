# shape: raw operators with explicit saved statistics: fused_batch_norm(x, scale, offset, epsilon) -> (y, mean, variance); fused_batch_norm_grad(x, dy, scale, mean, variance, epsilon)
# name: fused_batch_norm
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: another function: fused_batch_norm_inference(x, scale, offset, mean, variance, epsilon)
# returns: tuple (dx, d_scale, d_offset)
# bug-eps-missing-in-backward: inv_std = 1.0 / np.sqrt(variance + epsilon)  # as in the forward ==> inv_std = 1.0 / np.sqrt(variance)
# bug-dgamma-with-centred-x: d_scale = np.sum(dy * centered, axis=axes) * inv_std ==> d_scale = np.sum(dy * centered, axis=axes)
# bug-offset-scaled: y = (x - mean) / np.sqrt(variance + epsilon) * scale + offset  # training ==> y = ((x - mean) / np.sqrt(variance + epsilon) + offset) * scale
import numpy as np


def fused_batch_norm(x, scale, offset, epsilon=1e-3):
    axes = tuple(range(x.ndim - 1))
    mean = np.mean(x, axis=axes)
    variance = np.mean(np.square(x - mean), axis=axes)
    y = (x - mean) / np.sqrt(variance + epsilon) * scale + offset  # training
    return y, mean, variance


def fused_batch_norm_inference(x, scale, offset, mean, variance, epsilon=1e-3):
    return (x - mean) / np.sqrt(variance + epsilon) * scale + offset


def fused_batch_norm_grad(x, dy, scale, mean, variance, epsilon=1e-3):
    """
    Returns (dx, d_scale, d_offset) of the training step; mean and variance are
    those of the forward, channels are last.
    """
    axes = tuple(range(x.ndim - 1))
    inv_std = 1.0 / np.sqrt(variance + epsilon)  # as in the forward
    centered = x - mean
    d_offset = np.sum(dy, axis=axes)
    d_scale = np.sum(dy * centered, axis=axes) * inv_std
    dx = scale * inv_std * (
        dy - np.mean(dy, axis=axes) - centered * inv_std**2 * np.mean(dy * centered, axis=axes))
    return dx, d_scale, d_offset
