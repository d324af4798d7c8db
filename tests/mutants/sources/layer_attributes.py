"""A layer with attributes; gradients of the parameters are attributes too."""

import numpy as np


class BatchNormLayer:
    def __init__(self, dim, eps=1e-5):
        self.gamma = np.ones(dim)
        self.beta = np.zeros(dim)
        self.eps = eps

    def forward(self, x):
        self.mu = x.mean(axis=0)  # part: mu
        self.var = x.var(axis=0)  # part: var
        self.std = np.sqrt(self.var + self.eps)  # part: std
        self.x_norm = (x - self.mu) / self.std  # part: xhat
        return self.gamma * self.x_norm + self.beta  # part: y

    def backward(self, dout):
        n = dout.shape[0]  # part: count
        self.dgamma = (dout * self.x_norm).sum(axis=0)  # part: dgamma
        self.dbeta = dout.sum(axis=0)  # part: dbeta
        dx_norm = dout * self.gamma  # part: dxhat
        dx = n * dx_norm  # part: direct
        dx = dx - dx_norm.sum(axis=0)  # part: mean-path
        dx = dx - self.x_norm * (dx_norm * self.x_norm).sum(axis=0)  # part: var-path
        return dx / (n * self.std)  # part: dx
