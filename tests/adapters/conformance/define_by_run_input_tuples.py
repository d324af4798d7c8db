# shape: old define-by-run function object: forward(self, inputs) -> (y,), backward(self, inputs, grad_outputs) -> (gx, ggamma, gbeta)
# name: BatchNormalizationFunction
# layouts: NC, NCL, NCHW, NCDHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: unbiased
# running-start: 0, 0
# mode-switch: argument train of the constructor (default True)
# returns: tuple (gx, ggamma, gbeta)
# bug-mean-path-dropped: gy - (self.x_hat * ggamma[expander] + gbeta[expander]) * inv_m ==> gy - self.x_hat * ggamma[expander] * inv_m
# bug-dgamma-with-centred-x: ggamma = (gy * self.x_hat).sum(axis=axis) ==> ggamma = (gy * self.x_hat * self.std[expander]).sum(axis=axis)
# bug-unbiased-variance: self.std = numpy.sqrt(var + self.eps, dtype=x.dtype) ==> self.std = numpy.sqrt(var * m / (m - 1.) + self.eps, dtype=x.dtype)
import numpy


class BatchNormalizationFunction(object):

    def __init__(self, eps=2e-5, mean=None, var=None, train=True, decay=0.9):
        self.running_mean = mean
        self.running_var = var
        self.train = train
        self.eps = eps
        self.decay = decay

    def forward(self, inputs):
        x, gamma, beta = inputs
        head_ndim = gamma.ndim + 1
        expander = (None, Ellipsis) + (None,) * (x.ndim - head_ndim)
        axis = (0,) + tuple(range(head_ndim, x.ndim))
        if self.running_mean is None:
            self.running_mean = numpy.zeros_like(gamma)
            self.running_var = numpy.zeros_like(gamma)
        if self.train:
            mean = x.mean(axis=axis)
            var = x.var(axis=axis)
            m = x.size // gamma.size
            adjust = m / max(m - 1., 1.)  # unbiased estimation
            self.running_mean *= self.decay
            self.running_mean += (1 - self.decay) * mean
            self.running_var *= self.decay
            self.running_var += (1 - self.decay) * adjust * var
        else:
            mean = self.running_mean
            var = self.running_var
        self.std = numpy.sqrt(var + self.eps, dtype=x.dtype)
        self.x_hat = (x - mean[expander]) / self.std[expander]
        y = gamma[expander] * self.x_hat
        y += beta[expander]
        return y,

    def backward(self, inputs, grad_outputs):
        x, gamma = inputs[:2]
        gy = grad_outputs[0]
        head_ndim = gamma.ndim + 1
        expander = (None, Ellipsis) + (None,) * (x.ndim - head_ndim)
        axis = (0,) + tuple(range(head_ndim, x.ndim))
        inv_m = gamma.dtype.type(1. / (x.size // gamma.size))
        gbeta = gy.sum(axis=axis)
        ggamma = (gy * self.x_hat).sum(axis=axis)
        gx = (gamma / self.std)[expander] * (
            gy - (self.x_hat * ggamma[expander] + gbeta[expander]) * inv_m)
        return gx, ggamma, gbeta
