"""What an error looks like: rounding, which no formula gives, or a formula that is slightly another."""

from __future__ import annotations

import numpy as np

from bncheck.case import Case
from bncheck.core.reference import Array
from bncheck.core.truth import truth

# Of the squares of 8 values that are rounding, a fit of three numbers leaves 5 eighths, on average; of a formula that
# is slightly off it leaves nothing but the rounding of float64.
_OF_NOISE, _ENOUGH = 0.05, 8


def is_noise(case: Case, tensor: str, found: Array) -> bool:
    """Tell whether what y or dx errs by is no sum of dy, 1 and xhat in some channel, of as many values as tell that."""
    found = np.asarray(found, dtype=np.float64)
    right = truth(case)
    if found.shape != case.x.shape or case.spec.m < _ENOUGH:
        return False
    error = found - right.tensor(tensor)
    for channel in range(case.spec.c):
        e, dy, xhat = (np.ravel(a[:, channel]) for a in (error, case.dy.astype(np.float64), right.forward.xhat))
        arrays = np.stack([dy, np.ones_like(dy), xhat], axis=1)
        left = e - arrays @ np.linalg.lstsq(arrays, e, rcond=None)[0]
        if np.linalg.norm(left) > _OF_NOISE * np.linalg.norm(e):
            return True
    return False
