"""How far rounding may carry a right evaluation of the Batch Normalization equations, per element.

References
----------
Higham 2002, Accuracy and Stability of Numerical Algorithms, sections 1.9 (variance), 3.1 and 4.2 (sums).
Chan, Golub & LeVeque 1983, Algorithms for Computing the Sample Variance, The American Statistician 37 (table 1).

"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bncheck.core.reference import Array, Axes, Forward, Rows, forward
from bncheck.errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

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
    fwd: Forward | None = None,
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
    fwd : Forward, optional
        What :func:`forward` returns for these arrays, where it is known already.

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
    rows = Rows(x, axes)
    fwd = forward(x, gamma, beta, eps, axes) if fwd is None else fwd
    g_, b_ = np.abs(rows.parameter("gamma", gamma)), np.abs(rows.parameter("beta", beta))
    mu, var, inv_std = (rows.parameter("statistics", p) for p in (np.abs(fwd.mu), fwd.var, fwd.inv_std))
    xhat, x_abs = np.abs(Rows(fwd.xhat, axes).data), np.abs(rows.data)
    if np.shape(dy) != np.shape(x):
        raise ShapeError(f"dy has shape {np.shape(dy)}, but x has shape {np.shape(x)}")
    dy_abs = np.abs(Rows(dy, axes).data)
    m = rows.m
    g = _sum_factor(m, u)

    d_mu, d_var = _statistics(x_abs, var, m, u, one_pass=one_pass)
    d_var = d_var + tiny
    q = d_var * inv_std**2
    r = np.where(q < 0.5, 1 / np.sqrt(1 - np.minimum(q, 0.5)) - 1, UNBOUNDED) + 3 * u
    # d_xhat is s + t |xhat| with a constant s and t for each channel, and so are its means; with them all bounds are
    # sums of a few multiples of |xhat|, |x| and |dy|.
    s, t = d_mu * inv_std, r + 2 * u
    mean_dy = dy_abs.mean(axis=1, keepdims=True)
    mean_dy_xhat = (dy_abs * xhat).mean(axis=1, keepdims=True)
    mean_dy_d_xhat = s * mean_dy + t * mean_dy_xhat
    d_y = _sum(
        g_ * s + 3 * u * g_ * inv_std * mu + 2 * u * b_ + 2 * tiny * (1 + g_),
        (g_ * t + 2 * u * g_, xhat),
        (3 * u * g_ * inv_std, x_abs),
    )
    d_dbeta = m * g * mean_dy + m * tiny
    d_dgamma = m * (g * mean_dy_xhat + mean_dy_d_xhat) + m * tiny * (1 + inv_std)
    outer, common, spoilt = g_ * inv_std, 3 * r + 4 * u, 2 * tiny * (1 + g_) * (1 + inv_std) ** 2
    d_dx = _sum(
        outer * (g * mean_dy + 2 * s * mean_dy_xhat + common * mean_dy) + spoilt,
        (outer * ((t + g + common) * mean_dy_xhat + mean_dy_d_xhat) + spoilt * (1 + inv_std), xhat),
        (outer * common, dy_abs),
    )
    return Bounds(rows.back(d_y), rows.back(d_dx), rows.per_channel(2 * d_dgamma), rows.per_channel(2 * d_dbeta))


def _sum(constant: Array, *terms: tuple[Array, Array]) -> Array:
    """Return twice the sum of a constant and of multiples of arrays; factors are columns, one entry for each row."""
    result = 2 * constant
    for factor, rows in terms:
        result = result + (2 * factor) * rows
    return result


class StatisticsBounds(NamedTuple):
    """Largest rounding error of a batch's mean and variance, one entry per channel."""

    mean: Array
    var: Array


def statistics_bounds(x: ArrayLike, u: float, axes: Axes = (0,), *, one_pass: bool = False) -> StatisticsBounds:
    """Bound the rounding error of mean and variance, as in :func:`rounding_bounds`, twice the first-order terms."""
    rows = Rows(x, axes)
    var = rows.data.var(axis=1, keepdims=True)
    d_mu, d_var = _statistics(np.abs(rows.data), var, rows.m, u, one_pass=one_pass)
    return StatisticsBounds(rows.per_channel(2 * d_mu), rows.per_channel(2 * d_var))


def _sum_factor(m: int, u: float) -> float:
    return (m + 2) * u / (1 - (m + 2) * u) if (m + 2) * u < 0.5 else UNBOUNDED


def _statistics(x_abs: Array, var: Array, m: int, u: float, *, one_pass: bool) -> tuple[Array, Array]:
    g = _sum_factor(m, u)
    d_mu = g * x_abs.mean(axis=1, keepdims=True)
    d_var = (g + 4 * u) * var + 2 * d_mu * np.sqrt(var) + d_mu**2
    if one_pass:
        d_var = d_var + 2 * g * (x_abs**2).mean(axis=1, keepdims=True)
    return d_mu, d_var
