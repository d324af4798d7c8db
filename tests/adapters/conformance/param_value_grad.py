# shape: class with Param objects: self.gamma.value, self.gamma.grad; params() -> dict of Param
# name: BatchNormalizationLayer
# layouts: NC
# parameter-shape: (1, C)
# eps-source: attribute
# eps: 1e-6
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: attribute mode: 'train' or 'test'
# returns: d_input and Param objects gamma.grad, beta.grad
# note: gradients accumulate in .grad
# bug-power-minus-one-half: d_var = np.sum(d_x * self.xc, axis=0, keepdims=True) * (-0.5) * self.inv**3 ==> d_var = np.sum(d_x * self.xc, axis=0, keepdims=True) * (-0.5) * self.inv
# bug-dbeta-averaged: self.beta.grad += np.sum(d_out, axis=0, keepdims=True) ==> self.beta.grad += np.mean(d_out, axis=0, keepdims=True)
# bug-mean-added: self.xc = X - mean ==> self.xc = X + mean
import numpy as np


class Param:
    """
    Trainable parameter of the model
    Captures both parameter value and the gradient
    """

    def __init__(self, value):
        self.value = value
        self.grad = np.zeros_like(value)


class ReLULayer:
    def forward(self, X):
        self.mask = X > 0
        return X * self.mask

    def backward(self, d_out):
        return d_out * self.mask

    def params(self):
        # ReLU Doesn't have any parameters
        return {}


class BatchNormalizationLayer:
    def __init__(self, n_input, momentum=0.9):
        self.gamma = Param(np.ones((1, n_input)))
        self.beta = Param(np.zeros((1, n_input)))
        self.momentum = momentum
        self.eps = 1e-6
        self.mode = 'train'
        self.running_mean = np.zeros((1, n_input))
        self.running_var = np.ones((1, n_input))

    def forward(self, X):
        if self.mode == 'test':
            X_norm = (X - self.running_mean) / np.sqrt(self.running_var + self.eps)
            return self.gamma.value * X_norm + self.beta.value
        mean = np.mean(X, axis=0, keepdims=True)
        self.xc = X - mean
        var = np.var(X, axis=0, keepdims=True)
        self.inv = 1 / np.sqrt(var + self.eps)
        self.x_norm = self.xc * self.inv
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        return self.gamma.value * self.x_norm + self.beta.value

    def backward(self, d_out):
        self.gamma.grad += np.sum(d_out * self.x_norm, axis=0, keepdims=True)
        self.beta.grad += np.sum(d_out, axis=0, keepdims=True)
        d_x = d_out * self.gamma.value
        d_var = np.sum(d_x * self.xc, axis=0, keepdims=True) * (-0.5) * self.inv**3
        d_xc = d_x * self.inv + 2 / len(d_out) * self.xc * d_var
        return d_xc - np.mean(d_xc, axis=0, keepdims=True)

    def params(self):
        return {'gamma': self.gamma, 'beta': self.beta}
