# shape: class Norm(features, ...) and its methods behind decorators without functools.wraps: every signature is (*args, **kwargs)
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training (default False)
# returns: tuple (dx, dgamma, dbeta)
# note: the decorator insists on an int and on floats; its tools are in its closure, too
# bug-eps-left-out: np.sqrt(variance + self.eps) ==> np.sqrt(variance)
# bug-dbeta-is-mean: dbeta = dout.sum(axis=0) ==> dbeta = dout.mean(axis=0)
# bug-dx-first-sum-lost: dout - dbeta / len(dout) - self.x_hat ==> dout - self.x_hat
import numpy as np


def checked(**kinds):
    def named(value):
        return type(value).__name__

    def decorate(function):
        def call(*args, **kwargs):
            for name, value in {**dict(zip(kinds, args[1:])), **{k: v for k, v in kwargs.items() if k in kinds}}.items():
                if not isinstance(value, kinds[name]):
                    raise TypeError(f"{name} is no {kinds[name].__name__}: {named(value)}")
            return function(*args, **kwargs)

        return call

    return decorate


class BatchNorm:
    @checked(features=int, momentum=float, eps=float)
    def __init__(self, features, momentum=0.9, eps=1e-5):
        self.gamma, self.beta = np.ones(features), np.zeros(features)
        self.running_mean, self.running_var = np.zeros(features), np.ones(features)
        self.momentum, self.eps = momentum, eps

    @checked(x=np.ndarray, training=bool)
    def forward(self, x, training=False):
        mean, variance = (x.mean(axis=0), x.var(axis=0)) if training else (self.running_mean, self.running_var)
        if training:
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * variance
        self.root = np.sqrt(variance + self.eps)
        self.x_hat = (x - mean) / self.root
        return self.gamma * self.x_hat + self.beta

    @checked(dout=np.ndarray)
    def backward(self, dout):
        dgamma = (dout * self.x_hat).sum(axis=0)
        dbeta = dout.sum(axis=0)
        dx = self.gamma / self.root * (dout - dbeta / len(dout) - self.x_hat * dgamma / len(dout))
        return dx, dgamma, dbeta
