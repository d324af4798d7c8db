"""Statistics in the form in which their rule is linear: a variance of all values is so with the mean's square added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.model import Conventions, Evidence

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# The kinds of a running variance that holds how far the means of the batches lie apart.
TOTALS = ("total", "unbiased total")


def is_total(name: str, conventions: Conventions) -> bool:
    """Tell whether a statistic is the variance of averages of x and of its square."""
    return name == "var" and conventions.running_var in TOTALS


def called(name: str, conventions: Conventions) -> str:
    """Return what follows the rule: the statistic, or the second moment that it is made of."""
    return "running_var + running_mean**2" if is_total(name, conventions) else f"running_{name}"


def in_moments(name: str, case: Case, evidence: Evidence, conventions: Conventions) -> Evidence:
    """Return the evidence with what follows the rule in the place of the variances, where it is not these."""
    if not is_total(name, conventions):
        return evidence
    arrays = dict(evidence.arrays)
    if conventions.running_var == "unbiased total":
        m = np.reshape(evidence.facts.get("m", case.spec.m), (-1, 1)).astype(np.float64)
        arrays["batch_var"] = arrays["batch_var"] * m / np.maximum(m - 1, 1)
    for key in [key for key in arrays if key == "var" or key.endswith("_var")]:
        arrays[key] = arrays[key] + arrays[f"{key[:-3]}mean"] ** 2
    return replace(evidence, arrays=arrays)


def nearest(found: Array, options: Sequence[Array]) -> Array:
    """Return the option that is nearest to what was found."""
    return min(options, key=lambda option: float(np.abs(found - option).max()))


def mixed(keep: float, old: Array, taken: Array) -> Array:
    """Return an average of old statistics and those of a batch."""
    return keep * old + (1 - keep) * taken


def first(name: str, keep: float, taken: Array, new: Array) -> Array:
    """Return what statistics that start with the first batch hold after it, of the possibilities the nearest one.

    It is the batch's own; but a variance may start at a number beside a mean that does not.
    """
    numbers = (0.0, 1.0) if name == "var" else ()
    starts = [taken, *(keep * number + (1 - keep) * taken for number in numbers)]
    return nearest(new, starts)
