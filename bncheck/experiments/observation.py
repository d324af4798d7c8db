"""What one training step returns, as it came: diagnosis looks at results of any shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from bncheck.case import Case
from bncheck.experiments.training import is_numeric, setup
from bncheck.guard import faults_of
from bncheck.model import GRADIENTS, Fault
from bncheck.session import Target


def observed(target: Target, case: Case) -> dict[str, Any]:
    """Return y, dx, dgamma and dbeta of one training step in float64; what is no array, or raised, is left out."""
    faults: list[Fault] = []
    found: dict[str, Any] = {}
    with faults_of("forward", faults):
        session = target.open(setup(case))
        found["y"] = np.array(session.forward(case.x))
        found |= zip(GRADIENTS, session.backward(case.dy)[:3], strict=True)
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items() if is_numeric(value)}
