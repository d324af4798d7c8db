# shape: class that remembers N from its first forward
# name: BN
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: dx and attributes dgamma, dbeta
# finding: BN508: right for one batch size per object only
# note: right as long as one object sees one batch size: a second batch size on the same object gives wrong sums, which is a finding of its own
# bug-factor-two-missing: d2 = 2.0 / self.N * self.xmu * self.dvar ==> d2 = 1.0 / self.N * self.xmu * self.dvar
# bug-dgamma-averaged: self.dgamma = np.sum(dL * self.xhat, axis=0) ==> self.dgamma = np.sum(dL * self.xhat, axis=0) / self.N
# bug-forward-n-minus-one: self.var = np.sum(self.xmu**2, axis=0) / self.N ==> self.var = np.sum(self.xmu**2, axis=0) / (self.N - 1)
import numpy as np


class BN:
    def __init__(self, D, eps=1e-5):
        self.D = D
        self.N = None
        self.eps = eps
        self.gamma = np.ones(D)
        self.beta = np.zeros(D)

    def forward(self, x):
        if self.N is None:
            self.N = x.shape[0]
        self.mu = np.sum(x, axis=0) / self.N
        self.xmu = x - self.mu
        self.var = np.sum(self.xmu**2, axis=0) / self.N
        self.ivar = 1.0 / np.sqrt(self.var + self.eps)
        self.xhat = self.xmu * self.ivar
        return self.gamma * self.xhat + self.beta

    def backward(self, dL):
        self.dbeta = np.sum(dL, axis=0)
        self.dgamma = np.sum(dL * self.xhat, axis=0)
        dxhat = dL * self.gamma
        self.dvar = np.sum(dxhat * self.xmu, axis=0) * -0.5 * self.ivar**3
        d1 = dxhat * self.ivar
        d2 = 2.0 / self.N * self.xmu * self.dvar
        return d1 + d2 - np.sum(d1 + d2, axis=0) / self.N
