"""What the user's code returned for a case, and whether a value is that to within rounding."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from bncheck.case import Case
from bncheck.core.tolerance import UNIT_ROUNDOFF
from bncheck.core.truth import allowances, allowances_in, truth


class Observed(NamedTuple):
    """A case, and the tensors that the user's code returned for it, in the shape that they came in."""

    case: Case
    found: Mapping[str, Any]


def wrong_of(seen: Sequence[Observed], tensor: str) -> list[Observed]:
    """Return the cases on which a tensor is wrong."""
    return [o for o in seen if tensor in o.found and not fits(o, tensor, truth(o.case).tensor(tensor))]


def hidden(seen: Sequence[Observed], tensors: Iterable[str]) -> set[str]:
    """Return the tensors that are right on every case."""
    return {tensor for tensor in tensors if not wrong_of(seen, tensor)}


def is_rounded(observed: Observed, tensor: str, dtype: str) -> bool:
    """Tell whether a tensor of a float64 case errs by no more than a right evaluation in a smaller dtype may.

    In half precision that is so much that the values have to be of that dtype, too.
    """
    case, found = observed.case, np.asarray(observed.found[tensor], dtype=np.float64)
    right, allowed = truth(case).tensor(tensor), getattr(allowances_in(case, dtype), tensor)
    if case.spec.dtype != "float64" or found.shape != right.shape:
        return False
    with np.errstate(over="ignore"):
        if dtype == "float16" and not np.array_equal(found, found.astype(np.float16)):
            return False
    return bool((np.abs(found - right) <= allowed).all())  # what is not finite in found is within no bound


# A wrong version may err some times as much as the right one, in the bound's units: it adds what the right one lacks.
_ROUNDING = 64.0


def fits(observed: Observed, tensor: str, value: Any) -> bool:
    """Tell whether a tensor of the user's is this value to within rounding, whatever axes of length 1 it has."""
    if value is None or np.iscomplexobj(value):
        return False
    found, value = (np.squeeze(np.asarray(a, dtype=np.float64)) for a in (observed.found[tensor], value))
    if found.shape != value.shape and found.size == value.size and found.ndim == 2:
        # Not summed, in the shape that the sum would have been taken of: a row for each value, or for each channel.
        last = found.shape[1] == value.shape[1]
        value = np.moveaxis(value, 1, -1 if last else 0).reshape(found.shape)
    elif found.shape != value.shape and found.ndim == value.ndim > 2:
        value = np.moveaxis(value, 1, -1)  # not summed, by code that has its channels last
    if found.shape != value.shape:
        return False
    size = float(np.abs(value).max())
    if not math.isfinite(size):
        return False
    right, bound = _right_size(observed.case, tensor)
    # The bound is that of the right tensor; what is larger errs by more.
    grown = max(1.0, size / max(right, np.finfo(float).tiny))
    allowed = bound * grown + UNIT_ROUNDOFF[observed.case.spec.dtype] * size
    return bool(np.abs(found - value).max() <= _ROUNDING * allowed)  # what is not finite in found is not


# The values of all cases of one target, whichever version they are compared with.
@lru_cache(maxsize=256)
def _right_size(case: Case, tensor: str) -> tuple[float, float]:
    """Return how large the right tensor is, and how far rounding may carry it."""
    right, bound = truth(case).tensor(tensor), getattr(allowances(case), tensor)
    return float(np.abs(right).max()), float(np.max(bound))
