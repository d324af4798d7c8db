# shape: class whose mode is a global flag of the module: TRAINING
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: module global TRAINING (True at import), function set_training(flag)
# returns: dx and attributes dgamma, dbeta
# bug-sign-of-variance-path: dx = (g - g.mean(axis=0) - self.xn * np.mean(g * self.xn, axis=0)) / self.sd ==> dx = (g - g.mean(axis=0) + self.xn * np.mean(g * self.xn, axis=0)) / self.sd
# bug-dgamma-unsummed: self.dgamma = np.sum(self.xn * dy, axis=0) ==> self.dgamma = self.xn * dy
# bug-eps-missing: self.sd = np.sqrt(np.var(x, axis=0) + self.eps) ==> self.sd = np.sqrt(np.var(x, axis=0))
import numpy as np

TRAINING = True


def set_training(flag):
    global TRAINING
    TRAINING = flag


class Tanh:
    def forward(self, x):
        self.y = np.tanh(x)
        return self.y

    def backward(self, dy):
        return dy * (1 - self.y**2)


class BatchNorm:
    def __init__(self, size, eps=1e-5, momentum=0.9):
        self.gamma, self.beta = np.ones(size), np.zeros(size)
        self.mean, self.var = np.zeros(size), np.ones(size)
        self.eps, self.momentum = eps, momentum

    def forward(self, x):
        if TRAINING:
            mean = x.mean(axis=0)
            self.mean = self.momentum * self.mean + (1 - self.momentum) * mean
            self.var = self.momentum * self.var + (1 - self.momentum) * x.var(axis=0)
            self.sd = np.sqrt(np.var(x, axis=0) + self.eps)
        else:
            mean = self.mean
            self.sd = np.sqrt(self.var + self.eps)
        self.xn = (x - mean) / self.sd
        return self.gamma * self.xn + self.beta

    def backward(self, dy):
        self.dgamma = np.sum(self.xn * dy, axis=0)
        self.dbeta = np.sum(dy, axis=0)
        g = self.gamma * dy
        dx = (g - g.mean(axis=0) - self.xn * np.mean(g * self.xn, axis=0)) / self.sd
        return dx
