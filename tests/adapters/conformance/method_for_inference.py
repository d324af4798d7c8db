# shape: class with a method predict(x) of its own for inference; forward always trains
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: method predict
# returns: dx and attributes dgamma, dbeta
# bug-mean-path-dropped: return (g - g.mean(0) - self.xhat ==> return (g - self.xhat
# bug-dbeta-averaged: dout.sum(0)  # dbeta ==> dout.mean(0)
# bug-unbiased: self.std = np.sqrt(var + self.eps) ==> self.std = np.sqrt(x.var(0, ddof=1) + self.eps)
import numpy as np


class BatchNorm:
    def __init__(self, n, eps=1e-5, momentum=0.9):
        self.gamma, self.beta = np.ones(n), np.zeros(n)
        self.running_mean, self.running_var = np.zeros(n), np.ones(n)
        self.eps, self.momentum = eps, momentum

    def forward(self, x):
        mu, var = x.mean(0), x.var(0)
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mu) / self.std
        return self.gamma * self.xhat + self.beta

    def predict(self, x):
        return self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + self.eps) + self.beta

    def backward(self, dout):
        self.dgamma = (dout * self.xhat).sum(0)
        self.dbeta = dout.sum(0)  # dbeta
        g = dout * self.gamma
        return (g - g.mean(0) - self.xhat * (g * self.xhat).mean(0)) / self.std
