# shape: class BN(C, is_train=True): the mode is a constructor argument and an attribute
# name: BN
# layouts: NC, NCL, NCHW, NCDHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument is_train of the constructor (default True), attribute is_train
# returns: tuple (dx, dgamma, dbeta)
# note: float32 data gives dgamma and dbeta in float64
# bug-absolute-gamma-in-dx: dz[:, c] = dout[:, c] * self.gamma[c] ==> dz[:, c] = dout[:, c] * abs(self.gamma[c])
# bug-dgamma-averaged: dgamma[c] = (dout[:, c] * self.z[:, c]).sum() ==> dgamma[c] = (dout[:, c] * self.z[:, c]).mean()
# bug-mean-of-first-image: mu = x[:, c].mean() ==> mu = x[0, c].mean()
import numpy as np


class BN:
    """a layer for convnets, one channel at a time"""

    def __init__(self, C, is_train=True, momentum=0.9, epsilon=1e-5):
        self.C = C
        self.is_train = is_train
        self.momentum = momentum
        self.epsilon = epsilon
        self.gamma = np.ones(C)
        self.beta = np.zeros(C)
        self.run_mean = np.zeros(C)
        self.run_var = np.ones(C)

    def forward(self, x):
        out = np.empty_like(x)
        if not self.is_train:
            for c in range(self.C):
                out[:, c] = (x[:, c] - self.run_mean[c]) / np.sqrt(self.run_var[c] + self.epsilon)
                out[:, c] = out[:, c] * self.gamma[c] + self.beta[c]
            return out
        self.z = np.empty_like(x)
        self.std = np.empty(self.C)
        for c in range(self.C):
            mu = x[:, c].mean()
            var = ((x[:, c] - mu) ** 2).mean()
            self.std[c] = np.sqrt(var + self.epsilon)
            self.z[:, c] = (x[:, c] - mu) / self.std[c]
            out[:, c] = self.z[:, c] * self.gamma[c] + self.beta[c]
            self.run_mean[c] = self.momentum * self.run_mean[c] + (1 - self.momentum) * mu
            self.run_var[c] = self.momentum * self.run_var[c] + (1 - self.momentum) * var
        return out

    def backward(self, dout):
        dx = np.empty_like(dout)
        dz = np.empty_like(dout)
        dgamma, dbeta = np.zeros(self.C), np.zeros(self.C)
        for c in range(self.C):
            dgamma[c] = (dout[:, c] * self.z[:, c]).sum()
            dbeta[c] = dout[:, c].sum()
            dz[:, c] = dout[:, c] * self.gamma[c]
            dx[:, c] = (dz[:, c] - dz[:, c].mean() - self.z[:, c] * (dz[:, c] * self.z[:, c]).mean()) / self.std[c]
        return dx, dgamma, dbeta
