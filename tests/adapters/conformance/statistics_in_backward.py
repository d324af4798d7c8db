# shape: class whose backward updates the running statistics, and no forward does
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training (default True)
# returns: dx; attributes dgamma and dbeta
# bug-deviation-averaged: (self.running_var, self.spread) ==> (self.running_var, np.sqrt(self.spread))
# bug-last-batch: self.momentum * old ==> 0 * self.momentum * old
# bug-centre-lost: t - t.mean(axis=0) - ==> t -
import numpy as np


class BatchNorm:
    def __init__(self, width, momentum=0.9, eps=1e-5):
        self.gamma, self.beta = np.ones(width), np.zeros(width)
        self.running_mean, self.running_var = np.zeros(width), np.ones(width)
        self.momentum, self.eps = momentum, eps

    def forward(self, x, training=True):
        if training:
            self.centre, self.spread = x.mean(axis=0), x.var(axis=0)
            self.rate = 1 / np.sqrt(self.spread + self.eps)
            self.unit = (x - self.centre) * self.rate
            return self.gamma * self.unit + self.beta
        return self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + self.eps) + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = np.sum(dy * self.unit, axis=0), np.sum(dy, axis=0)
        pairs = (self.running_mean, self.centre), (self.running_var, self.spread)
        moved = [self.momentum * old + (1 - self.momentum) * new for old, new in pairs]
        self.running_mean, self.running_var = moved
        t = self.gamma * dy
        return self.rate * (t - t.mean(axis=0) - self.unit * (t * self.unit).mean(axis=0))
