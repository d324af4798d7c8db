# shape: class BN(dim); backward(dout) -> (dx, dgamma, dbeta)
# name: BN
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument train (default True)
# returns: tuple (dx, dgamma, dbeta)
# bug-gamma-twice-in-dx: dx_hat = dout * self.gamma ==> dx_hat = dout * self.gamma ** 2
# bug-dbeta-unsummed: dbeta = dout.sum(axis=0) ==> dbeta = dout
# bug-variance-of-uncentred-x: v = ((x - m) ** 2).mean(axis=0) ==> v = (x ** 2).mean(axis=0)
import numpy as np


class BN:
    def __init__(self, dim, eps=1e-5, momentum=0.9):
        self.gamma = np.ones(dim)
        self.beta = np.zeros(dim)
        self.eps = eps
        self.momentum = momentum
        self.rm = np.zeros(dim)
        self.rv = np.ones(dim)

    def forward(self, x, train=True):
        if not train:
            return self.gamma * (x - self.rm) / np.sqrt(self.rv + self.eps) + self.beta
        m = x.mean(axis=0)
        v = ((x - m) ** 2).mean(axis=0)
        self.rm = self.momentum * self.rm + (1 - self.momentum) * m
        self.rv = self.momentum * self.rv + (1 - self.momentum) * v
        self.s = np.sqrt(v + self.eps)
        self.x_hat = (x - m) / self.s
        return self.gamma * self.x_hat + self.beta

    def backward(self, dout):
        n = dout.shape[0]
        dgamma = (dout * self.x_hat).sum(axis=0)
        dbeta = dout.sum(axis=0)
        dx_hat = dout * self.gamma
        dx = (n * dx_hat - dx_hat.sum(axis=0) - self.x_hat * (dx_hat * self.x_hat).sum(axis=0)) / (n * self.s)
        return dx, dgamma, dbeta
