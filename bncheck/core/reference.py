"""The Batch Normalization equations in float64, with a bound on what rounding may do to them. Nothing else.

Everything holds per channel: an entry of gamma belongs to one index of the axes that are *not* reduced, and the
statistics average over the `m` elements along the reduced axes. For (N, C) data ``axes=(0,)``, for (N, C, H, W)
``axes=(0, 2, 3)``; any other choice of axes works the same (``axes=(0,)`` on 4-D data normalises per activation).

The statistics are computed from x minus the channel's first element. Subtracting a constant changes neither var nor
xhat, and it removes the large mean before it can cancel: at mean 1e6 and standard deviation 1e-6 a plain two-pass
float64 evaluation loses xhat to 9e-5, the shifted one keeps 4e-16.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, Algorithms 1 and 2.
Higham 2002, Accuracy and Stability of Numerical Algorithms, sections 1.9 (variance), 3.1 and 4.2 (sums).
Chan, Golub & LeVeque 1983, Algorithms for Computing the Sample Variance, The American Statistician 37 (table 1).

"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
    rows = _Rows(x, axes)
    g, b = rows.parameter("gamma", gamma), rows.parameter("beta", beta)
    x0 = rows.data[:, :1]
    shifted = rows.data - x0
    mu_shifted = shifted.mean(axis=1, keepdims=True)
    xc = shifted - mu_shifted
    var = (xc * xc).mean(axis=1, keepdims=True)
    inv_std = 1.0 / np.sqrt(var + eps)
    xhat = xc * inv_std
    y = g * xhat + b
    per_channel = rows.per_channel
    return Forward(
        rows.back(y), rows.back(xhat), per_channel(x0 + mu_shifted), per_channel(var), per_channel(inv_std), rows.m
    )


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
    dgamma = (dy_rows * xhat).sum(axis=1, keepdims=True)
    dbeta = dy_rows.sum(axis=1, keepdims=True)
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
    rows = _Rows(x, axes)
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
    dgamma = (rows.data * xhat).sum(axis=1, keepdims=True)
    dbeta = rows.data.sum(axis=1, keepdims=True)
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


# ------------------------------------------------------------------------------------------------------ rounding bounds


# Stands for "no bound": large, and finite, so that products with 0 stay 0.
UNBOUNDED = 1e100


class Bounds(NamedTuple):
    """Largest rounding error of a right evaluation, per element, in the tensors' shapes and units."""

    y: Array
    dx: Array
    dgamma: Array
    dbeta: Array


