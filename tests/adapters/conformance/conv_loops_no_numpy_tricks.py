# shape: functions for (N, C, H, W) in plain loops over everything; eps hard-coded 1e-12
# name: BatchNorm_Forward
# layouts: NCHW
# parameter-shape: (C,)
# eps-source: fixed
# eps: 1e-12
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dgamma, dbeta)
# note: float32 data gives float64 results
# bug-spatial-count: M = N * H * W # number of values in a channel (backward) ==> M = N * H
# bug-dgamma-with-raw-x: dgamma[c] += dout[n, c, h, w] * xhat[n, c, h, w] ==> dgamma[c] += dout[n, c, h, w] * x[n, c, h, w]
# bug-shift-before-scale: out[n, c, h, w] = gamma[c] * xhat[n, c, h, w] + beta[c] ==> out[n, c, h, w] = gamma[c] * (xhat[n, c, h, w] + beta[c])
import math

import numpy as np


def BatchNorm_Forward(x, gamma, beta):
    N, C, H, W = x.shape
    out = np.zeros(x.shape)
    xhat = np.zeros(x.shape)
    ivar = []
    for c in range(C):
        total = 0.0
        for n in range(N):
            for h in range(H):
                for w in range(W):
                    total += x[n, c, h, w]
        mean = total / (N * H * W)
        total = 0.0
        for n in range(N):
            for h in range(H):
                for w in range(W):
                    total += (x[n, c, h, w] - mean) ** 2
        ivar.append(1.0 / math.sqrt(total / (N * H * W) + 1e-12))
        for n in range(N):
            for h in range(H):
                for w in range(W):
                    xhat[n, c, h, w] = (x[n, c, h, w] - mean) * ivar[c]
                    out[n, c, h, w] = gamma[c] * xhat[n, c, h, w] + beta[c]
    return out, (x, xhat, ivar, gamma)


def BatchNorm_Backward(dout, cache):
    x, xhat, ivar, gamma = cache
    N, C, H, W = dout.shape
    M = N * H * W # number of values in a channel (backward)
    dx = np.zeros(dout.shape)
    dgamma = np.zeros(C)
    dbeta = np.zeros(C)
    for c in range(C):
        for n in range(N):
            for h in range(H):
                for w in range(W):
                    dgamma[c] += dout[n, c, h, w] * xhat[n, c, h, w]
                    dbeta[c] += dout[n, c, h, w]
        for n in range(N):
            for h in range(H):
                for w in range(W):
                    dx[n, c, h, w] = gamma[c] * ivar[c] * (dout[n, c, h, w] - dbeta[c] / M - xhat[n, c, h, w] * dgamma[c] / M)
    return dx, dgamma, dbeta
