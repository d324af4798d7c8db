# shape: class with methods params() -> [gamma, beta] and grads() -> [dgamma, dbeta]
# name: BatchNormalizationLayer
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 0
# mode-switch: attribute is_training
# returns: dx and method grads() -> [dgamma, dbeta]
# note: params() hands out the arrays themselves: an optimiser changes them in place
# bug-variance-for-std-in-dx: grad_input = self._scale / (batch * self._std) * ( ==> grad_input = self._scale / (batch * self._std**2) * (
# bug-dgamma-with-centred-x: self._grad_scale = np.sum(grad_output * self._normalized, axis=0) ==> self._grad_scale = np.sum(grad_output * self._normalized * self._std, axis=0)
# bug-forward-without-mean: centered = inputs - mean ==> centered = inputs
import numpy as np


class BatchNormalizationLayer:
    """A layer of the homework framework: forward, backward, params, grads."""

    def __init__(self, input_dim, epsilon=1e-6, momentum=0.9):
        self._scale = np.ones(input_dim)
        self._shift = np.zeros(input_dim)
        self._grad_scale = np.zeros(input_dim)
        self._grad_shift = np.zeros(input_dim)
        self._epsilon = epsilon
        self._momentum = momentum
        self._moving_mean = np.zeros(input_dim)
        self._moving_variance = np.zeros(input_dim)
        self.is_training = True

    def params(self):
        return [self._scale, self._shift]

    def grads(self):
        return [self._grad_scale, self._grad_shift]

    def forward(self, inputs):
        if self.is_training:
            mean = np.mean(inputs, axis=0)
            centered = inputs - mean
            variance = np.mean(centered**2, axis=0)
            self._moving_mean = self._momentum * self._moving_mean + (1.0 - self._momentum) * mean
            self._moving_variance = self._momentum * self._moving_variance + (1.0 - self._momentum) * variance
            self._std = np.sqrt(variance + self._epsilon)
            self._normalized = centered / self._std
            return self._normalized * self._scale + self._shift
        normalized = (inputs - self._moving_mean) / np.sqrt(self._moving_variance + self._epsilon)
        return normalized * self._scale + self._shift

    def backward(self, grad_output):
        batch = grad_output.shape[0]
        self._grad_scale = np.sum(grad_output * self._normalized, axis=0)
        self._grad_shift = np.sum(grad_output, axis=0)
        grad_input = self._scale / (batch * self._std) * (
            batch * grad_output - self._grad_shift - self._normalized * np.sum(grad_output * self._normalized, axis=0)
        )
        return grad_input
