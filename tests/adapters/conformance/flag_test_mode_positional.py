# shape: class Batchnorm; fprop(input, test_mode) with a required flag, bprop(dLdout) -> dx
# name: Batchnorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: attribute
# eps: 1e-5
# momentum: new
# running-var: unbiased
# running-start: 0, 0
# mode-switch: argument test_mode (required)
# returns: dx and attributes dW, db
# bug-doubled-variance-path: 2. / n * self.diff * dVar ==> 4. / n * self.diff * dVar
# bug-dgamma-dbeta-swapped: self.dW, self.db = dWeight, dBias ==> self.dW, self.db = dBias, dWeight
# bug-unbiased-variance: xn = diff * (var + self.smooth) ** -.5 ==> xn = diff * (var_hat + self.smooth) ** -.5
import numpy as np


class Batchnorm():

    def __init__(self, dim, rate=0.1):
        self.W = np.ones(dim)
        self.b = np.zeros(dim)
        self.rate = rate
        self.smooth = 1e-5
        self.popMean = np.zeros(dim)
        self.popVar = np.zeros(dim)

    def fprop(self, input, test_mode):
        if test_mode:
            return self.W * (input - self.popMean) * (self.popVar + self.smooth) ** -.5 + self.b

        n = input.shape[0]
        mean = input.mean(0)
        diff = input - mean
        var = (diff * diff).sum(0) / n
        var_hat = (diff * diff).sum(0) / max(n - 1, 1)    # for the population
        self.popMean = (1 - self.rate) * self.popMean + self.rate * mean
        self.popVar = (1 - self.rate) * self.popVar + self.rate * var_hat
        xn = diff * (var + self.smooth) ** -.5
        self.diff, self.var, self.xn = diff, var, xn
        return self.W * xn + self.b

    def bprop(self, dLdout):
        n = dLdout.shape[0]
        dWeight = (dLdout * self.xn).sum(0)
        dBias = dLdout.sum(0)
        dXn = dLdout * self.W
        dVar = (dXn * self.diff).sum(0) * -.5 * (self.var + self.smooth) ** -1.5
        dDiff = dXn * (self.var + self.smooth) ** -.5 + 2. / n * self.diff * dVar
        self.dW, self.db = dWeight, dBias
        return dDiff - dDiff.sum(0) / n
