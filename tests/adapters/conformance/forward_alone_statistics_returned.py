# shape: forward alone of a textbook: batch_norm(X, gamma, beta, moving_mean, moving_var, eps, momentum, is_training) returns y and the statistics
# name: batch_norm
# layouts: NC, NCHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument is_training
# returns: (y, moving_mean, moving_var); no backward
# bug-absolute-deviation: np.mean((X - mean) ** 2, ==> np.mean(np.abs(X - mean),
# bug-eps-left-out: np.sqrt(var + eps) ==> np.sqrt(var)
# bug-gamma-left-out: return shaped(gamma) * X_hat ==> return X_hat
import numpy as np


def batch_norm(X, gamma, beta, moving_mean, moving_var, eps, momentum, is_training):
    axes = (0,) if X.ndim == 2 else (0, 2, 3)

    def shaped(values):
        return values if X.ndim == 2 else values.reshape(1, -1, 1, 1)

    if is_training:
        mean = np.mean(X, axis=axes, keepdims=True)
        var = np.mean((X - mean) ** 2, axis=axes, keepdims=True)
        moving_mean = momentum * moving_mean + (1.0 - momentum) * mean.reshape(-1)
        moving_var = momentum * moving_var + (1.0 - momentum) * var.reshape(-1)
    else:
        mean, var = shaped(moving_mean), shaped(moving_var)
    X_hat = (X - mean) / np.sqrt(var + eps)
    return shaped(gamma) * X_hat + shaped(beta), moving_mean, moving_var
