# shape: class without sizes: parameters are created at the first forward, as float32
# name: BatchNormLayer
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training (default True)
# returns: dx and dict grads["W"], grads["b"]
# note: gamma is params["W"], beta is params["b"]; before the first forward params is empty; they may be replaced by float64 arrays after it
# bug-mean-path-dropped: dxn - self.mean(dxn) - xn * self.mean(dxn * xn) ==> dxn - xn * self.mean(dxn * xn)
# bug-dbeta-averaged: self.grads = {"W": self.sum(dy * xn), "b": self.sum(dy)} ==> self.grads = {"W": self.sum(dy * xn), "b": self.mean(dy)}
# bug-variance-of-uncentred-x: var = self.mean((x - mean) ** 2) ==> var = self.mean(x ** 2)
import numpy as np


class BatchNormLayer:

    def __init__(self, epsilon=1e-5, momentum=0.99):
        self.epsilon = epsilon
        self.momentum = momentum
        self.params = {}
        self.grads = {}

    def sum(self, a):
        return a.reshape(-1, a.shape[-1]).sum(axis=0)

    def mean(self, a):
        return a.reshape(-1, a.shape[-1]).mean(axis=0)

    def _lazy_init(self, n):
        self.params["W"] = np.ones(n, dtype=np.float32)
        self.params["b"] = np.zeros(n, dtype=np.float32)
        self.running_mean = np.zeros(n, dtype=np.float32)
        self.running_var = np.ones(n, dtype=np.float32)

    def forward(self, x, training=True):
        if not self.params:
            self._lazy_init(x.shape[-1])
        if training:
            mean = self.mean(x)
            var = self.mean((x - mean) ** 2)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        else:
            mean, var = self.running_mean, self.running_var
        std = np.sqrt(var + self.epsilon)
        xn = (x - mean) / std
        self.saved = (xn, std)
        return self.params["W"] * xn + self.params["b"]

    def backward(self, dy):
        xn, std = self.saved
        self.grads = {"W": self.sum(dy * xn), "b": self.sum(dy)}
        dxn = dy * self.params["W"]
        return (dxn - self.mean(dxn) - xn * self.mean(dxn * xn)) / std
