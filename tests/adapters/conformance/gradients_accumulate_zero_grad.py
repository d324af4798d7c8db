# shape: class whose gradients accumulate over backward calls: grad_weight += ..., zero_grad(), step(lr)
# name: BatchNorm
# layouts: NC, NCL, NCHW, NCDHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: biased
# running-start: 0, 1
# mode-switch: attribute training
# returns: grad_input and attributes grad_weight, grad_bias
# note: grad_weight and grad_bias accumulate until zero_grad()
# bug-mean-path-dropped: return (k * (m * gy - gb - z * gw)).reshape(self.shape) ==> return (k * (m * gy - z * gw)).reshape(self.shape)
# bug-dbeta-averaged: self.grad_bias += gb.ravel() ==> self.grad_bias += gb.ravel() / m
# bug-variance-for-std: self.invstd = (v + self.eps) ** -0.5 ==> self.invstd = (v + self.eps) ** -1.0
import numpy as np


class BatchNorm:
    """N-dimensional, channels first; the data is viewed as (N, C, L)."""

    def __init__(self, nfeatures, eps=1e-5, momentum=0.1):
        self.weight = np.ones(nfeatures)
        self.bias = np.zeros(nfeatures)
        self.running_mean = np.zeros(nfeatures)
        self.running_var = np.ones(nfeatures)
        self.eps = eps
        self.momentum = momentum
        self.training = True
        self.zero_grad()

    def zero_grad(self):
        self.grad_weight = np.zeros_like(self.weight)
        self.grad_bias = np.zeros_like(self.bias)

    def step(self, lr):
        self.weight -= lr * self.grad_weight
        self.bias -= lr * self.grad_bias

    def forward(self, input):
        self.shape = input.shape
        x = input.reshape(input.shape[0], input.shape[1], -1)
        if self.training:
            mu = x.mean((0, 2), keepdims=True)
            v = x.var((0, 2), keepdims=True)
            self.running_mean += self.momentum * (mu.ravel() - self.running_mean)
            self.running_var += self.momentum * (v.ravel() - self.running_var)
        else:
            mu = self.running_mean[None, :, None]
            v = self.running_var[None, :, None]
        self.invstd = (v + self.eps) ** -0.5
        self.z = (x - mu) * self.invstd
        return (self.z * self.weight[:, None] + self.bias[:, None]).reshape(self.shape)

    def backward(self, grad_output):
        gy = grad_output.reshape(self.z.shape)
        z, m = self.z, self.z.shape[0] * self.z.shape[2]
        gw = (gy * z).sum((0, 2), keepdims=True)
        gb = gy.sum((0, 2), keepdims=True)
        self.grad_weight += gw.ravel()
        self.grad_bias += gb.ravel()
        k = self.weight[:, None] * self.invstd / m
        return (k * (m * gy - gb - z * gw)).reshape(self.shape)
