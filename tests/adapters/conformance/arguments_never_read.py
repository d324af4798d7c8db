# shape: network habit: train_forward(A, kind, mu), backward(D, kind, mu, lr, l1) share arguments that a layer of this kind never reads
# name: BatchNormalization
# layouts: NC
# parameter-shape: (1, C)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none: a method forward for inference, with the same arguments
# returns: dx; dgamma and dbeta show only in the change of Gamma and Beta: (old - new) / lr
# note: keeps a running deviation, the root of the averaged variance; mu, an argument, is a momentum
# bug-variance-over-features: np.mean(centred ** 2, axis=0, keepdims=True) ==> np.mean(centred ** 2, axis=1, keepdims=True)
# bug-second-term-lost: D - D.mean(axis=0) - self.normed ==> D - self.normed
# bug-gamma-stepped-first: gamma = self.Gamma.copy() ==> gamma = self.Gamma
import numpy as np


class BatchNormalization:
    def __init__(self, units):
        self.mean, self.sigma = np.zeros((1, units)), np.ones((1, units))
        self.Gamma, self.Beta = np.ones((1, units)), np.zeros((1, units))

    def train_forward(self, A, kind, mu, e=1e-8, alpha=0.9):
        mean = A.mean(axis=0, keepdims=True)
        centred = A - mean
        variance = np.mean(centred ** 2, axis=0, keepdims=True)
        self.mean = alpha * self.mean + (1 - alpha) * mean
        self.sigma = np.sqrt(alpha * self.sigma**2 + (1 - alpha) * variance)
        self.root = np.sqrt(variance + e)
        self.normed = centred / self.root
        return self.Gamma * self.normed + self.Beta

    def forward(self, A, kind, mu, e=1e-8):
        return self.Gamma * (A - self.mean) / np.sqrt(self.sigma**2 + e) + self.Beta

    def backward(self, D, lr, kind, mu, l1):
        gamma = self.Gamma.copy()
        self.Gamma -= lr * (D * self.normed).sum(axis=0, keepdims=True)
        self.Beta -= lr * D.sum(axis=0, keepdims=True)
        return gamma / self.root * (D - D.mean(axis=0) - self.normed * (D * self.normed).mean(axis=0))
