"""The variance of all values of several batches, as running statistics that forget nothing hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.model import Evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def pooled_variances(evidence: Evidence, batches: int) -> tuple[Array, Array]:
    """Return the variance of all values of the first batches, over their number and over one less."""
    means, variances = (evidence.arrays[f"batch_{name}"][:batches] for name in ("mean", "var"))
    sizes = np.array(evidence.facts["m"][:batches], dtype=np.float64)[:, None]
    total = float(sizes.sum())
    mean = (sizes * means).sum(axis=0) / total
    biased = (sizes * (variances + (means - mean) ** 2)).sum(axis=0) / total
    return biased, biased * (total / max(total - 1, 1.0))


def pooled_bound(case: Case, evidence: Evidence, u: float) -> Array:
    """Return how far rounding may carry a variance of all values: by the squares of the largest, once per value."""
    peak = np.abs(case.x).max(axis=case.axes).astype(np.float64)
    bound: Array = (sum(evidence.facts["m"]) + 8) * u * 4 * peak * peak
    return bound
