# shape: old code: dict.iteritems, np.int and np.product in other layers and helpers of the same file, not on the way of Batch Normalization
# name: BatchNormalization
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 0
# mode-switch: argument deterministic (default False)
# returns: dx and dict grads["gamma"], grads["beta"]
# bug-variance-path-dropped: dx = self.inv_std * (dxn - dxn.mean(0) - self.xn * (dxn * self.xn).mean(0)) ==> dx = self.inv_std * (dxn - dxn.mean(0))
# bug-dbeta-averaged: self.grads['beta'] = dout.sum(0) ==> self.grads['beta'] = dout.mean(0)
# bug-eps-outside-root: self.inv_std = 1. / np.sqrt(var + self.epsilon) ==> self.inv_std = 1. / (np.sqrt(var) + self.epsilon)
from __future__ import absolute_import, division, print_function

import numpy as np


def one_hot(labels, n):
    labels = labels.astype(np.int)
    out = np.zeros((len(labels), n))
    out[np.arange(len(labels)), labels] = 1
    return out


class Flatten(object):
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(x.shape[0], np.product(x.shape[1:]))

    def backward(self, dout):
        return dout.reshape(self.shape)


class BatchNormalization(object):
    def __init__(self, n_in, epsilon=1e-6, momentum=0.9):
        self.params = {'gamma': np.ones(n_in), 'beta': np.zeros(n_in)}
        self.grads = {}
        self.epsilon = epsilon
        self.momentum = momentum
        self.mean = np.zeros(n_in)
        self.var = np.zeros(n_in)

    def save(self):
        return [(k, v.tolist()) for k, v in self.params.iteritems()]

    def n_params(self):
        return sum(np.product(p.shape) for p in self.params.values())

    def forward(self, x, deterministic=False):
        if deterministic:
            xn = (x - self.mean) / np.sqrt(self.var + self.epsilon)
            return self.params['gamma'] * xn + self.params['beta']
        mean = x.mean(0)
        var = x.var(0)
        self.mean = self.momentum * self.mean + (1 - self.momentum) * mean
        self.var = self.momentum * self.var + (1 - self.momentum) * var
        self.inv_std = 1. / np.sqrt(var + self.epsilon)
        self.xn = (x - mean) * self.inv_std
        return self.params['gamma'] * self.xn + self.params['beta']

    def backward(self, dout):
        self.grads['gamma'] = (dout * self.xn).sum(0)
        self.grads['beta'] = dout.sum(0)
        dxn = dout * self.params['gamma']
        dx = self.inv_std * (dxn - dxn.mean(0) - self.xn * (dxn * self.xn).mean(0))
        return dx
