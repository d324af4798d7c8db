# shape: course class BatchNormalization(channels): weights, bias, gradient_weights, gradient_bias, attribute testing_phase, initialize()
# name: BatchNormalization
# layouts: NC, NCHW
# parameter-shape: (C,)
# eps-source: fixed
# eps: 1e-10
# momentum: kept
# running-var: biased
# running-start: the first batch
# mode-switch: attribute testing_phase (default False)
# returns: dx and attributes gradient_weights, gradient_bias
# note: an optimiser may be set as attribute optimizer; without one backward leaves the parameters alone
# bug-sign-of-dmu: grad_mean = np.sum(grad_norm * -1.0 / self.std, axis=0) ==> grad_mean = np.sum(grad_norm * 1.0 / self.std, axis=0)
# bug-dgamma-summed-over-everything: self._gradient_weights = np.sum(error * self.normalized, axis=0) ==> self._gradient_weights = np.sum(error * self.normalized) * np.ones_like(self.weights)
# bug-standard-deviation-twice: self.normalized = (tensor - mean) / self.std ==> self.normalized = (tensor - mean) / self.std / self.std
import numpy as np


class BaseLayer:
    def __init__(self):
        self.trainable = False
        self.testing_phase = False
        self.weights = None


class BatchNormalization(BaseLayer):
    def __init__(self, channels):
        super().__init__()
        self.trainable = True
        self.channels = channels
        self.alpha = 0.8
        self.mean_k = None
        self.variance_k = None
        self._optimizer = None
        self._gradient_weights = None
        self._gradient_bias = None
        self.initialize(None, None)

    def initialize(self, weights_initializer, bias_initializer):
        self.weights = np.ones(self.channels)
        self.bias = np.zeros(self.channels)

    @property
    def optimizer(self):
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer):
        self._optimizer = optimizer

    @property
    def gradient_weights(self):
        return self._gradient_weights

    @property
    def gradient_bias(self):
        return self._gradient_bias

    def reformat(self, tensor):
        if tensor.ndim == 4:
            self.shape = tensor.shape
            B, H, M, N = tensor.shape
            return tensor.reshape(B, H, M * N).transpose(0, 2, 1).reshape(B * M * N, H)
        B, H, M, N = self.shape
        return tensor.reshape(B, M * N, H).transpose(0, 2, 1).reshape(B, H, M, N)

    def forward(self, input_tensor):
        conv = input_tensor.ndim == 4
        tensor = self.reformat(input_tensor) if conv else input_tensor
        if self.testing_phase:
            out = (tensor - self.mean_k) / np.sqrt(self.variance_k + 1e-10)
            out = self.weights * out + self.bias
            return self.reformat(out) if conv else out

        mean = np.mean(tensor, axis=0)
        variance = np.var(tensor, axis=0)
        if self.mean_k is None:
            self.mean_k = mean
            self.variance_k = variance
        self.mean_k = self.alpha * self.mean_k + (1 - self.alpha) * mean
        self.variance_k = self.alpha * self.variance_k + (1 - self.alpha) * variance

        self.centred = tensor - mean
        self.std = np.sqrt(variance + 1e-10)
        self.normalized = (tensor - mean) / self.std
        out = self.weights * self.normalized + self.bias
        return self.reformat(out) if conv else out

    def backward(self, error_tensor):
        conv = error_tensor.ndim == 4
        error = self.reformat(error_tensor) if conv else error_tensor
        batch = error.shape[0]
        self._gradient_weights = np.sum(error * self.normalized, axis=0)
        self._gradient_bias = np.sum(error, axis=0)

        grad_norm = error * self.weights
        grad_var = np.sum(grad_norm * self.centred * -0.5 * self.std ** -3, axis=0)
        grad_mean = np.sum(grad_norm * -1.0 / self.std, axis=0)
        grad_input = grad_norm / self.std + grad_var * 2 * self.centred / batch + grad_mean / batch

        if self._optimizer is not None:
            self.weights = self._optimizer.calculate_update(self.weights, self._gradient_weights)
            self.bias = self._optimizer.calculate_update(self.bias, self._gradient_bias)
        return self.reformat(grad_input) if conv else grad_input
