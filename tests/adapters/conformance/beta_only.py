# shape: class with beta only (the next layer is a ReLU and scales itself): backward returns dx, db as attribute
# name: BatchNormShift
# layouts: NC
# parameter-shape: (C,)
# eps-source: attribute
# eps: 1e-5
# momentum: none
# running-var: none
# mode-switch: none
# returns: dx and attribute dbeta
# note: no scale: gamma is 1
# bug-mean-path-dropped: d = (g - g.mean(0) - self.z * (g * self.z).mean(0)) / self.s ==> d = (g - self.z * (g * self.z).mean(0)) / self.s
# bug-dbeta-averaged: self.dbeta = g.sum(0) ==> self.dbeta = g.mean(0)
# bug-shift-doubled: return self.z + self.beta ==> return self.z + 2 * self.beta
import numpy as np


class BatchNormShift:
    def __init__(self, n):
        self.beta = np.zeros(n)
        self.epsilon = 1e-5

    def forward(self, a):
        self.s = np.sqrt(a.var(0) + self.epsilon)
        self.z = (a - a.mean(0)) / self.s
        return self.z + self.beta

    def backward(self, g):
        self.dbeta = g.sum(0)
        d = (g - g.mean(0) - self.z * (g * self.z).mean(0)) / self.s
        return d
