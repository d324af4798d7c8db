# shape: class; forward(x, *, inference=False), keyword-only, inverted flag; backward(grad) -> dict
# name: BatchNormalization
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument inference, keyword-only (default False)
# returns: dict (x, gamma, beta)
# bug-gamma-missing-in-dx: upstream = grad * self.gamma ==> upstream = grad
# bug-dgamma-sign: "gamma": np.einsum("nc,nc->c", grad, xhat), ==> "gamma": -np.einsum("nc,nc->c", grad, xhat),
# bug-unbiased-variance: var = np.einsum("nc,nc->c", centred, centred) / len(x) ==> var = np.einsum("nc,nc->c", centred, centred) / (len(x) - 1)
from __future__ import annotations

import numpy as np


class BatchNormalization:
    def __init__(self, features: int, *, eps: float = 1e-5, momentum: float = 0.9) -> None:
        self.gamma = np.ones(features)
        self.beta = np.zeros(features)
        self.eps, self.momentum = eps, momentum
        self.mean, self.var = np.zeros(features), np.ones(features)
        self._saved: tuple | None = None

    def forward(self, x: np.ndarray, *, inference: bool = False) -> np.ndarray:
        if inference:
            return (x - self.mean) / np.sqrt(self.var + self.eps) * self.gamma + self.beta
        mu = x.mean(axis=0)
        centred = x - mu
        var = np.einsum("nc,nc->c", centred, centred) / len(x)
        std = np.sqrt(var + self.eps)
        self.mean += (1 - self.momentum) * (mu - self.mean)
        self.var += (1 - self.momentum) * (var - self.var)
        self._saved = centred / std, std
        return centred / std * self.gamma + self.beta

    def backward(self, grad: np.ndarray) -> dict[str, np.ndarray]:
        assert self._saved is not None, "forward first"
        xhat, std = self._saved
        upstream = grad * self.gamma
        return {
            "x": (upstream - upstream.mean(axis=0) - xhat * (upstream * xhat).mean(axis=0)) / std,
            "gamma": np.einsum("nc,nc->c", grad, xhat),
            "beta": grad.sum(axis=0),
        }
