# shape: class with dicts: params["gamma"], params["beta"], grads["gamma"], grads["beta"]
# name: BatchNormalization
# layouts: NC, NCHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: biased
# running-start: 0, 1
# mode-switch: attribute training
# returns: dx and dict grads["gamma"], grads["beta"]
# bug-variance-path-dropped: dx = k * (dy - dy_mean - x_hat * self._mean(dy * x_hat)) ==> dx = k * (dy - dy_mean)
# bug-dgamma-summed-over-everything: self.grads["gamma"] = self._sum(dy * x_hat) ==> self.grads["gamma"] = np.full_like(self.params["gamma"], np.sum(dy * x_hat))
# bug-dbeta-averaged: self.grads["beta"] = self._sum(dy) ==> self.grads["beta"] = self._sum(dy) / dy.shape[0]
from typing import Dict, Optional, Tuple

import numpy as np


class Layer:
    def __init__(self) -> None:
        self.params: Dict[str, np.ndarray] = {}
        self.grads: Dict[str, np.ndarray] = {}
        self.training = True


class BatchNormalization(Layer):
    """Batch normalization over every axis but the channel axis (axis 1).

    Parameters
    ----------
    num_channels : int
    eps : float
    momentum : float
        weight of the *new* batch statistics
    """

    def __init__(self, num_channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.params["gamma"] = np.ones(num_channels)
        self.params["beta"] = np.zeros(num_channels)
        self.running_mean = np.zeros(num_channels)
        self.running_var = np.ones(num_channels)
        self.eps = eps
        self.momentum = momentum
        self._cache: Optional[Tuple] = None

    def _axes(self) -> Tuple[int, ...]:
        return (0,) if self._ndim == 2 else (0, 2, 3)

    def _sum(self, a):
        return a.sum(axis=self._axes())

    def _mean(self, a):
        return self._cast(a.mean(axis=self._axes()))

    def _cast(self, v: np.ndarray) -> np.ndarray:
        return v if self._ndim == 2 else v[None, :, None, None]

    def forward(self, x: np.ndarray) -> np.ndarray:
        if x.ndim not in (2, 4):
            raise ValueError(f"expected 2D or 4D input, got {x.ndim}D")
        self._ndim = x.ndim
        gamma, beta = self._cast(self.params["gamma"]), self._cast(self.params["beta"])
        if not self.training:
            inv_std = 1.0 / np.sqrt(self._cast(self.running_var) + self.eps)
            return gamma * (x - self._cast(self.running_mean)) * inv_std + beta
        mean, var = x.mean(axis=self._axes()), x.var(axis=self._axes())
        inv_std = 1.0 / np.sqrt(self._cast(var) + self.eps)
        x_hat = (x - self._cast(mean)) * inv_std
        self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
        self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var
        self._cache = (x_hat, inv_std)
        return gamma * x_hat + beta

    def backward(self, dy: np.ndarray) -> np.ndarray:
        x_hat, inv_std = self._cache
        self.grads["gamma"] = self._sum(dy * x_hat)
        self.grads["beta"] = self._sum(dy)
        k = self._cast(self.params["gamma"]) * inv_std
        dy_mean = self._mean(dy)
        dx = k * (dy - dy_mean - x_hat * self._mean(dy * x_hat))
        return dx
