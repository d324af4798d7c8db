# shape: mode object with train() and eval(); gradients as attributes grad_gamma, grad_beta of shape (1, C, 1, 1)
# name: BatchNorm2d
# layouts: NCHW
# parameter-shape: (1, C, 1, 1)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: methods train() and eval()
# returns: dx and attributes grad_gamma, grad_beta
# bug-count-is-batch-size: m = N * H * W ==> m = N
# bug-dgamma-over-batch-only: self.grad_gamma = np.sum(grad * self.x_hat, axis=(0, 2, 3), keepdims=True) ==> self.grad_gamma = np.sum(grad[:, :, :1, :1] * self.x_hat[:, :, :1, :1], axis=(0, 2, 3), keepdims=True)
# bug-instance-norm: mu = x.mean(axis=(0, 2, 3), keepdims=True) ==> mu = x.mean(axis=(2, 3), keepdims=True)
import numpy as np


class BatchNorm2d:
    """Batch normalization for feature maps (batch, channels, height, width)."""

    def __init__(self, channels, momentum=0.9, eps=1e-5):
        self.channels = channels
        self.momentum = momentum
        self.eps = eps
        self.gamma = np.ones((1, channels, 1, 1))
        self.beta = np.zeros((1, channels, 1, 1))
        self.moving_mean = np.zeros((1, channels, 1, 1))
        self.moving_var = np.ones((1, channels, 1, 1))
        self._training = True

    def train(self):
        self._training = True
        return self

    def eval(self):
        self._training = False
        return self

    def forward(self, x):
        assert x.ndim == 4 and x.shape[1] == self.channels
        if self._training:
            mu = x.mean(axis=(0, 2, 3), keepdims=True)
            var = x.var(axis=(0, 2, 3), keepdims=True)
            self.moving_mean = self.momentum * self.moving_mean + (1 - self.momentum) * mu
            self.moving_var = self.momentum * self.moving_var + (1 - self.momentum) * var
        else:
            mu, var = self.moving_mean, self.moving_var
        self.inv_std = 1.0 / np.sqrt(var + self.eps)
        self.x_hat = (x - mu) * self.inv_std
        return self.gamma * self.x_hat + self.beta

    def backward(self, grad):
        N, _, H, W = grad.shape
        m = N * H * W
        self.grad_gamma = np.sum(grad * self.x_hat, axis=(0, 2, 3), keepdims=True)
        self.grad_beta = np.sum(grad, axis=(0, 2, 3), keepdims=True)
        if not self._training:
            return self.gamma * self.inv_std * grad
        g = grad * self.gamma
        return self.inv_std * (g - g.sum((0, 2, 3), keepdims=True) / m - self.x_hat * (g * self.x_hat).sum((0, 2, 3), keepdims=True) / m)

    def __repr__(self):
        return f"BatchNorm2d({self.channels}, momentum={self.momentum})"
