# shape: functions without gamma and beta: normalize(x, eps) -> (y, cache), normalize_grad(dy, cache) -> dx
# name: normalize
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: none
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: dx
# bug-variance-path-dropped: d = d - y * (d * y).mean(0) ==> d = d - 0 * y
# bug-mean-path-sign-flipped: d = d - d.mean(0) ==> d = d + d.mean(0)
# bug-eps-outside-root: sd = np.sqrt(c.var(0) + eps) ==> sd = np.sqrt(c.var(0)) + eps
import numpy as np


def normalize(x, eps=1e-5):
    c = x.reshape(-1, x.shape[-1])
    c = c - c.mean(0)
    sd = np.sqrt(c.var(0) + eps)
    y = c / sd
    return y.reshape(x.shape), (y, sd)


def normalize_grad(dy, cache):
    y, sd = cache
    d = dy.reshape(y.shape)
    d = d - y * (d * y).mean(0)
    d = d - d.mean(0)
    return (d / sd).reshape(dy.shape)
