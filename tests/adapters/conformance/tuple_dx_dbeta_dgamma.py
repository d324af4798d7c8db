# shape: class BatchNormLayer; backprop(delta) -> (dx, dbeta, dgamma)
# name: BatchNormLayer
# layouts: NC, NCHW
# parameter-shape: (1, C)
# eps-source: fixed
# eps: 1e-6
# momentum: kept
# running-var: biased
# running-start: the first batch
# mode-switch: argument phase of feed: "train" or "test" (default "train")
# returns: tuple (dx, dbeta, dgamma)
# bug-bessel-in-mean-path: dmean / count ==> dmean / (count - 1)
# bug-dgamma-times-gamma: d_gamma = np.einsum('ij,ij->j', d, self.z)[None, :] ==> d_gamma = np.einsum('ij,ij->j', d * self.gamma, self.z)[None, :]
# bug-gamma-is-squared: out = self.gamma * self.z + self.beta  # affine ==> out = self.gamma ** 2 * self.z + self.beta
import numpy as np


class Layer(object):
    trainable = False

    def feed(self, X, phase="train"):
        raise NotImplementedError()

    def backprop(self, delta):
        raise NotImplementedError()


class BatchNormLayer(Layer):
    """Works behind dense layers (N, D) and behind convolutions (N, C, H, W)."""

    trainable = True

    def __init__(self, n_units, decay=0.95):
        self.gamma = np.ones((1, n_units))
        self.beta = np.zeros((1, n_units))
        self.decay = decay
        self.pop_mean = None
        self.pop_var = None
        self.shape4d = None

    def _to2d(self, X):
        if X.ndim == 4:
            self.shape4d = X.shape
            return np.moveaxis(X, 1, -1).reshape(-1, X.shape[1])
        self.shape4d = None
        return X

    def _back(self, X):
        if self.shape4d is None:
            return X
        n, c, h, w = self.shape4d
        return np.moveaxis(X.reshape(n, h, w, c), -1, 1)

    def feed(self, X, phase="train"):
        X = self._to2d(X)
        if phase == "test":
            return self._back(self.gamma * (X - self.pop_mean) / np.sqrt(self.pop_var + 1e-6) + self.beta)
        mean = X.mean(0, keepdims=True)
        var = X.var(0, keepdims=True)
        if self.pop_mean is None:
            self.pop_mean, self.pop_var = mean, var
        else:
            self.pop_mean = self.decay * self.pop_mean + (1 - self.decay) * mean
            self.pop_var = self.decay * self.pop_var + (1 - self.decay) * var
        self.inv = 1.0 / np.sqrt(var + 1e-6)
        self.z = (X - mean) * self.inv
        out = self.gamma * self.z + self.beta  # affine
        return self._back(out)

    def backprop(self, delta):
        d = self._to2d(delta)
        count = d.shape[0]
        d_gamma = np.einsum('ij,ij->j', d, self.z)[None, :]
        d_beta = d.sum(0, keepdims=True)
        dz = d * self.gamma
        dcov = np.einsum('ij,ij->j', dz, self.z)[None, :]
        dmean = dz.sum(0, keepdims=True)
        dx = self.inv * (dz - dmean / count - self.z * dcov / count)
        return self._back(dx), d_beta, d_gamma
