# shape: class with gamma and beta of shape (C,), dgamma and dbeta of shape (1, C)
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: dx and attributes d_gamma, d_beta
# note: no running statistics at all; the gradients have another shape than the parameters
# bug-mean-path-dropped: dx = gx - np.mean(gx, axis=0, keepdims=True) ==> dx = gx
# bug-dgamma-dbeta-swapped: self.d_gamma, self.d_beta = dg, db ==> self.d_gamma, self.d_beta = db, dg
# bug-eps-outside-root: self._sd = np.sqrt(var + self._eps) ==> self._sd = np.sqrt(var) + self._eps
import numpy as np


class BatchNorm(object):
    def __init__(self, num_units, eps=1e-4):
        self._eps = eps
        self.gamma = np.ones(num_units)
        self.beta = np.zeros(num_units)

    def forward(self, inp):
        mean = np.mean(inp, axis=0, keepdims=True)
        var = np.mean((inp - mean) ** 2, axis=0, keepdims=True)
        self._sd = np.sqrt(var + self._eps)
        self._xh = (inp - mean) / self._sd
        return self._xh * self.gamma + self.beta

    def backward(self, dout):
        dg = np.sum(dout * self._xh, axis=0, keepdims=True)
        db = np.sum(dout, axis=0, keepdims=True)
        self.d_gamma, self.d_beta = dg, db
        g = dout * self.gamma
        gx = (g - self._xh * np.mean(g * self._xh, axis=0, keepdims=True)) / self._sd
        dx = gx - np.mean(gx, axis=0, keepdims=True)
        return dx
