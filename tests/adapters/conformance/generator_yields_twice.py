# shape: generator that yields y, is sent dy, and yields the gradients
# name: batchnorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: (dx, dbeta, dgamma)
# bug-gamma-summed-of-x: dgamma, dbeta = np.sum(dy * unit, axis=0) ==> dgamma, dbeta = np.sum(dy * x, axis=0)
# bug-mean-dropped: dy - dbeta / m - ==> dy -
# bug-two-passes: rate = (x.var(axis=0) + eps) ** -0.5 ==> rate = (x.var(axis=0, ddof=1) + eps) ** -0.5
import numpy as np


def batchnorm(x, gamma, beta, eps=1e-5):
    rate = (x.var(axis=0) + eps) ** -0.5
    unit = (x - x.mean(axis=0)) * rate
    dy = yield unit * gamma + beta
    m = len(x)
    dgamma, dbeta = np.sum(dy * unit, axis=0), np.sum(dy, axis=0)
    dx = gamma * rate * (dy - dbeta / m - unit * dgamma / m)
    yield dx, dbeta, dgamma
