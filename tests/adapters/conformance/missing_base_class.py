# shape: class on a base of another file that is not there, which would have set self.training and the dicts self.params and self.grads
# name: BatchNorm1d
# layouts: NC
# parameter-shape: (1, C)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 0
# mode-switch: attribute training, which nobody in sight sets
# returns: dx and grads["gamma"], grads["beta"]
# note: initialize(inputs) takes the number of features; backward(x, grad_prev)
# bug-mean-path-dropped: m * grad_hat - grad_hat.sum(axis=0) - x_hat ==> m * grad_hat - x_hat
# bug-dbeta-averaged: self.grads["beta"] = grad_prev.sum(axis=0, keepdims=True) ==> self.grads["beta"] = grad_prev.mean(axis=0, keepdims=True)
# bug-eps-squared: istd = 1 / np.sqrt(var + self._epsilon) ==> istd = 1 / np.sqrt(var + self._epsilon**2)
import numpy as np

from .module_that_was_not_copied import Module


class BatchNorm1d(Module):
    def __init__(self, epsilon=1e-5, momentum=0.9):
        super().__init__()
        self._epsilon = epsilon
        self._momentum = momentum

    def initialize(self, inputs):
        self.params["gamma"] = np.ones((1, inputs))
        self.params["beta"] = np.zeros((1, inputs))
        self._running_mean = np.zeros((1, inputs))
        self._running_variance = np.zeros((1, inputs))

    def forward(self, x):
        if self.training:
            mean = x.mean(axis=0, keepdims=True)
            var = x.var(axis=0, keepdims=True)
            self._running_mean = self._momentum * self._running_mean + (1 - self._momentum) * mean
            self._running_variance = self._momentum * self._running_variance + (1 - self._momentum) * var
        else:
            mean, var = self._running_mean, self._running_variance
        istd = 1 / np.sqrt(var + self._epsilon)
        self._saved = (x - mean) * istd, istd
        return self.params["gamma"] * self._saved[0] + self.params["beta"]

    def backward(self, x, grad_prev):
        x_hat, istd = self._saved
        m = x.shape[0]
        self.grads["gamma"] = (grad_prev * x_hat).sum(axis=0, keepdims=True)
        self.grads["beta"] = grad_prev.sum(axis=0, keepdims=True)
        grad_hat = grad_prev * self.params["gamma"]
        return istd / m * (m * grad_hat - grad_hat.sum(axis=0) - x_hat * (grad_hat * x_hat).sum(axis=0))
