# shape: command-line script: argparse and sys.exit under the main guard, sys.exit in the layer on wrong input
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: biased
# running-start: 0, 1
# mode-switch: argument is_train, keyword (default True)
# returns: dx and attributes dscale, dshift
# bug-bessel-in-variance-path: xh * (d * xh).sum(axis=0) / n ==> xh * (d * xh).sum(axis=0) / (n - 1)
# bug-dgamma-sign-flipped: self.dscale = (dz * xh).sum(axis=0) ==> self.dscale = -(dz * xh).sum(axis=0)
# bug-eps-twice: s = np.sqrt(((x - m) ** 2).mean(axis=0) + self.eps) ==> s = np.sqrt(((x - m) ** 2).mean(axis=0) + 2 * self.eps)
import argparse
import sys

import numpy as np


class BatchNorm:
    def __init__(self, n, eps=1e-5, rate=0.1):
        self.scale = np.ones(n)
        self.shift = np.zeros(n)
        self.eps, self.rate = eps, rate
        self.avg_mean = np.zeros(n)
        self.avg_var = np.ones(n)

    def forward(self, x, is_train=True):
        if x.ndim != 2:
            sys.exit("BatchNorm: input must be 2D")
        if is_train:
            m = x.mean(axis=0)
            s = np.sqrt(((x - m) ** 2).mean(axis=0) + self.eps)
            self.avg_mean = (1 - self.rate) * self.avg_mean + self.rate * m
            self.avg_var = (1 - self.rate) * self.avg_var + self.rate * x.var(axis=0)
            self.cache = (x - m) / s, s
            return self.scale * self.cache[0] + self.shift
        return self.scale * (x - self.avg_mean) / np.sqrt(self.avg_var + self.eps) + self.shift

    def backward(self, dz):
        xh, s = self.cache
        n = dz.shape[0]
        self.dscale = (dz * xh).sum(axis=0)
        self.dshift = dz.sum(axis=0)
        d = dz * self.scale
        return (d - d.sum(axis=0) / n - xh * (d * xh).sum(axis=0) / n) / s


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, required=True)
    args = parser.parse_args()
    bn = BatchNorm(4)
    for _ in range(args.epochs):
        bn.forward(np.random.randn(8, 4))
        bn.backward(np.random.randn(8, 4))
    return 0


if __name__ == "__main__":
    sys.exit(main())
