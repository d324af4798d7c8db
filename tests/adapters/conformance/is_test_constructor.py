# shape: framework operator: class with is_test, momentum, epsilon, data_layout as constructor arguments; compute and compute_grad
# name: BatchNormOp
# layouts: NC, NCL, NCHW, NCDHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: passed by the caller
# mode-switch: argument is_test of the constructor (default False)
# returns: tuple (dX, dScale, dBias)
# bug-statistics-as-constants: (dy - self._b(mean_dy) - xhat * self._b(mean_dy_xhat)) ==> dy
# bug-dgamma-times-gamma: d_scale = (dy * xhat).sum(axis=self._axes) ==> d_scale = (dy * xhat).sum(axis=self._axes) * self.scale
# bug-variance-unsquared: var = np.square(x - self._b(mean)).mean(axis=self._axes) ==> var = np.abs(x - self._b(mean)).mean(axis=self._axes)
import numpy as np


class BatchNormOp:
    """Reference operator `batch_norm`.

    Attributes
    ----------
    momentum : float
        The share of the old running value that is kept.
    epsilon : float
        Added to the variance.
    is_test : bool
        True to use the running statistics.
    data_layout : str
        "NCHW" (channel second) or "NHWC" (channel last).
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, is_test=False, data_layout="NCHW"):
        if data_layout not in ("NCHW", "NHWC"):
            raise ValueError("unknown data_layout " + data_layout)
        self.momentum = momentum
        self.epsilon = epsilon
        self.is_test = is_test
        self.data_layout = data_layout

    def _b(self, v):
        return v.reshape(self._shape)

    def _prepare(self, x):
        channel = 1 if self.data_layout == "NCHW" else x.ndim - 1
        self._axes = tuple(i for i in range(x.ndim) if i != channel)
        self._shape = [-1 if i == channel else 1 for i in range(x.ndim)]

    def compute(self, x, scale, bias, running_mean, running_variance):
        """Return y; the running statistics are changed in place."""
        self._prepare(x)
        if self.is_test:
            inv = 1.0 / np.sqrt(running_variance + self.epsilon)
            return (x - self._b(running_mean)) * self._b(inv * scale) + self._b(bias)
        mean = x.mean(axis=self._axes)
        var = np.square(x - self._b(mean)).mean(axis=self._axes)
        running_mean *= self.momentum
        running_mean += (1 - self.momentum) * mean
        running_variance *= self.momentum
        running_variance += (1 - self.momentum) * var
        inv = 1.0 / np.sqrt(var + self.epsilon)
        self.scale = scale
        self.saved = (x - self._b(mean)) * self._b(inv), inv
        return self.saved[0] * self._b(scale) + self._b(bias)

    def compute_grad(self, dy):
        xhat, inv = self.saved
        mean_dy = dy.mean(axis=self._axes)
        mean_dy_xhat = (dy * xhat).mean(axis=self._axes)
        d_scale = (dy * xhat).sum(axis=self._axes)
        d_bias = dy.sum(axis=self._axes)
        dx = self._b(self.scale * inv) * (dy - self._b(mean_dy) - xhat * self._b(mean_dy_xhat))
        return dx, d_scale, d_bias
