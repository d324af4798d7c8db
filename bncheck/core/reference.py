"""The Batch Normalization equations in float64, and nothing else.

Everything holds per channel: an entry of gamma belongs to one index of the axes that are *not* reduced, and the
statistics average over the `m` elements along the reduced axes. For (N, C) data ``axes=(0,)``, for (N, C, H, W)
``axes=(0, 2, 3)``; any other choice of axes works the same (``axes=(0,)`` on 4-D data normalises per activation).

The statistics are computed from x minus the channel's first element. Subtracting a constant changes neither var nor
xhat, and it removes the large mean before it can cancel: at mean 1e6 and standard deviation 1e-6 a plain two-pass
float64 evaluation loses xhat to 9e-5, the shifted one keeps 4e-16.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, Algorithms 1 and 2.

"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Array = NDArray[np.float64]
Axes = tuple[int, ...]


class Forward(NamedTuple):
    """Result of the training forward.

    ``y`` and ``xhat`` have x's shape; ``mu``, ``var`` (biased: divided by m) and ``inv_std`` = 1/sqrt(var + eps) have
    the parameters' shape; ``m`` is the number of elements per channel.
    """

    y: Array
    xhat: Array
    mu: Array
    var: Array
    inv_std: Array
    m: int


class Gradients(NamedTuple):
    """``dx`` in x's shape, ``dgamma`` and ``dbeta`` in the parameters' shape."""

    dx: Array
    dgamma: Array
    dbeta: Array


def forward(x: ArrayLike, gamma: ArrayLike, beta: ArrayLike, eps: float, axes: Axes = (0,)) -> Forward:
    """Return the training forward ``y = gamma * xhat + beta`` (Algorithm 1).

    Parameters
    ----------
    x : array, any shape
        The batch; converted to float64.
    gamma, beta : array, shape of x without the reduced axes
        Scale and shift, one entry per channel.
    eps : float
        Added to the variance, inside the root, in units of x squared. With 0 a constant channel is 0/0: NaN.
    axes : tuple of int
        The axes to average over.

    Raises
    ------
    ShapeError
        If gamma or beta do not have one entry per channel, the batch is empty, or the axes are not axes of x.

    """
    rows = Rows(x, axes)
    g, b = rows.parameter("gamma", gamma), rows.parameter("beta", beta)
    mu, xc, var = _centred(rows)
    inv_std = 1.0 / np.sqrt(var + eps)
    xhat = xc * inv_std
    y = g * xhat + b
    per_channel = rows.per_channel
    return Forward(rows.back(y), rows.back(xhat), per_channel(mu), per_channel(var), per_channel(inv_std), rows.m)


def variance(x: ArrayLike, axes: Axes = (0,)) -> Array:
    """Return the biased variance of every channel, in the parameters' shape: :func:`forward`'s, without the rest.

    `x`, `axes` and errors are those of :func:`forward`.
    """
    rows = Rows(x, axes)
    return rows.per_channel(_centred(rows)[2])


def _centred(rows: Rows) -> tuple[Array, Array, Array]:
    """Return mean, deviations and biased variance of each row."""
    x0 = rows.data[:, :1]
    xc = rows.data - x0
    mu_shifted = xc.mean(axis=1, keepdims=True)
    xc -= mu_shifted
    return x0 + mu_shifted, xc, np.square(xc).mean(axis=1, keepdims=True)


def backward(dy: ArrayLike, fwd: Forward, gamma: ArrayLike, axes: Axes = (0,)) -> Gradients:
    """Return the gradients of ``sum(dy * y)`` by the closed formula.

    ``dx = gamma * inv_std * (dy - mean(dy) - xhat * mean(dy * xhat))``, ``dgamma = sum(dy * xhat)``,
    ``dbeta = sum(dy)``.

    Parameters
    ----------
    dy : array, shape of x
        Upstream gradient dL/dy, in units of L per unit of y.
    fwd : Forward
        What :func:`forward` returned for this batch.
    gamma : array, parameters' shape
        The scale that the forward used.
    axes : tuple of int
        The axes that the forward averaged over.

    Raises
    ------
    ShapeError
        If dy and x differ in shape.

    """
    rows, xhat, g, inv_std = _backward_rows(dy, fwd, gamma, axes)
    dy_rows = rows.data
    dbeta = dy_rows.sum(axis=1, keepdims=True)
    dgamma = (dy_rows * xhat).sum(axis=1, keepdims=True)
    dx = g * inv_std * (dy_rows - dbeta / fwd.m - xhat * (dgamma / fwd.m))
    return Gradients(rows.back(dx), rows.per_channel(dgamma), rows.per_channel(dbeta))


def backward_staged(dy: ArrayLike, fwd: Forward, gamma: ArrayLike, axes: Axes = (0,)) -> Gradients:
    """Return the same gradients in the stages that the paper prints: dxhat, dvar, dmu, dx.

    The second term of dmu, ``dvar * sum(-2 (x - mu)) / m``, is zero because deviations sum to zero; it is kept to stay
    with the paper's page. Parameters and errors are those of :func:`backward`.
    """
    rows, xhat, g, inv_std = _backward_rows(dy, fwd, gamma, axes)
    dy_rows, m = rows.data, fwd.m
    xc = xhat / inv_std
    dxhat = dy_rows * g
    dvar = (dxhat * xc).sum(axis=1, keepdims=True) * -0.5 * inv_std**3
    dmu = dxhat.sum(axis=1, keepdims=True) * -inv_std + dvar * (-2.0 * xc).sum(axis=1, keepdims=True) / m
    dx = dxhat * inv_std + dvar * 2.0 * xc / m + dmu / m
    dgamma, dbeta = (dy_rows * xhat).sum(axis=1), dy_rows.sum(axis=1)
    return Gradients(rows.back(dx), rows.per_channel(dgamma), rows.per_channel(dbeta))


def forward_eval(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    eps: float,
    axes: Axes = (0,),
) -> Forward:
    """Return the inference forward (Algorithm 2): statistics are the given constants, eps inside the root.

    Parameters and errors are those of :func:`forward`; `running_mean` and `running_var` have the parameters' shape.
    """
    rows = Rows(x, axes)
    g, b = rows.parameter("gamma", gamma), rows.parameter("beta", beta)
    mu, var = rows.parameter("running_mean", running_mean), rows.parameter("running_var", running_var)
    inv_std = 1.0 / np.sqrt(var + eps)
    xhat = (rows.data - mu) * inv_std
    per_channel = rows.per_channel
    return Forward(
        rows.back(g * xhat + b), rows.back(xhat), per_channel(mu), per_channel(var), per_channel(inv_std), rows.m
    )


def backward_eval(dy: ArrayLike, fwd: Forward, gamma: ArrayLike, axes: Axes = (0,)) -> Gradients:
    """Return the gradients in inference mode, where statistics are constants: ``dx = gamma * inv_std * dy``.

    `fwd` is what :func:`forward_eval` returned; parameters and errors are those of :func:`backward`.
    """
    rows, xhat, g, inv_std = _backward_rows(dy, fwd, gamma, axes)
    dgamma, dbeta = (rows.data * xhat).sum(axis=1), rows.data.sum(axis=1)
    return Gradients(rows.back(g * inv_std * rows.data), rows.per_channel(dgamma), rows.per_channel(dbeta))


# --------------------------------------------------------------------------------------------------- running statistics


@dataclass(frozen=True, slots=True)
class RunningRule:
    """How a library keeps running statistics.

    Attributes
    ----------
    fraction : str
        What momentum a is the fraction of: "new" (r = (1 - a) r + a s), "kept" (r = a r + (1 - a) s), or "average"
        (the plain average over the batches so far; momentum is not used).
    unbiased : bool
        Whether running_var takes var * m / (m - 1) (Bessel) instead of var.
    start_var : float
        Start of running_var; running_mean starts at 0.
    one_value : float
        The unbiased variance of one value per channel (m = 1), which is 0/0: NaN, or 0 where m - 1 is kept above 0.

    """

    fraction: str
    unbiased: bool
    start_var: float
    one_value: float = math.nan


# Source of each: the library's own documentation of its update. CS231n: assignment 2, layers.py.
RUNNING_RULES = {
    "pytorch": RunningRule("new", unbiased=True, start_var=1.0),
    "keras": RunningRule("kept", unbiased=False, start_var=1.0),
    "flax": RunningRule("kept", unbiased=False, start_var=1.0),
    "cs231n": RunningRule("kept", unbiased=False, start_var=0.0),
    "chainer": RunningRule("kept", unbiased=True, start_var=1.0, one_value=0.0),
    "paper": RunningRule("average", unbiased=True, start_var=0.0),
}


class Running(NamedTuple):
    """Running statistics after `batches` updates, in the parameters' shape."""

    mean: Array
    var: Array
    batches: int


