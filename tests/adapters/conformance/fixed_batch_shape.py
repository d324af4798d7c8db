# shape: class with a fixed batch shape: batch size and dimension are constructor arguments, buffers are allocated once
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: attribute phase_train (default True)
# returns: dx and attributes dgamma, dbeta
# note: another batch shape raises ValueError; y and dx are views of the object's own buffers, overwritten by the next call; float32 data gives float64 results
# bug-variance-path-dropped: self.dx -= self.x_hat * np.mean(self.buf * self.x_hat, axis=0) ==> self.dx -= 0 * self.x_hat
# bug-dbeta-lacks-last-row: np.sum(dy, axis=0, out=self.dbeta) ==> np.sum(dy[:-1], axis=0, out=self.dbeta)
# bug-sum-for-mean: np.mean(self.buf * self.buf, axis=0, out=self.var) ==> np.sum(self.buf * self.buf, axis=0, out=self.var)
import numpy as np


class BatchNorm:
    def __init__(self, batch_size, dim, eps=1e-5, rho=0.95):
        self.shape = (batch_size, dim)
        self.gamma, self.beta = np.ones(dim), np.zeros(dim)
        self.dgamma, self.dbeta = np.empty(dim), np.empty(dim)
        self.y, self.x_hat, self.buf, self.dx = (np.empty(self.shape) for _ in range(4))
        self.mean, self.var = np.empty(dim), np.empty(dim)
        self.avg_mean, self.avg_var = np.zeros(dim), np.ones(dim)
        self.eps = eps
        self.rho = rho
        self.phase_train = True

    def forward(self, x):
        if x.shape != self.shape:
            raise ValueError("expected a batch of shape %s, got %s" % (self.shape, x.shape))
        if not self.phase_train:
            return self.gamma * (x - self.avg_mean) / np.sqrt(self.avg_var + self.eps) + self.beta
        np.mean(x, axis=0, out=self.mean)
        np.subtract(x, self.mean, out=self.buf)
        np.mean(self.buf * self.buf, axis=0, out=self.var)
        self.avg_mean = self.rho * self.avg_mean + (1 - self.rho) * self.mean
        self.avg_var = self.rho * self.avg_var + (1 - self.rho) * self.var
        self.std = np.sqrt(self.var + self.eps)
        np.divide(self.buf, self.std, out=self.x_hat)
        np.multiply(self.x_hat, self.gamma, out=self.y)
        self.y += self.beta
        return self.y

    def backward(self, dy):
        np.sum(dy * self.x_hat, axis=0, out=self.dgamma)
        np.sum(dy, axis=0, out=self.dbeta)
        np.multiply(dy, self.gamma, out=self.buf)
        np.subtract(self.buf, self.buf.mean(axis=0), out=self.dx)
        self.dx -= self.x_hat * np.mean(self.buf * self.x_hat, axis=0)
        self.dx /= self.std
        return self.dx
