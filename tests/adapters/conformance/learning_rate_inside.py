# shape: update inside: self.gamma -= self.lr * dgamma in backward(dout), which returns dx only; no gradient is kept
# name: BatchNormLayer
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: attribute training
# returns: dx; dgamma and dbeta show only in the change of gamma and beta: (old - new) / lr
# note: gamma and beta are changed in place; backward changes gamma and beta, so that a second step starts elsewhere
# bug-updated-gamma-in-dx: self.gamma -= self.lr * dgamma  # after dxhat ==> self.gamma -= self.lr * dgamma; dxhat = dout * self.gamma
# bug-dgamma-averaged: dgamma = np.sum(dout * self.xhat, axis=0) ==> dgamma = np.mean(dout * self.xhat, axis=0)
# bug-variance-path-halved: dx = (dxhat - dxhat.mean(axis=0) - self.xhat * np.mean(dxhat * self.xhat, axis=0)) / self.std ==> dx = (dxhat - dxhat.mean(axis=0) - 0.5 * self.xhat * np.mean(dxhat * self.xhat, axis=0)) / self.std
import numpy as np


class FullyConnectedLayer:
    def __init__(self, fan_in, fan_out, lr):
        self.w = np.random.normal(0, fan_in ** -0.5, (fan_in, fan_out))
        self.b = np.zeros(fan_out)
        self.lr = lr

    def forward(self, x):
        self.x = x
        return x.dot(self.w) + self.b

    def backward(self, dout):
        dx = dout.dot(self.w.T)
        self.w -= self.lr * self.x.T.dot(dout)
        self.b -= self.lr * dout.sum(axis=0)
        return dx


class BatchNormLayer:
    def __init__(self, size, lr=0.1, eps=1e-5, momentum=0.9):
        self.gamma = np.ones(size)
        self.beta = np.zeros(size)
        self.lr = lr
        self.eps = eps
        self.momentum = momentum
        self.running_mean = np.zeros(size)
        self.running_var = np.ones(size)
        self.training = True

    def forward(self, x):
        if not self.training:
            return (x - self.running_mean) / np.sqrt(self.running_var + self.eps) * self.gamma + self.beta
        mean = x.mean(axis=0)
        var = x.var(axis=0)
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mean) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        dgamma = np.sum(dout * self.xhat, axis=0)
        dbeta = np.sum(dout, axis=0)
        dxhat = dout * self.gamma
        self.gamma -= self.lr * dgamma  # after dxhat
        self.beta -= self.lr * dbeta
        dx = (dxhat - dxhat.mean(axis=0) - self.xhat * np.mean(dxhat * self.xhat, axis=0)) / self.std
        return dx