def start_running(rule: RunningRule, shape: tuple[int, ...]) -> Running:
    """Return the statistics before the first batch, with the parameters' `shape`."""
    return Running(np.zeros(shape), np.full(shape, rule.start_var), 0)


def update_running(running: Running, fwd: Forward, rule: RunningRule, momentum: float) -> Running:
    """Return the statistics after one training forward; `momentum` as the rule's `fraction` reads it."""
    var = fwd.var
    if rule.unbiased:
        var = fwd.var * (fwd.m / (fwd.m - 1)) if fwd.m > 1 else np.full_like(fwd.var, rule.one_value)
    batches = running.batches + 1
    kept, new = {
        "new": (1.0 - momentum, momentum),
        "kept": (momentum, 1.0 - momentum),
        "average": ((batches - 1) / batches, 1.0 / batches),
    }[rule.fraction]
    return Running(kept * running.mean + new * fwd.mu, kept * running.var + new * var, batches)


# ------------------------------------------------------------------------------------------------------------- plumbing


class Rows:
    """A view of an array as one row per channel: ``data`` (channels, m), and the way back. Float64."""

    def __init__(self, x: ArrayLike, axes: Axes) -> None:
        array = np.asarray(x, dtype=np.float64)
        moved_axes, self._inverse, self.shape, self.m = _taken_apart(array.shape, axes)
        moved = array.transpose(moved_axes)
        self._moved_shape = moved.shape
        # Contiguous rows make NumPy's sums pairwise.
        self.data = np.ascontiguousarray(moved).reshape(-1, self.m)

    def back(self, rows: Array) -> Array:
        """Return rows in the shape of the array that was taken apart: a view, with each channel in one piece."""
        return rows.reshape(self._moved_shape).transpose(self._inverse)

    def per_channel(self, column: Array) -> Array:
        """Return one entry per row, a column or not, in the shape of the parameters."""
        return column.reshape(self.shape)

    def parameter(self, name: str, value: ArrayLike) -> Array:
        """Return a parameter as a column; raise ShapeError if it has not one entry per channel."""
        array = np.asarray(value, dtype=np.float64)
        if array.shape != self.shape:
            raise ShapeError(f"{name} has shape {array.shape}, but one entry per channel is shape {self.shape}")
        return array.reshape(-1, 1)


