# shape: batch_norm(x, gamma, beta) -> (mean, inv_std, x_hat, out): y comes last, behind an array of its shape
# name: batch_norm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dgamma, dbeta)
# bug-unbiased: x.var(axis=0) ==> x.var(axis=0, ddof=1)
# bug-dbeta-is-mean: np.sum(dout, axis=0) ==> np.mean(dout, axis=0)
# bug-beta-forgotten: gamma * x_hat + beta ==> gamma * x_hat
import numpy as np


def batch_norm(x, gamma, beta, epsilon=1e-5):
    mean = x.mean(axis=0)
    inv_std = 1 / np.sqrt(x.var(axis=0) + epsilon)
    x_hat = (x - mean) * inv_std
    out = gamma * x_hat + beta
    return mean, inv_std, x_hat, out


def batch_norm_backward(dout, gamma, inv_std, x_hat):
    dgamma = np.sum(dout * x_hat, axis=0)
    dbeta = np.sum(dout, axis=0)
    dx = gamma * inv_std * (dout - dbeta / len(dout) - x_hat * dgamma / len(dout))
    return dx, dgamma, dbeta
