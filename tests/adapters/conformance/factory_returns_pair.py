# shape: factory: make_batch_norm(eps, momentum) -> (forward, backward); forward(x, gamma, beta, training=True), backward(dy)
# name: make_batch_norm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training of forward (default True)
# returns: tuple (dx, dgamma, dbeta)
# note: the state (running statistics, saved tensors) is shared by the two functions that one call of the factory returns
# bug-gamma-missing-in-dx: dhat = dy * state['gamma'] ==> dhat = dy
# bug-dbeta-averaged: dbeta = np.add.reduce(dy, 0) ==> dbeta = np.add.reduce(dy, 0) / len(dy)
# bug-eps-outside-root: std = (var + eps) ** 0.5 ==> std = var ** 0.5 + eps
import numpy as np


def make_batch_norm(eps=1e-5, momentum=0.9):
    state = {}

    def forward(x, gamma, beta, training=True):
        if 'mean' not in state:
            state['mean'] = np.zeros(x.shape[1])
            state['var'] = np.ones(x.shape[1])
        if not training:
            return (x - state['mean']) / np.sqrt(state['var'] + eps) * gamma + beta
        mean = np.add.reduce(x, 0) / len(x)
        var = np.add.reduce((x - mean) ** 2, 0) / len(x)
        std = (var + eps) ** 0.5
        hat = (x - mean) / std
        state['mean'] = momentum * state['mean'] + (1 - momentum) * mean
        state['var'] = momentum * state['var'] + (1 - momentum) * var
        state['hat'], state['std'], state['gamma'] = hat, std, gamma
        return hat * gamma + beta

    def backward(dy):
        hat, std = state['hat'], state['std']
        dgamma = np.add.reduce(dy * hat, 0)
        dbeta = np.add.reduce(dy, 0)
        dhat = dy * state['gamma']
        dx = (dhat - dhat.mean(0) - hat * (dhat * hat).mean(0)) / std
        return dx, dgamma, dbeta

    return forward, backward
