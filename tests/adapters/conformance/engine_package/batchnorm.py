# shape: engine: layer of a package whose tensors get their operators when the package is imported; y.backward(dy)
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: gradients on the tensors, after y.backward(dy)
# note: the backward is written with tensors; a gradient cannot be set to None; the layer wants x to have its size
# bug-dx-without-projection: ddata - total(ddata) / m - xhat * (dgamma / m) ==> ddata - total(ddata) / m
# bug-dgamma-averaged: return dx, dgamma, total(dy) ==> return dx, dgamma / m, total(dy)
# bug-unbiased-variance: var = x.data.var(axis=0) ==> var = x.data.var(axis=0, ddof=int(len(x.data) > 1))
import numpy as np

from .tensor import Tensor, total


class BatchNorm:
    def __init__(self, num_features, eps=1e-5):
        self.num_features, self.eps = int(num_features), float(eps)
        self.weight, self.bias = Tensor(np.ones(num_features)), Tensor(np.zeros(num_features))

    def __call__(self, x):
        if x.data.shape[1] != self.num_features:
            raise ValueError(f"expected {self.num_features} features, got {x.data.shape[1]}")
        var = x.data.var(axis=0)
        inv_std = Tensor(1 / np.sqrt(var + self.eps))
        xhat = Tensor(x.data - x.data.mean(axis=0)) * inv_std
        m = len(x.data)

        def pull(dy):
            dgamma, ddata = total(dy * xhat), dy
            dx = (ddata - total(ddata) / m - xhat * (dgamma / m)) * self.weight * inv_std
            return dx, dgamma, total(dy)

        y = self.weight * xhat + self.bias
        return Tensor(y.data, (x, self.weight, self.bias), pull)
