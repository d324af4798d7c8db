# shape: torch course: class BatchNorm with static forward(x, gamma, beta, bn_param), backward, backward_alt; class SpatialBatchNorm
# name: BatchNorm
# also: SpatialBatchNorm NCHW
# needs: torch
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 0
# mode-switch: bn_param["mode"]: "train" or "test"
# returns: tuple (dx, dgamma, dbeta)
# bug-sign-of-dmu: dmu = -dcentered.sum(dim=0) ==> dmu = dcentered.sum(dim=0)
# bug-dgamma-unsummed: dgamma = (dout * x_norm).sum(dim=0) ==> dgamma = dout * x_norm
# bug-unbiased-variance: var = x.var(dim=0, unbiased=False) ==> var = x.var(dim=0)
"""
Implements batch normalization in PyTorch.
WARNING: you SHOULD NOT use ".to()" or ".cuda()" in each implementation block.
"""
import torch


class FullyConnected(object):

    @staticmethod
    def forward(x, w, b):
        out = x.flatten(1).mm(w) + b
        return out, (x, w, b)

    @staticmethod
    def backward(dout, cache):
        x, w, b = cache
        dx = dout.mm(w.t()).view(x.shape)
        dw = x.flatten(1).t().mm(dout)
        return dx, dw, dout.sum(dim=0)


class BatchNorm(object):

    @staticmethod
    def forward(x, gamma, beta, bn_param):
        """
        Forward pass for batch normalization.

        Input:
        - x: Data of shape (N, D)
        - gamma: Scale parameter of shape (D,)
        - beta: Shift paremeter of shape (D,)
        - bn_param: Dictionary with keys mode, eps, momentum, running_mean, running_var
        """
        mode = bn_param['mode']
        eps = bn_param.get('eps', 1e-5)
        momentum = bn_param.get('momentum', 0.9)

        N, D = x.shape
        running_mean = bn_param.get('running_mean', torch.zeros(D, dtype=x.dtype, device=x.device))
        running_var = bn_param.get('running_var', torch.zeros(D, dtype=x.dtype, device=x.device))

        out, cache = None, None
        if mode == 'train':
            mean = x.mean(dim=0)
            var = x.var(dim=0, unbiased=False)
            centered = x - mean
            std = (var + eps).sqrt()
            x_norm = centered / std
            out = gamma * x_norm + beta
            running_mean = momentum * running_mean + (1 - momentum) * mean
            running_var = momentum * running_var + (1 - momentum) * var
            cache = (x_norm, centered, std, gamma)
        elif mode == 'test':
            out = gamma * (x - running_mean) / (running_var + eps).sqrt() + beta
        else:
            raise ValueError('Invalid forward batchnorm mode "%s"' % mode)

        bn_param['running_mean'] = running_mean.detach()
        bn_param['running_var'] = running_var.detach()
        return out, cache

    @staticmethod
    def backward(dout, cache):
        x_norm, centered, std, gamma = cache
        N = dout.shape[0]
        dgamma = (dout * x_norm).sum(dim=0)
        dbeta = dout.sum(dim=0)
        dx_norm = dout * gamma
        dstd = -(dx_norm * centered).sum(dim=0) / std ** 2
        dvar = dstd / (2 * std)
        dcentered = dx_norm / std + 2 * centered * dvar / N
        dmu = -dcentered.sum(dim=0)
        dx = dcentered + dmu / N
        return dx, dgamma, dbeta

    @staticmethod
    def backward_alt(dout, cache):
        x_norm, centered, std, gamma = cache
        N = dout.shape[0]
        g = dout * gamma
        dx = (g - g.mean(0) - x_norm * (g * x_norm).mean(0)) / std
        return dx, (dout * x_norm).sum(0), dout.sum(0)


class SpatialBatchNorm(object):

    @staticmethod
    def forward(x, gamma, beta, bn_param):
        N, C, H, W = x.shape
        flat = x.permute(0, 2, 3, 1).reshape(-1, C)
        out, cache = BatchNorm.forward(flat, gamma, beta, bn_param)
        return out.reshape(N, H, W, C).permute(0, 3, 1, 2), cache

    @staticmethod
    def backward(dout, cache):
        N, C, H, W = dout.shape
        flat = dout.permute(0, 2, 3, 1).reshape(-1, C)
        dx, dgamma, dbeta = BatchNorm.backward_alt(flat, cache)
        return dx.reshape(N, H, W, C).permute(0, 3, 1, 2), dgamma, dbeta
