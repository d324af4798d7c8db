"""The variance of all values of several batches, as running statistics that forget nothing hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.model import Evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def pooled_variances(evidence: Evidence, weights: Array) -> tuple[Array, Array]:
    """Return the variance of all values of the first batches, over their number and over one less.

    `weights` are what each batch counts, one row each: the number of its values, where these count alike.
    """
    means, variances = (evidence.arrays[f"batch_{name}"][: len(weights)] for name in ("mean", "var"))
    total = float(weights.sum())
    mean = (weights * means).sum(axis=0) / total
    biased = (weights * (variances + (means - mean) ** 2)).sum(axis=0) / total
    return biased, biased * (total / (total - 1) if total > 1 else 1.0)


def pooled_kinds(evidence: Evidence, batches: int) -> tuple[Array, ...]:
    """Return the variances of all values of the first batches, and that where every batch counts alike."""
    sizes = np.array(evidence.facts["m"][:batches], dtype=np.float64)[:, None]
    return (*pooled_variances(evidence, sizes), pooled_variances(evidence, np.ones_like(sizes))[0])


def pooled_bound(case: Case, evidence: Evidence, u: float) -> Array:
    """Return how far rounding may carry a variance of all values: by the squares of the largest, once per value."""
    peak = np.abs(case.x).max(axis=case.axes).astype(np.float64)
    bound: Array = (sum(evidence.facts["m"]) + 8) * u * 4 * peak * peak
    return bound
