# shape: class whose mode is a text that falls back to "train" after each forward in "test"
# name: BatchNorm
# layouts: CN
# parameter-shape: (C, 1)
# eps-source: fixed
# eps: 1e-05
# momentum: kept
# running-var: biased
# running-start: 0, 0
# mode-switch: attribute mode
# returns: dx and attributes dgamma, dbeta
# bug-mean-path-dropped: return (g - g.mean(axis=1, keepdims=True) - self.xhat ==> return (g - self.xhat
# bug-dbeta-averaged: self.dbeta = dout.sum(axis=1, keepdims=True) ==> self.dbeta = dout.mean(axis=1, keepdims=True)
# bug-variance-not-rooted: self.std = np.sqrt(var + 1e-5) ==> self.std = var + 1e-5
import numpy as np


class BatchNorm:
    def __init__(self, input_dim, momentum=0.9):
        self.gamma = np.ones((input_dim, 1))
        self.beta = np.zeros((input_dim, 1))
        self.running_mean = np.zeros((input_dim, 1))
        self.running_var = np.zeros((input_dim, 1))
        self.momentum = momentum
        self.mode = "train"

    def forward(self, x):
        if self.mode == "test":
            self.mode = "train"
            return self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + 1e-5) + self.beta
        mu = x.mean(axis=1, keepdims=True)
        var = x.var(axis=1, keepdims=True)
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        self.std = np.sqrt(var + 1e-5)
        self.xhat = (x - mu) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        self.dgamma = (dout * self.xhat).sum(axis=1, keepdims=True)
        self.dbeta = dout.sum(axis=1, keepdims=True)
        g = dout * self.gamma
        return (g - g.mean(axis=1, keepdims=True) - self.xhat * (g * self.xhat).mean(axis=1, keepdims=True)) / self.std
