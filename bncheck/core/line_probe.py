"""Derivatives along a line, each with an error bar of its own. Knows nothing of what it differentiates.

A function phi is evaluated at the Chebyshev nodes of [-T, T]. Its Chebyshev coefficients give the derivative at 0,
``sum over k of c_k k sin(k pi / 2) / T``. They also tell how far to trust it. For an analytic function they decay
geometrically; rounding and noise do not decay, so that the last coefficients lie on a plateau whose height is the
noise of one coefficient. A truncated or kinked function does not decay fast, and its last coefficients are high too.

The plateau alone can be blind: where the steps vanish below the resolution of the arithmetic, every evaluation returns
the same number and the plateau is zero. The caller therefore hands in `noise`, the rounding error of one evaluation as
far as it can be known beforehand, and the larger of the two makes the error bar.

References
----------
Trefethen 2013, Approximation Theory and Approximation Practice, chapters 3, 4, 8 (coefficients, their decay).
Mason & Handscomb 2003, Chebyshev Polynomials, section 2.4.2 (derivatives: T_k'(0) = k sin(k pi / 2)).

"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# A pole at distance 1 from the middle makes coefficients decay like rho**-k with rho = d + sqrt(d*d - 1), d = 1/T (the
# nearest a real pole can get; d + sqrt(d*d + 1) for an imaginary one). At T = 1/8 rho = 15.9: coefficients drop below
# 2**-53 after k = 13, so that 16 nodes reach the plateau of float64. At T = 1/4 rho = 7.9 and float32's 2**-24 is
# reached at k = 8; at T = 1/2 rho = 3.7 and float16's 2**-11 at k = 6; at T = 3/4 rho = 2.2 and bfloat16's 2**-8 is
# reached at k = 7.
NODES = 16
RADIUS = {"float64": 1 / 8, "float32": 1 / 4, "float16": 1 / 2, "bfloat16": 3 / 4}

# Errors that grow with the step are zero where the weights of the derivative are large, in the middle: of independent
# errors ``sigma |t| / T`` the derivative has ``sqrt(sum of (w_i t_i / T)**2)``, 0.105 of what sigma at all nodes makes.
# (Weights w_i and t_i / T do not depend on T; `test_errors_that_grow_with_the_step_count_for_a_tenth` computes it.)
GROWING = 0.1050

# The plateau is the root mean square of the last p coefficients, for the p that gives least; fewer coefficients tell a
# noise level less well, so they pay a factor: with p normal coefficients P(rms < sigma / q) is about 1e-3 for each pair
# (chi-square with p degrees of freedom at its 1e-3 quantile: 0.0908/4, 0.381/6, 0.857/8 of sigma**2, square roots
# 0.151, 0.252, 0.327), relative to the factor of p = 8, which belongs to K.
_PLATEAUS = {8: 1.0, 6: 0.327 / 0.252, 4: 0.327 / 0.151}


class Slope(NamedTuple):
    """Derivative at 0 per column, and its error bar: the larger of `plateau` (seen) and `floor` (handed in).

    `coefficients` are the Chebyshev coefficients from degree 0 on, but for a constant, and `level` is the height of
    their plateau, which `plateau` follows from.
    """

    value: Array
    plateau: Array
    floor: Array
    coefficients: Array
    level: Array

    @property
    def bar(self) -> Array:
        """The error bar, of the order of one standard deviation of the error."""
        return np.maximum(self.plateau, self.floor)


def nodes(radius: float) -> Array:
    """Return the Chebyshev nodes of [-radius, radius], shape (NODES,), in decreasing order."""
    return radius * np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)


def slope(values: Array, radius: float, noise: Array | float = 0.0) -> Slope:
    """Return the derivative at 0 of functions known at :func:`nodes`, with error bars.

    Parameters
    ----------
    values : array, shape (NODES, ...)
        Values at the nodes, a function per column. To check a claimed derivative, hand in ``phi - claim * step`` with
        the steps that were *really* taken after rounding: the derivative of the rest is the residual of the claim, and
        the rounding of the steps has dropped out to first order.
    radius : float
        The T of the nodes.
    noise : array or float, shape of one row
        Standard deviation of one value's rounding error, in units of `values`, as known beforehand.

    Notes
    -----
    Independent errors of standard deviation sigma in the values make errors of ``sqrt(2/n) sigma`` in the coefficients
    and of ``sqrt(2/n) sigma sqrt(sum of k**2 over odd k < n) / T`` in the derivative.

    """
    dct, weights, k_norm = _tables()
    flat = np.asarray(values, dtype=np.float64).reshape(NODES, -1)
    # Constants have no derivative; taking one away first keeps their rounding out of the sums.
    flat = flat - flat[NODES // 2]
    coefficients = dct @ flat
    squares = coefficients**2
    level = np.min([q * np.sqrt(squares[-p:].mean(axis=0)) for p, q in _PLATEAUS.items()], axis=0)
    shape = np.shape(values)[1:]
    return Slope(
        value=(weights @ flat / radius).reshape(shape),
        plateau=(level * k_norm / radius).reshape(shape),
        floor=np.broadcast_to(np.asarray(noise) * math.sqrt(2 / NODES) * k_norm / radius, shape),
        coefficients=coefficients.reshape(NODES, *shape),
        level=level.reshape(shape),
    )


@cache
def _tables() -> tuple[Array, Array, float]:
    """Return the matrix from values to coefficients, the weights of the derivative, and sqrt(sum of odd k**2)."""
    k = np.arange(NODES)
    angles = np.pi * (k + 0.5) / NODES
    dct = 2 / NODES * np.cos(np.outer(k, angles))
    dct[0] /= 2
    # sin(k pi / 2), exactly: 0, 1, 0, -1, ...
    derivative_at_0 = k * np.array([0.0, 1.0, 0.0, -1.0])[k % 4]
    return dct, derivative_at_0 @ dct, math.sqrt(float((k[1::2] ** 2).sum()))
