"""The right answer for one case, computed once and shared by whoever asks for it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.case import Case
from bncheck.core import reference
from bncheck.core.precision import limits
from bncheck.core.rounding import UNBOUNDED, Bounds, rounding_bounds
from bncheck.core.tolerance import UNIT_ROUNDOFF

Array = NDArray[np.float64]


class Truth(NamedTuple):
    """The reference's forward and gradients for a case."""

    forward: reference.Forward
    gradients: reference.Gradients

    def tensor(self, name: str) -> Array:
        """Return y, dx, dgamma or dbeta."""
        return self.forward.y if name == "y" else getattr(self.gradients, name)


# A case is judged by several checks in a row and then forgotten: a few places hold it, and what it is compared with.
@lru_cache(maxsize=4)
def truth(case: Case) -> Truth:
    """Return the reference's answer for `case`, in float64."""
    with np.errstate(all="ignore"):  # eps = 0 on a constant channel is the target's matter, not ours
        fwd = reference.forward(case.x, case.gamma, case.beta, case.spec.eps, case.axes)
        return Truth(fwd, reference.backward(case.dy, fwd, case.gamma, case.axes))


def allowances(case: Case, *, one_pass: bool = False) -> Bounds:
    """Return how far rounding in the case's dtype may carry a right two-pass (or a one-pass) evaluation."""
    return _allowances(case, one_pass)


@lru_cache(maxsize=8)
def _allowances(case: Case, one_pass: bool) -> Bounds:
    u = UNIT_ROUNDOFF[case.spec.dtype]
    tiny = float(limits(case.spec.dtype).smallest_subnormal)
    with np.errstate(all="ignore"):
        return rounding_bounds(
            case.x, case.gamma, case.beta, case.dy, case.spec.eps, u, case.axes, tiny=tiny, one_pass=one_pass
        )


# Below so many roundings of its terms a tensor is a sum that cancels to nothing.
_NOTHING = 1e3
# An allowed error above this share of a tensor leaves room for much that is wrong.
_BLUNT = 0.01


def is_nothing(case: Case, tensor: str, allowed: float = 0.0) -> bool:
    """Tell whether all that is to be computed of a tensor cancels, so that most wrong formulas give it, too.

    So dx and dgamma where every channel has one value, dx at gamma = 0, and y but for beta in these cases; and a tensor
    that is small beside the error that was allowed.
    """
    right, dy = truth(case), np.abs(case.dy).astype(np.float64)
    gamma = np.abs(case.gamma).astype(np.float64)
    value, scale = right.tensor(tensor), float(dy.sum(axis=case.axes).max())
    if tensor == "y":
        beta = case.beta.astype(np.float64).reshape(-1, *[1] * (case.x.ndim - 2))
        value, scale = value - beta, float(gamma.max()) + float(np.abs(beta).max())
    elif tensor == "dx":
        scale = float(dy.max() * gamma.max() * right.forward.inv_std.max())
    least = max(_NOTHING * UNIT_ROUNDOFF[case.spec.dtype] * scale, allowed / _BLUNT)
    return bool(np.abs(value).max() <= least)


def lost_in_one_pass(case: Case, tensor: str) -> NDArray[np.bool_]:
    """Tell for every element of a tensor whether a variance ``mean(x**2) - mean(x)**2`` leaves no digit of it.

    There it may come out as 0 or below, and y with it as infinite or NaN.
    """
    # Bounds that hold are of the size of the tensor; the others are products with UNBOUNDED.
    allowed: Array = getattr(allowances(case, one_pass=True), tensor)
    lost: NDArray[np.bool_] = allowed > UNBOUNDED**0.5
    return lost
