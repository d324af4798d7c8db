# shape: module of a small package: from .basics import *; base class and helpers live in the other module
# name: BatchNorm
# layouts: NC, NCL, NCHW, NCDHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: unbiased
# running-start: 0, 1
# mode-switch: attribute training
# returns: dx and dict grads["gamma"], grads["beta"]
# bug-mean-path-dropped: g - g.mean(axes, keepdims=True) - ==> g -
# bug-dgamma-averaged: self.grads["gamma"] = (dout * self.x_hat).sum(axes) ==> self.grads["gamma"] = (dout * self.x_hat).mean(axes)
# bug-eps-outside-root: self.inv = 1.0 / np.sqrt(var + self.eps) ==> self.inv = 1.0 / (np.sqrt(var) + self.eps)
from .basics import *


class BatchNorm(Module):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.params["gamma"] = np.ones(channels)
        self.params["beta"] = np.zeros(channels)
        self.running_mean = np.zeros(channels)
        self.running_var = np.ones(channels)
        self.eps, self.momentum = eps, momentum

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            axes = channel_axes(x)
            mean, var = x.mean(axes), x.var(axes)
            m = x.size // x.shape[1]
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var * m / max(m - 1, 1)
        self.inv = 1.0 / np.sqrt(var + self.eps)
        self.x_hat = (x - per_channel(mean, x)) * per_channel(self.inv, x)
        return self.x_hat * per_channel(self.params["gamma"], x) + per_channel(self.params["beta"], x)

    def backward(self, dout):
        axes = channel_axes(dout)
        self.grads["gamma"] = (dout * self.x_hat).sum(axes)
        self.grads["beta"] = dout.sum(axes)
        g = dout * per_channel(self.params["gamma"], dout)
        inv = per_channel(self.inv, dout)
        return inv * (g - g.mean(axes, keepdims=True) - self.x_hat * (g * self.x_hat).mean(axes, keepdims=True))
