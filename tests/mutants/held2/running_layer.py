"""A layer with running statistics and an eval mode; gradients as attributes."""

import numpy as np


class BatchNorm:
    def __init__(self, num_features, eps=1e-5, momentum=0.9):
        self.weight = np.ones(num_features)
        self.bias = np.zeros(num_features)
        self.eps, self.momentum = eps, momentum
        self.running_mean = np.zeros(num_features)
        self.running_var = np.ones(num_features)

    def forward(self, x, training=True):
        if not training:
            normal = (x - self.running_mean) / np.sqrt(self.running_var + self.eps)
            return normal * self.weight + self.bias
        count = x.shape[0]  # part: count
        batch_mean = x.sum(axis=0) / count  # part: mu
        self.dev = x - batch_mean  # part: xc
        batch_var = (self.dev**2).sum(axis=0) / count  # part: var
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * batch_mean
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * batch_var
        self.root = np.sqrt(batch_var + self.eps)  # part: std
        self.normal = self.dev / self.root  # part: xhat
        return self.weight * self.normal + self.bias  # part: y

    def backward(self, grad):
        count = grad.shape[0]  # part: count
        self.grad_weight = (grad * self.normal).sum(axis=0)  # part: dgamma
        self.grad_bias = grad.sum(axis=0)  # part: dbeta
        inner = grad * self.weight  # part: dxhat
        droot = -(inner * self.dev).sum(axis=0) / self.root**2  # part: var-path
        dvar = droot / (2 * self.root)  # part: var-path
        ddev = inner / self.root  # part: direct
        ddev = ddev + 2 * self.dev * dvar / count  # part: var-path
        return ddev - ddev.sum(axis=0) / count  # part: mean-path
