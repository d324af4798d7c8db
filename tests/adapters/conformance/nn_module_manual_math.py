# shape: nn.Module with manual math, buffers and momentum; under autograd
# name: MyBatchNorm2d
# needs: torch
# layouts: NC, NCL, NCHW, NCDHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: unbiased
# running-start: 0, 1
# mode-switch: methods train() and eval() of nn.Module
# returns: gradients by autograd, of x, weight and bias
# bug-statistics-as-constants: mean = x.mean(dims) ==> mean = x.mean(dims).detach()
# bug-unbiased-variance: var = ((x - mean.view(shape)) ** 2).mean(dims) ==> var = ((x - mean.view(shape)) ** 2).sum(dims) / (n - 1)
# bug-affine-order: return x_hat * self.weight.view(shape) + self.bias.view(shape) ==> return (x_hat + self.bias.view(shape)) * self.weight.view(shape)
import torch
from torch import nn


class MyBatchNorm2d(nn.Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x):
        shape = [1, self.num_features] + [1] * (x.dim() - 2)
        dims = [d for d in range(x.dim()) if d != 1]
        if self.training:
            n = x.numel() / self.num_features
            mean = x.mean(dims)
            var = ((x - mean.view(shape)) ** 2).mean(dims)
            with torch.no_grad():
                self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
                self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var * n / (n - 1)
        else:
            mean, var = self.running_mean, self.running_var
        x_hat = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + self.eps)
        return x_hat * self.weight.view(shape) + self.bias.view(shape)
