# shape: class with a one-shot cache: a second backward without a forward prints a message and exits the process
# name: BatchNormLayer
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 0
# mode-switch: argument mode: 'train' or 'test' (default 'train')
# returns: tuple (dx, dgamma, dbeta)
# note: sys.exit(1) on a second backward and on an unknown mode
# bug-mean-path-sign-flipped: dx = dx_hat / std - (dx_hat / std).mean(axis=0) ==> dx = dx_hat / std + (dx_hat / std).mean(axis=0)
# bug-dgamma-times-gamma: dgamma = np.sum(dout * x_hat, axis=0) ==> dgamma = np.sum(dx_hat * x_hat, axis=0)
# bug-variance-for-std: std = np.sqrt(var + self.eps) ==> std = var + self.eps
import sys

import numpy as np


class BatchNormLayer(object):
    def __init__(self, D, eps=1e-5, momentum=0.9):
        self.params = dict(gamma=np.ones(D), beta=np.zeros(D))
        self.eps = eps
        self.momentum = momentum
        self.running_mean = np.zeros(D)
        self.running_var = np.zeros(D)
        self.cache = None

    def forward(self, x, mode='train'):
        gamma, beta = self.params['gamma'], self.params['beta']
        if mode == 'train':
            mean, var = np.mean(x, axis=0), np.var(x, axis=0)
            std = np.sqrt(var + self.eps)
            x_hat = (x - mean) / std
            self.cache = (x_hat, std, gamma)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
            return gamma * x_hat + beta
        if mode == 'test':
            return gamma * (x - self.running_mean) / np.sqrt(self.running_var + self.eps) + beta
        print('unknown mode', mode)
        sys.exit(1)

    def backward(self, dout):
        if self.cache is None:
            print('Error: backward() called before forward()!')
            sys.exit(1)
        x_hat, std, gamma = self.cache
        self.cache = None
        dx_hat = dout * gamma
        dgamma = np.sum(dout * x_hat, axis=0)
        dbeta = np.sum(dout, axis=0)
        dx = dx_hat / std - (dx_hat / std).mean(axis=0) - x_hat * np.mean(dx_hat * x_hat, axis=0) / std
        return dx, dgamma, dbeta
