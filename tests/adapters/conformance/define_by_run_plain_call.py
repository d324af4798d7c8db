# shape: define-by-run: y = BatchNormalization()(x, gamma, beta) on Variable objects, eps and no statistics; y.backward(grad)
# name: BatchNormalization
# layouts: NC, NCL, NCHW, NCDHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: .grad of the Variables x, gamma, beta after y.backward(grad)
# bug-gamma-twice-in-dx: dx = self.r * (g - g.mean(self.axes, keepdims=True) ==> dx = gamma * self.r * (g - g.mean(self.axes, keepdims=True)
# bug-dbeta-averaged: dbeta = dy.sum(self.axes) ==> dbeta = dy.mean(self.axes)
# bug-variance-doubled: var = x.var(self.axes, keepdims=True) ==> var = x.var(self.axes, keepdims=True) * 2
"""A minimal define-by-run framework (tape in the variables themselves)."""
import numpy as np


class Variable(object):
    def __init__(self, data):
        self.data = np.asarray(data)
        self.grad = None
        self.parent = None

    def backward(self, grad):
        self.grad = grad
        stack = [self]
        while stack:
            v = stack.pop()
            if v.parent is None:
                continue
            for source, g in zip(v.parent.sources, v.parent.backward(v.grad)):
                source.grad = g if source.grad is None else source.grad + g
                stack.append(source)


class Function(object):
    def __call__(self, *sources):
        self.sources = sources
        result = Variable(self.forward(*(s.data for s in sources)))
        result.parent = self
        return result


class BatchNormalization(Function):
    def __init__(self, eps=1e-5):
        self.eps = eps

    def forward(self, x, gamma, beta):
        self.axes = (0,) + tuple(range(2, x.ndim))
        self.expand = (slice(None),) + (None,) * (x.ndim - 2)
        var = x.var(self.axes, keepdims=True)
        self.r = (var + self.eps) ** -0.5
        self.xhat = (x - x.mean(self.axes, keepdims=True)) * self.r
        return gamma[self.expand] * self.xhat + beta[self.expand]

    def backward(self, dy):
        dgamma = (dy * self.xhat).sum(self.axes)
        dbeta = dy.sum(self.axes)
        gamma = self.sources[1].data[self.expand]
        g = gamma * dy
        dx = self.r * (g - g.mean(self.axes, keepdims=True) - self.xhat * (g * self.xhat).mean(self.axes, keepdims=True))
        return dx, dgamma, dbeta
