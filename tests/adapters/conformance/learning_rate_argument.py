# shape: update inside: backward(grad, learning_rate) changes gamma and beta and returns dx
# name: BatchNormalization
# layouts: NC
# parameter-shape: (1, C)
# eps-source: fixed
# eps: 1e-7
# momentum: kept
# running-var: biased
# running-start: the first batch
# mode-switch: argument is_training (default True)
# returns: dx; dgamma and dbeta show only in the change of gamma and beta: (old - new) / learning_rate
# note: backward changes gamma and beta, so that a second step starts elsewhere
# bug-dvar-in-place-of-dmu: input_gradient = d_norm * inv + d_var * 2 * xmu / n + d_mean / n ==> input_gradient = d_norm * inv + d_var * 2 * xmu / n + d_var / n
# bug-dbeta-times-gamma: beta_gradient = np.sum(output_gradient, axis=0, keepdims=True) ==> beta_gradient = np.sum(output_gradient * self.gamma, axis=0, keepdims=True)
# bug-unbiased-variance: var = np.var(input, axis=0, keepdims=True) ==> var = np.var(input, axis=0, keepdims=True, ddof=1)
import numpy as np


class Layer:
    def __init__(self):
        self.input = None
        self.output = None

    def forward(self, input):
        # TODO: return output
        pass

    def backward(self, output_gradient, learning_rate):
        # TODO: update parameters and return input gradient
        pass


class Dense(Layer):
    def __init__(self, input_size, output_size):
        self.weights = np.random.randn(input_size, output_size)
        self.bias = np.random.randn(1, output_size)

    def forward(self, input):
        self.input = input
        return np.dot(self.input, self.weights) + self.bias

    def backward(self, output_gradient, learning_rate):
        weights_gradient = np.dot(self.input.T, output_gradient)
        input_gradient = np.dot(output_gradient, self.weights.T)
        self.weights -= learning_rate * weights_gradient
        self.bias -= learning_rate * np.sum(output_gradient, axis=0, keepdims=True)
        return input_gradient


class BatchNormalization(Layer):
    def __init__(self, input_size, decay=0.9):
        super().__init__()
        self.gamma = np.ones((1, input_size))
        self.beta = np.zeros((1, input_size))
        self.decay = decay
        self.mean = None
        self.var = None

    def forward(self, input, is_training=True):
        if not is_training:
            return self.gamma * (input - self.mean) / np.sqrt(self.var + 1e-7) + self.beta
        self.input = input
        mean = np.mean(input, axis=0, keepdims=True)
        var = np.var(input, axis=0, keepdims=True)
        self.mean = mean if self.mean is None else self.decay * self.mean + (1 - self.decay) * mean
        self.var = var if self.var is None else self.decay * self.var + (1 - self.decay) * var
        self.batch_mean, self.inv = mean, 1 / np.sqrt(var + 1e-7)
        return self.gamma * (input - mean) * self.inv + self.beta

    def backward(self, output_gradient, learning_rate):
        n = self.input.shape[0]
        inv = self.inv
        xmu = self.input - self.batch_mean
        gamma_gradient = np.sum(output_gradient * xmu * inv, axis=0, keepdims=True)
        beta_gradient = np.sum(output_gradient, axis=0, keepdims=True)
        d_norm = output_gradient * self.gamma
        d_var = np.sum(d_norm * xmu, axis=0, keepdims=True) * -0.5 * inv**3
        d_mean = np.sum(-d_norm * inv, axis=0, keepdims=True)
        input_gradient = d_norm * inv + d_var * 2 * xmu / n + d_mean / n
        self.gamma -= learning_rate * gamma_gradient
        self.beta -= learning_rate * beta_gradient
        return input_gradient
