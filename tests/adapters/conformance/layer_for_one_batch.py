# shape: class Norm(x, gamma, beta), a layer made for one batch: forward() takes nothing, backward(d_out)
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dgamma, dbeta)
# bug-dgamma-of-centred: d_gamma = np.sum(d_out * self.x_hat, axis=0) ==> d_gamma = np.sum(d_out * self.centred, axis=0)
# bug-gamma-lost-in-dx: d_hat = d_out * self.gamma ==> d_hat = d_out
# bug-unbiased: np.mean(self.centred ** 2, axis=0) ==> np.sum(self.centred ** 2, axis=0) / (len(self.x) - 1)
import numpy as np


class BatchNorm:
    def __init__(self, x, gamma, beta, eps=1e-6):
        self.x = x
        self.gamma, self.beta = gamma, beta
        self.eps = eps

    def forward(self):
        self.centred = self.x - self.x.mean(axis=0)
        self.inverse = (np.mean(self.centred ** 2, axis=0) + self.eps) ** -0.5
        self.x_hat = self.centred * self.inverse
        return self.gamma * self.x_hat + self.beta

    def backward(self, d_out):
        d_gamma = np.sum(d_out * self.x_hat, axis=0)
        d_beta = np.sum(d_out, axis=0)
        d_hat = d_out * self.gamma
        d_x = self.inverse * (d_hat - d_hat.mean(axis=0) - self.x_hat * (d_hat * self.x_hat).mean(axis=0))
        return d_x, d_gamma, d_beta
