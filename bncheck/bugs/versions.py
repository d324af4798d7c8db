"""What a wrong version of the formula gives on a case: its tensors, and the gradients of its own forward."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from bncheck.bugs.evidence import Observed, fits
from bncheck.bugs.forms import Replaced
from bncheck.bugs.steps import Steps
from bncheck.case import Case


def own_gradient(observed: Observed, replaced: Replaced, tensor: str) -> Any:
    """Return a gradient of sum(dy * y) for a wrong version of the forward, by complex steps; None where it has none.

    For an analytic f, Im f(x + ih) / h is its derivative without cancellation (Squire & Trapp 1998, SIAM Review 40).
    """
    steps = steps_with(observed, replaced)
    name = {"dx": "x", "dgamma": "gamma", "dbeta": "beta"}[tensor]
    start = getattr(steps, name)
    found = np.empty(start.shape)
    with np.errstate(all="ignore"):
        for at in np.ndindex(start.shape):
            moved = steps_with(observed, replaced)
            values = start.astype(complex)
            values[at] += 1e-30j
            setattr(moved, name, values)
            y = value_of(moved, "y")
            if y is None or np.shape(y) != moved.dy.shape:
                return None
            found[at] = (moved.dy * y).sum().imag / 1e-30
    return found


def steps_with(observed: Observed, replaced: Replaced) -> Steps:
    """Return the steps of a case with wrong ones among them."""
    steps = _plain(observed.case).also(replaced)
    steps.returned = dict(observed.found)
    return steps


@lru_cache(maxsize=64)  # the cases of one target
def _plain(case: Case) -> Steps:
    return Steps(case)


def value_of(steps: Steps, tensor: str) -> Any:
    """Return a tensor of a wrong version; None where it cannot be computed."""
    with np.errstate(all="ignore"):
        try:
            return getattr(steps, tensor)
        except (ValueError, TypeError, ZeroDivisionError):  # shapes that do not fit this case, a division by m - 1 = 0
            return None


def fits_all(seen: Sequence[Observed], tensor: str, replaced: Replaced) -> bool:
    """Tell whether a wrong version gives every value of a tensor on every case."""
    return all(tensor in o.found and fits(o, tensor, value_of(steps_with(o, replaced), tensor)) for o in seen)
