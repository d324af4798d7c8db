# shape: class; forward(X, training=False): the default is inference
# name: BatchNormalization
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training (default False)
# returns: dx and attributes dgamma, dbeta
# bug-mean-of-dxhat-without-std: (m * std) * (m * dx_norm ==> m * (m * dx_norm
# bug-dbeta-lacks-first-row: self.dbeta = np.sum(dY, axis=0) ==> self.dbeta = np.sum(dY[1:], axis=0)
# bug-std-without-root: self.X_norm = (X - mean) / np.sqrt(var + self.epsilon) ==> self.X_norm = (X - mean) / (var + self.epsilon)
import numpy as np


class BatchNormalization:

    def __init__(self, n_features, epsilon=1e-5, momentum=0.9):
        self.gamma = np.ones(n_features)
        self.beta = np.zeros(n_features)
        self.epsilon = epsilon
        self.momentum = momentum
        self.moving_mean = np.zeros(n_features)
        self.moving_var = np.ones(n_features)

    def forward(self, X, training=False):
        """Normalises X (m, n_features). Pass training=True in the training loop!"""
        if training:
            mean = np.mean(X, axis=0)
            var = np.var(X, axis=0)
            self.moving_mean = self.momentum * self.moving_mean + (1 - self.momentum) * mean
            self.moving_var = self.momentum * self.moving_var + (1 - self.momentum) * var
        else:
            mean = self.moving_mean
            var = self.moving_var
        self.var = var
        self.X_norm = (X - mean) / np.sqrt(var + self.epsilon)
        return self.gamma * self.X_norm + self.beta

    def backward(self, dY):
        m = dY.shape[0]
        std = np.sqrt(self.var + self.epsilon)
        self.dgamma = np.sum(dY * self.X_norm, axis=0)
        self.dbeta = np.sum(dY, axis=0)
        dx_norm = dY * self.gamma
        dX = 1.0 / (m * std) * (m * dx_norm - np.sum(dx_norm, axis=0) - self.X_norm * np.sum(dx_norm * self.X_norm, axis=0))
        return dX