@lru_cache(maxsize=1024)  # asked for several times in each case
def _taken_apart(shape: tuple[int, ...], axes: Axes) -> tuple[Axes, Axes, tuple[int, ...], int]:
    """Return the order of axes with the kept ones first, the way back, the parameters' shape, and m."""
    ndim = len(shape)
    if not all(-ndim <= axis < ndim for axis in axes):
        raise ShapeError(f"axes {axes} are not all axes of an array of shape {shape}")
    reduced = tuple(axis % ndim for axis in axes)
    if len(set(reduced)) != len(reduced) or 0 in shape:
        raise ShapeError(f"axes {axes} repeat, or the array of shape {shape} is empty")
    kept = tuple(axis for axis in range(ndim) if axis not in reduced)
    inverse = tuple(int(i) for i in np.argsort(kept + reduced))
    return kept + reduced, inverse, tuple(shape[axis] for axis in kept), math.prod(shape[axis] for axis in reduced)


def _backward_rows(dy: ArrayLike, fwd: Forward, gamma: ArrayLike, axes: Axes) -> tuple[Rows, Array, Array, Array]:
    if np.shape(dy) != fwd.xhat.shape:
        raise ShapeError(f"dy has shape {np.shape(dy)}, but x has shape {fwd.xhat.shape}")
    rows = Rows(dy, axes)
    g, inv_std = rows.parameter("gamma", gamma), rows.parameter("inv_std", fwd.inv_std)
    return rows, Rows(fwd.xhat, axes).data, g, inv_std
