# shape: class without gamma and beta: backward returns dx only
# name: Normalization
# layouts: NC
# parameter-shape: none
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument is_training (default True)
# returns: dx
# bug-mean-path-dropped: g - g.mean(axis=0) - self.out * (g * self.out).mean(axis=0) ==> g - self.out * (g * self.out).mean(axis=0)
# bug-factor-two-too-much: return self.inv_sigma * ( ==> return 2 * self.inv_sigma * (
# bug-unbiased-variance: sigma2 = x.var(axis=0) ==> sigma2 = x.var(axis=0, ddof=1)
import numpy as np


class Normalization:
    """batch normalisation without scale and shift: the next layer's weights do that"""

    def __init__(self, size, decay=0.9, eps=1e-5):
        self.mean = np.zeros(size)
        self.variance = np.ones(size)
        self.decay = decay
        self.eps = eps

    def forward(self, x, is_training=True):
        if not is_training:
            return (x - self.mean) / np.sqrt(self.variance + self.eps)
        mu = x.mean(axis=0)
        sigma2 = x.var(axis=0)
        self.mean = self.decay * self.mean + (1 - self.decay) * mu
        self.variance = self.decay * self.variance + (1 - self.decay) * sigma2
        self.inv_sigma = 1 / np.sqrt(sigma2 + self.eps)
        self.out = (x - mu) * self.inv_sigma
        return self.out.copy()

    def backward(self, g):
        return self.inv_sigma * (g - g.mean(axis=0) - self.out * (g * self.out).mean(axis=0))
