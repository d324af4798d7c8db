# shape: recurrent habit: each forward(x_t) pushes its tensors on a list, each backward(d_t) pops the last; backward returns a list [dx]
# name: BatchNormRNN
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: list [dx] and attributes dgamma, dbeta
# note: dgamma and dbeta accumulate over the steps; reset() clears them and the list; float32 data gives dgamma and dbeta in float64
# bug-gamma-missing-in-dx: g = d_t * self.gamma ==> g = d_t
# bug-dgamma-sign-flipped: self.dgamma += (d_t * x_hat).sum(0) ==> self.dgamma -= (d_t * x_hat).sum(0)
# bug-unbiased-variance: s = (xc ** 2).sum(0) / x_t.shape[0] ==> s = (xc ** 2).sum(0) / (x_t.shape[0] - 1)
import numpy as np


class BatchNormRNN:
    def __init__(self, hidden, eps=1e-5):
        self.gamma = np.ones(hidden)
        self.beta = np.zeros(hidden)
        self.eps = eps
        self.reset()

    def reset(self):
        self.steps = []
        self.dgamma = np.zeros_like(self.gamma)
        self.dbeta = np.zeros_like(self.beta)

    def forward(self, x_t):
        xc = x_t - x_t.mean(0)
        s = (xc ** 2).sum(0) / x_t.shape[0]
        std = np.sqrt(s + self.eps)
        self.steps.append((xc / std, std))
        return self.gamma * xc / std + self.beta

    def backward(self, d_t):
        x_hat, std = self.steps.pop()
        self.dgamma += (d_t * x_hat).sum(0)
        self.dbeta += d_t.sum(0)
        g = d_t * self.gamma
        return [(g - g.mean(0) - x_hat * (g * x_hat).mean(0)) / std]
