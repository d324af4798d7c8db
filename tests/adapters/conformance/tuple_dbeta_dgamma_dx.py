# shape: class batchnorm with gamma, beta as arguments of forward; backward(d) -> (dbeta, dgamma, dx)
# name: batchnorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: attribute
# eps: 1e-4
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dbeta, dgamma, dx)
# bug-first-term-sign-flipped: dx[i][j] = dxh[i][j] / self.std[j] ==> dx[i][j] = -dxh[i][j] / self.std[j]
# bug-dgamma-lacks-last-row: for i in range(self.m):  # rows of dgamma ==> for i in range(self.m - 1):
# bug-variance-not-divided: self.var = s2 / self.m ==> self.var = s2
import numpy as np


class batchnorm():
    # my own batch norm, with for loops so i understand it
    # x is m examples, n features

    def __init__(self):
        self.epsilon = 0.0001

    def forward(self, x, gamma, beta):
        self.m, self.n = x.shape
        self.gamma = gamma
        mean = np.zeros(self.n, x.dtype)
        for i in range(self.m):
            mean += x[i]
        mean /= self.m
        s2 = np.zeros(self.n, x.dtype)
        for i in range(self.m):
            s2 += (x[i] - mean) ** 2
        self.var = s2 / self.m
        self.std = np.sqrt(self.var + self.epsilon)
        self.xh = np.zeros_like(x)
        y = np.zeros_like(x)
        for i in range(self.m):
            for j in range(self.n):
                self.xh[i][j] = (x[i][j] - mean[j]) / self.std[j]
                y[i][j] = gamma[j] * self.xh[i][j] + beta[j]
        return y

    def backward(self, d):
        dbeta = np.zeros(self.n, d.dtype)
        for i in range(self.m):
            dbeta += d[i]
        dgamma = np.zeros(self.n, d.dtype)
        for i in range(self.m):  # rows of dgamma
            dgamma += d[i] * self.xh[i]
        dxh = d * self.gamma
        dx = np.zeros_like(d)
        for j in range(self.n):
            a = 0
            b = 0
            for i in range(self.m):
                a += dxh[i][j]
                b += dxh[i][j] * self.xh[i][j]
            for i in range(self.m):
                dx[i][j] = dxh[i][j] / self.std[j]
                dx[i][j] -= (a + self.xh[i][j] * b) / self.m / self.std[j]
        return dbeta, dgamma, dx