def rounding_bounds(
    x: ArrayLike,
    gamma: ArrayLike,
    beta: ArrayLike,
    dy: ArrayLike,
    eps: float,
    u: float,
    axes: Axes = (0,),
    *,
    tiny: float = 0.0,
    one_pass: bool = False,
) -> Bounds:
    """Bound the rounding error of a right two-pass or updating evaluation in an arithmetic of unit roundoff `u`.

    Parameters
    ----------
    x, gamma, beta, dy, eps, axes
        As in :func:`forward` and :func:`backward`.
    u : float
        Unit roundoff of the evaluation under judgement (2**-53 for float64).
    tiny : float
        Smallest number above 0 in that arithmetic: what underflow may cost one operation.
    one_pass : bool
        Bound an evaluation of the variance as ``mean(x**2) - mean(x)**2`` instead.

    Raises
    ------
    ShapeError
        If the arrays do not fit each other.

    Notes
    -----
    For sums in any order: a sum of m terms errs by at most ``g * sum|terms|``, ``g = v / (1 - v)``, ``v = (m + 2) u``
    (Higham, eq. 4.4 and section 3.1; the 2 pays for the division by m and the product inside). Then, per channel:

    * mean: ``d_mu = g mean|x|``;
    * deviations: ``d_xc = d_mu + u |xc|``;
    * variance: in two passes the common error d_mu meets ``mean(xc) = 0`` and enters squared; an updating (Welford)
      evaluation errs by ``g mean|x| sqrt(var)`` besides: ``d_var = (g + 4u) var + 2 d_mu sqrt(var) + d_mu**2``;
      in one pass ``2 g mean(x**2)`` comes on top;
    * with ``q = d_var / (var + eps)``, ``r = (1 - q)**(-1/2) - 1 + 3u`` bounds the relative error of inv_std;
    * ``d_xhat = d_xc inv_std + |xhat| (r + u)``;
    * ``d_y = |gamma| d_xhat + 3u |gamma| inv_std (|x| + |mu|) + 2u (|gamma xhat| + |beta|)``; the middle term pays for
      the folded form ``y = (gamma inv_std) x + (beta - mu gamma inv_std)``;
    * with ``A = mean|dy|`` and ``D = mean|dy xhat|``, ``d_dbeta = m g A``, ``d_dgamma = m g D + sum(|dy| d_xhat)``;
    * ``d_dx = |gamma| inv_std (g A + d_xhat D + |xhat| (g D + mean(|dy| d_xhat)) + d_mu inv_std D
      + (3r + 4u) (|dy| + A + |xhat| D))``: mean(dy), xhat, mean(dy xhat), the paper's second term of dmu (zero but for
      rounding), and inv_std, which the staged form takes to the third power;
    * underflow adds up to `tiny` to any product; the staged form multiplies the smallest ones by inv_std**3 and xc.

    The result is twice that: second-order terms, the reference's own float64 rounding, and the final rounding to the
    dtype are all far below the first copy. Where v or q reach 1/2 nothing is left of the result, and the bound is
    ``UNBOUNDED``.
    """
    rows = _Rows(x, axes)
    fwd = forward(x, gamma, beta, eps, axes)
    g_, b_ = np.abs(rows.parameter("gamma", gamma)), np.abs(rows.parameter("beta", beta))
    mu, var, inv_std = (rows.parameter("statistics", p) for p in (fwd.mu, fwd.var, fwd.inv_std))
    xhat, x_abs = np.abs(_Rows(fwd.xhat, axes).data), np.abs(rows.data)
    if np.shape(dy) != np.shape(x):
        raise ShapeError(f"dy has shape {np.shape(dy)}, but x has shape {np.shape(x)}")
    dy_abs = np.abs(_Rows(dy, axes).data)
    m = rows.m
    g = (m + 2) * u / (1 - (m + 2) * u) if (m + 2) * u < 0.5 else UNBOUNDED

    d_mu = g * x_abs.mean(axis=1, keepdims=True)
    d_var = (g + 4 * u) * var + 2 * d_mu * np.sqrt(var) + d_mu**2 + tiny
    if one_pass:
        d_var = d_var + 2 * g * (x_abs**2).mean(axis=1, keepdims=True)
    q = d_var * inv_std**2
    r = np.where(q < 0.5, 1 / np.sqrt(1 - np.minimum(q, 0.5)) - 1, UNBOUNDED) + 3 * u
    d_xhat = d_mu * inv_std + xhat * (r + 2 * u)
    d_y = g_ * d_xhat + 3 * u * g_ * inv_std * (x_abs + np.abs(mu)) + 2 * u * (g_ * xhat + b_) + 2 * tiny * (1 + g_)

    mean_dy = dy_abs.mean(axis=1, keepdims=True)
    mean_dy_xhat = (dy_abs * xhat).mean(axis=1, keepdims=True)
    mean_dy_d_xhat = (dy_abs * d_xhat).mean(axis=1, keepdims=True)
    d_dbeta = m * g * mean_dy
    d_dgamma = m * (g * mean_dy_xhat + mean_dy_d_xhat)
    d_bracket = g * mean_dy + (d_xhat + d_mu * inv_std) * mean_dy_xhat + xhat * (g * mean_dy_xhat + mean_dy_d_xhat)
    d_dx = g_ * inv_std * (d_bracket + (3 * r + 4 * u) * (dy_abs + mean_dy + xhat * mean_dy_xhat))
    d_dbeta, d_dgamma = d_dbeta + m * tiny, d_dgamma + m * tiny * (1 + inv_std)
    d_dx = d_dx + 2 * tiny * (1 + g_) * (1 + inv_std) ** 2 * (1 + xhat * (1 + inv_std))
    return Bounds(
        rows.back(2 * d_y), rows.back(2 * d_dx), rows.per_channel(2 * d_dgamma), rows.per_channel(2 * d_dbeta)
    )


# ------------------------------------------------------------------------------------------------------------- plumbing


class _Rows:
    """A view of an array as one row per channel: (channels, m), and the way back."""

    def __init__(self, x: ArrayLike, axes: Axes) -> None:
        array = np.asarray(x, dtype=np.float64)
        if not all(-array.ndim <= axis < array.ndim for axis in axes):
            raise ShapeError(f"axes {axes} are not all axes of an array of shape {array.shape}")
        reduced = tuple(axis % array.ndim for axis in axes)
        if len(set(reduced)) != len(reduced) or array.size == 0:
            raise ShapeError(f"axes {axes} repeat, or the array of shape {array.shape} is empty")
        kept = tuple(axis for axis in range(array.ndim) if axis not in reduced)
        moved = array.transpose(kept + reduced)
        self._inverse = tuple(int(i) for i in np.argsort(kept + reduced))
        self._moved_shape = moved.shape
        self.shape = tuple(array.shape[axis] for axis in kept)
        self.m = math.prod(array.shape[axis] for axis in reduced)
        # Contiguous rows make NumPy's sums pairwise.
        self.data = np.ascontiguousarray(moved).reshape(math.prod(self.shape), self.m)

    def back(self, rows: Array) -> Array:
        return np.ascontiguousarray(rows.reshape(self._moved_shape).transpose(self._inverse))

    def per_channel(self, column: Array) -> Array:
        return column.reshape(self.shape)

    def parameter(self, name: str, value: ArrayLike) -> Array:
        array = np.asarray(value, dtype=np.float64)
        if array.shape != self.shape:
            raise ShapeError(f"{name} has shape {array.shape}, but one entry per channel is shape {self.shape}")
        return array.reshape(-1, 1)


def _backward_rows(dy: ArrayLike, fwd: Forward, gamma: ArrayLike, axes: Axes) -> tuple[_Rows, Array, Array, Array]:
    if np.shape(dy) != fwd.xhat.shape:
        raise ShapeError(f"dy has shape {np.shape(dy)}, but x has shape {fwd.xhat.shape}")
    rows = _Rows(dy, axes)
    g, inv_std = rows.parameter("gamma", gamma), rows.parameter("inv_std", fwd.inv_std)
    return rows, _Rows(fwd.xhat, axes).data, g, inv_std
