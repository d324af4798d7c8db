# shape: class Hidden, a dense layer with batch normalization inside: batchnorm_forward(z), batchnorm_backward(dout); its run() keeps z for them
# name: Hidden
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: dx, and dgamma, dbeta as attributes
# bug-mean-path-missing: return dz / std - (dz / std).mean(axis=0) + ==> return dz / std +
# bug-one-half-missing: dvar = -0.5 * ==> dvar = -1.0 *
# bug-dgamma-without-centre: (dout * (self.before - self.mean) / std).sum(axis=0) ==> (dout * self.before / std).sum(axis=0)
import numpy as np


class Hidden:
    def __init__(self, inputs, neurons, eps=1e-5):
        self.matrix = np.random.randn(inputs, neurons)
        self.gamma, self.beta = np.ones(neurons), np.zeros(neurons)
        self.eps = eps

    def run(self, x):
        self.x = x
        product = x @ self.matrix
        self.before = product
        return np.maximum(self.batchnorm_forward(product), 0)

    def batchnorm_forward(self, z):
        self.mean = z.mean(axis=0)
        self.var = z.var(axis=0)
        return self.gamma * (z - self.mean) / np.sqrt(self.var + self.eps) + self.beta

    def batchnorm_backward(self, dout):
        std = np.sqrt(self.var + self.eps)
        self.dgamma = (dout * (self.before - self.mean) / std).sum(axis=0)
        self.dbeta = dout.sum(axis=0)
        dz = dout * self.gamma
        dvar = -0.5 * (dz * (self.before - self.mean)).sum(axis=0) / std**3
        return dz / std - (dz / std).mean(axis=0) + 2 * dvar * (self.before - self.mean) / len(dout)
