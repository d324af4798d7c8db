# shape: batch_norm_train(x, beta, gamma, moving_mean, moving_variance, decay, epsilon) with beta first; separate inference function
# name: batch_norm_train
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: unbiased
# running-start: passed by the caller
# mode-switch: function batch_norm_inference
# returns: tuple (grad_x, grad_beta, grad_gamma)
# bug-eps-hard-coded-in-backward: rstd = 1.0 / np.sqrt(variance + epsilon)  # again ==> rstd = 1.0 / np.sqrt(variance + 0.1)
# bug-names-swapped: return grad_x, grad_beta, grad_gamma ==> grad_beta, grad_gamma = grad_gamma, grad_beta; return grad_x, grad_beta, grad_gamma
# bug-beta-subtracted: y = normalized * gamma + beta ==> y = normalized * gamma - beta
import numpy as np


def batch_norm_train(x, beta, gamma, moving_mean, moving_variance, decay=0.99, epsilon=1e-3):
    """Normalize a mini-batch and update the moving averages.

    Args:
      x: 2-D array, [batch, depth].
      beta: offset, [depth].
      gamma: scale, [depth].
      moving_mean, moving_variance: statistics so far, [depth].
      decay: how much of the old moving average is kept.
      epsilon: a small float number to avoid dividing by 0.

    Returns:
      y, context for the gradient, new moving mean, new moving variance.
    """
    batch = x.shape[0]
    mean = np.sum(x, axis=0) / batch
    variance = np.sum(np.square(x - mean), axis=0) / batch
    normalized = (x - mean) / np.sqrt(variance + epsilon)
    y = normalized * gamma + beta
    # the moving variance is an estimate of the population variance
    correction = batch / (batch - 1.0) if batch > 1 else 1.0
    moving_mean = decay * moving_mean + (1 - decay) * mean
    moving_variance = decay * moving_variance + (1 - decay) * variance * correction
    return y, (normalized, variance, gamma, epsilon), moving_mean, moving_variance


def batch_norm_inference(x, beta, gamma, moving_mean, moving_variance, epsilon=1e-3):
    return gamma * (x - moving_mean) / np.sqrt(moving_variance + epsilon) + beta


def batch_norm_grad(grad_y, context):
    """Gradients with respect to x, beta and gamma."""
    normalized, variance, gamma, epsilon = context
    rstd = 1.0 / np.sqrt(variance + epsilon)  # again
    grad_beta = np.sum(grad_y, axis=0)
    grad_gamma = np.sum(grad_y * normalized, axis=0)
    batch = grad_y.shape[0]
    grad_x = gamma * rstd * (grad_y - (grad_beta + normalized * grad_gamma) / batch)
    return grad_x, grad_beta, grad_gamma
