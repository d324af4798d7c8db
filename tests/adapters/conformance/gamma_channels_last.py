# shape: class for NHWC data, gamma and beta of shape (1, 1, 1, C), parameters_and_gradients() pairs them
# name: BatchNormalization2D
# layouts: NHWC
# parameter-shape: (1, 1, 1, C)
# eps-source: fixed
# eps: 1e-3
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training (default True)
# returns: dx and attributes dgamma, dbeta
# bug-eps-missing-in-backward: inv = 1.0 / np.sqrt(self.var + EPS)  # backward ==> inv = 1.0 / np.sqrt(self.var)
# bug-dbeta-per-pixel: self.dbeta = np.sum(grad, axis=(0, 1, 2), keepdims=True) ==> self.dbeta = np.sum(grad, axis=(0,), keepdims=True)[:, :1, :1, :]
# bug-batch-axis-only: mean = x.mean(axis=(0, 1, 2), keepdims=True) ==> mean = x.mean(axis=0, keepdims=True)
import numpy as np

EPS = 1e-3


class BatchNormalization2D:
    def __init__(self, n_channels, momentum=0.99):
        shape = (1, 1, 1, n_channels)
        self.gamma, self.beta = np.ones(shape), np.zeros(shape)
        self.moving_mean, self.moving_var = np.zeros(shape), np.ones(shape)
        self.dgamma = self.dbeta = None
        self.momentum = momentum

    def parameters_and_gradients(self):
        return [(self.gamma, self.dgamma), (self.beta, self.dbeta)]

    def forward(self, x, training=True):
        b, h, w, c = x.shape
        if not training:
            return (x - self.moving_mean) / np.sqrt(self.moving_var + EPS) * self.gamma + self.beta
        mean = x.mean(axis=(0, 1, 2), keepdims=True)
        var = np.square(x - mean).mean(axis=(0, 1, 2), keepdims=True)
        self.moving_mean = self.momentum * self.moving_mean + (1 - self.momentum) * mean
        self.moving_var = self.momentum * self.moving_var + (1 - self.momentum) * var
        self.var = var
        self.x_hat = (x - mean) / np.sqrt(var + EPS)
        return self.x_hat * self.gamma + self.beta

    def backward(self, grad):
        self.dgamma = np.sum(grad * self.x_hat, axis=(0, 1, 2), keepdims=True)
        self.dbeta = np.sum(grad, axis=(0, 1, 2), keepdims=True)
        b, h, w, _ = grad.shape
        count = b * h * w
        inv = 1.0 / np.sqrt(self.var + EPS)  # backward
        return self.gamma * inv / count * (count * grad - grad.sum((0, 1, 2)) - self.x_hat * self.dgamma)
