# shape: class with self.ps = [gamma, beta] and self.gs, the gradients, as lists
# name: BatchNorm
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument train of __call__ (default True)
# returns: dx and list gs = [dgamma, dbeta]
# bug-mean-path-dropped: dz - dz.mean(ax) - z * (dz * z).mean(ax) ==> dz - z * (dz * z).mean(ax)
# bug-dgamma-dbeta-swapped: self.gs = [(d * z).sum(ax), d.sum(ax)] ==> self.gs = [d.sum(ax), (d * z).sum(ax)]
# bug-eps-outside-root: r = 1 / np.sqrt(v + self.e) ==> r = 1 / (np.sqrt(v) + self.e)
import numpy as np


class ReLU:
    ps, gs = [], []

    def __call__(self, x, train=True):
        self.m = x > 0
        return x * self.m

    def back(self, d):
        return d * self.m


class BatchNorm:
    def __init__(self, n, e=1e-5, mom=0.99):
        self.ps = [np.ones(n), np.zeros(n)]
        self.gs = [None, None]
        self.rm, self.rv = np.zeros(n), np.ones(n)
        self.e, self.mom = e, mom

    def __call__(self, x, train=True):
        g, b = self.ps
        if not train:
            return g * (x - self.rm) / np.sqrt(self.rv + self.e) + b
        ax = tuple(range(x.ndim - 1))
        m, v = x.mean(ax), x.var(ax)
        self.rm = self.mom * self.rm + (1 - self.mom) * m
        self.rv = self.mom * self.rv + (1 - self.mom) * v
        r = 1 / np.sqrt(v + self.e)
        z = (x - m) * r
        self.c = z, r, ax
        return g * z + b

    def back(self, d):
        z, r, ax = self.c
        self.gs = [(d * z).sum(ax), d.sum(ax)]
        dz = d * self.ps[0]
        return r * (dz - dz.mean(ax) - z * (dz * z).mean(ax))
