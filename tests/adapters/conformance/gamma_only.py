# shape: class with gamma only, no beta: backward returns (dx, dgamma)
# name: ScaleNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: attribute training
# returns: tuple (dx, dgamma)
# note: no shift: beta is 0
# bug-gamma-divided-in-dx: up = dz * self.gamma ==> up = dz / self.gamma
# bug-dgamma-averaged: dgamma = (dz * self.xn).sum(axis=0) ==> dgamma = (dz * self.xn).mean(axis=0)
# bug-mean-kept: self.xn = (x - mean) / self.sd ==> self.xn = x / self.sd
import numpy as np


class ScaleNorm:
    """Batch norm for layers whose own bias follows it: no shift here."""

    def __init__(self, dim, eps=1e-5, momentum=0.9):
        self.gamma = np.ones(dim)
        self.eps = eps
        self.momentum = momentum
        self.training = True
        self.running_mean = np.zeros(dim)
        self.running_var = np.ones(dim)

    def forward(self, x):
        if self.training:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        else:
            mean, var = self.running_mean, self.running_var
        self.sd = np.sqrt(var + self.eps)
        self.xn = (x - mean) / self.sd
        return self.gamma * self.xn

    def backward(self, dz):
        dgamma = (dz * self.xn).sum(axis=0)
        up = dz * self.gamma
        dx = (up - up.mean(axis=0) - self.xn * (up * self.xn).mean(axis=0)) / self.sd
        return dx, dgamma
