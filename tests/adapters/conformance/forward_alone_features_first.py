# shape: class for data (n, m) whose gamma and beta of shape (n, 1) tell its layout; forward alone
# name: BatchNormLayer
# layouts: CN
# parameter-shape: (C, 1)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: y; no backward
# bug-samples-normalized: Z.mean(axis=1, keepdims=True) ==> Z.mean(axis=0, keepdims=True)
# bug-sum-for-mean: np.sum(centered**2, axis=1, keepdims=True) / m ==> np.sum(centered**2, axis=1, keepdims=True)
# bug-beta-left-out: self.gamma * Z_norm + self.beta ==> self.gamma * Z_norm
import numpy as np


class BatchNormLayer:
    def __init__(self, n, epsilon=1e-8):
        self.gamma, self.beta = np.ones((n, 1)), np.zeros((n, 1))
        self.epsilon = epsilon

    def forward(self, Z):
        m = Z.shape[1]
        centered = Z - Z.mean(axis=1, keepdims=True)
        sigma2 = np.sum(centered**2, axis=1, keepdims=True) / m
        Z_norm = centered / np.sqrt(sigma2 + self.epsilon)
        return self.gamma * Z_norm + self.beta
