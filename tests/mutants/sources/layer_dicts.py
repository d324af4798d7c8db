"""A layer that keeps parameters, gradients and saved values in dictionaries."""

import numpy as np


class BatchNormalization:
    def __init__(self, n_features, epsilon=1e-5):
        self.epsilon = epsilon
        self.params = {"gamma": np.ones(n_features), "beta": np.zeros(n_features)}
        self.grads = {}
        self.cache = {}

    def forward(self, x):
        mean = np.mean(x, axis=0)  # part: mu
        xc = x - mean  # part: xc
        var = np.mean(xc**2, axis=0)  # part: var
        std = np.sqrt(var + self.epsilon)  # part: std
        xn = xc / std  # part: xhat
        self.cache = {"xc": xc, "xn": xn, "std": std}
        return self.params["gamma"] * xn + self.params["beta"]  # part: y

    def backward(self, dout):
        xc, xn, std = self.cache["xc"], self.cache["xn"], self.cache["std"]
        m = dout.shape[0]  # part: count
        self.grads["beta"] = dout.sum(axis=0)  # part: dbeta
        self.grads["gamma"] = np.sum(xn * dout, axis=0)  # part: dgamma
        dxn = self.params["gamma"] * dout  # part: dxhat
        dxc = dxn / std  # part: direct
        dstd = -np.sum(dxn * xc / (std * std), axis=0)  # part: var-path
        dvar = 0.5 * dstd / std  # part: var-path
        dxc += 2.0 / m * xc * dvar  # part: var-path
        dmu = np.sum(dxc, axis=0)  # part: mean-path
        return dxc - dmu / m  # part: mean-path
