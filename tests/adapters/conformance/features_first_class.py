# shape: features first, class: data (n, m), gamma and beta of shape (n, 1), gradients as attributes
# name: BatchNorm
# layouts: CN
# parameter-shape: (C, 1)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument mode: "train" or "predict" (default "train")
# returns: dZ and attributes dgamma, dbeta
# bug-mean-path-dropped: dZ = dZc - dZc.mean(axis=1, keepdims=True) ==> dZ = dZc
# bug-dbeta-over-the-wrong-axis: self.dbeta = dout.sum(axis=1, keepdims=True) ==> self.dbeta = np.full_like(self.beta, dout.sum(axis=0)[0])
# bug-unbiased-variance: var = np.var(Z, axis=1, keepdims=True) ==> var = np.var(Z, axis=1, keepdims=True, ddof=1)
import numpy as np


class Dense:
    def __init__(self, n_in, n_out):
        self.W = np.random.randn(n_out, n_in) * np.sqrt(2 / n_in)

    def forward(self, A):
        self.A = A
        return self.W.dot(A)

    def backward(self, dZ):
        self.dW = dZ.dot(self.A.T)
        return self.W.T.dot(dZ)


class BatchNorm:
    def __init__(self, n, beta1=0.9, eps=1e-5):
        self.gamma = np.ones((n, 1))
        self.beta = np.zeros((n, 1))
        self.beta1 = beta1  # exponentially weighted average
        self.eps = eps
        self.mu_avg = np.zeros((n, 1))
        self.var_avg = np.ones((n, 1))

    def forward(self, Z, mode="train"):
        if mode == "train":
            mu = np.mean(Z, axis=1, keepdims=True)
            var = np.var(Z, axis=1, keepdims=True)
            self.mu_avg = self.beta1 * self.mu_avg + (1 - self.beta1) * mu
            self.var_avg = self.beta1 * self.var_avg + (1 - self.beta1) * var
        else:
            mu, var = self.mu_avg, self.var_avg
        self.Zc = Z - mu
        self.std = np.sqrt(var + self.eps)
        self.Zn = self.Zc / self.std
        return self.gamma * self.Zn + self.beta

    def backward(self, dout):
        m = dout.shape[1]
        self.dgamma = (dout * self.Zn).sum(axis=1, keepdims=True)
        self.dbeta = dout.sum(axis=1, keepdims=True)
        dZn = dout * self.gamma
        dstd = -(dZn * self.Zc).sum(axis=1, keepdims=True) / self.std**2
        dZc = dZn / self.std + self.Zc * dstd / (self.std * m)
        dZ = dZc - dZc.mean(axis=1, keepdims=True)
        return dZ
