"""A right Batch Normalization as a Target, and ways to spoil it: independent of adapters and of the reference."""

from __future__ import annotations

import numpy as np

from bncheck.model import Conventions
from bncheck.session import Gradients


def forward(x, gamma, beta, eps):
    """Two-pass, in the dtype of x, channels on axis 1."""
    axes, shape = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
    xc = x - x.mean(axis=axes, keepdims=True)
    inv_std = 1 / np.sqrt((xc * xc).mean(axis=axes, keepdims=True) + x.dtype.type(eps))
    xhat = xc * inv_std
    return gamma.reshape(shape) * xhat + beta.reshape(shape), (xhat, inv_std, gamma.reshape(shape), axes)


def backward(dy, cache):
    """The closed formula."""
    xhat, inv_std, gamma, axes = cache
    mean_dy, mean_dy_xhat = dy.mean(axis=axes, keepdims=True), (dy * xhat).mean(axis=axes, keepdims=True)
    dx = gamma * inv_std * (dy - mean_dy - xhat * mean_dy_xhat)
    return Gradients(dx, (dy * xhat).sum(axis=axes), dy.sum(axis=axes))


def row_by_row(x, gamma, beta, eps):
    """Two-pass, with accumulators of x's dtype."""

    def mean(rows):
        total = np.zeros_like(rows[0])
        for row in rows:
            total = total + row
        return total / x.dtype.type(len(rows))

    centred = x - mean(x)
    inv_std = (1 / np.sqrt(mean(centred * centred) + eps)).astype(x.dtype)
    return gamma * centred * inv_std + beta, (centred * inv_std, inv_std, gamma, (0,))


class Pair:
    """A target: forward ``(x, gamma, beta, eps) -> (y, cache)`` and backward ``(dy, cache) -> Gradients``."""

    name = "pair"

    def __init__(self, forward=forward, backward=backward, layouts=("NC", "NCHW"), eps=None):
        self.functions = forward, backward
        self.conventions = Conventions("test", layouts, "(C,)", "argument" if eps is None else "fixed", eps, "tuple")

    def open(self, setup):
        return _Session(self.functions, setup)


class _Session:
    def __init__(self, functions, setup):
        self._forward, self._backward = functions
        self._setup = setup
        self._handed, self._shared = {}, []

    def forward(self, x, mode="train"):
        setup, given = self._setup, x.copy()
        self._handed |= {name: (a.copy(), a) for name, a in (("gamma", setup.gamma), ("beta", setup.beta))}
        self._handed["x"] = (x, given)
        y, self._cache = self._forward(given, setup.gamma, setup.beta, setup.eps)
        self._note({"y": y})
        return np.array(y) if isinstance(y, np.ndarray) else y

    def backward(self, dy):
        given = dy.copy()
        self._handed["dy"] = (dy, given)
        found = self._backward(given, self._cache)
        self._note(found._asdict())
        return found

    def _note(self, results):
        self._shared += [
            (result, name)
            for result, value in results.items()
            if isinstance(value, np.ndarray)
            for name, (_, now) in self._handed.items()
            if np.may_share_memory(value, now)
        ]

    def shared(self):
        return self._shared

    def handed_over(self):
        return self._handed


def spoiled(**changes):
    """Return a target whose backward's tensors go through the given functions: ``spoiled(dx=lambda dx: 2 * dx)``."""

    def wrong(dy, cache):
        return Gradients(**{k: changes.get(k, lambda v: v)(v) for k, v in backward(dy, cache)._asdict().items()})

    return Pair(backward=wrong)
