# shape: class of short names: self.g and self.b, their gradients self.gg and self.gb
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: gx; attributes gg and gb
# bug-swapped: self.gg, self.gb = (gy * self.z).sum(0), gy.sum(0) ==> self.gb, self.gg = (gy * self.z).sum(0), gy.sum(0)
# bug-centre-lost: h -= h.mean(0) ==> h -= 0.0
# bug-mean-gradient: (gy * self.z).sum(0), gy.sum(0) ==> (gy * self.z).mean(0), gy.mean(0)
import numpy as np


class BatchNorm:
    def __init__(self, n, eps=1e-6):
        self.g, self.b, self.eps = np.ones(n), np.zeros(n), eps

    def __call__(self, x):
        c = x - x.mean(0)
        self.r = (np.mean(c * c, axis=0) + self.eps) ** -0.5
        self.z = c * self.r
        return self.z * self.g + self.b

    def grad(self, gy):
        self.gg, self.gb = (gy * self.z).sum(0), gy.sum(0)
        h = gy * self.g
        gx = h - self.z * (h * self.z).mean(0)
        h -= h.mean(0)
        return self.r * (h + gx - gy * self.g)
