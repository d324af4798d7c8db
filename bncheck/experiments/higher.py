"""What a library makes of the user's code beyond its gradients: second derivatives, forward mode, single gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bncheck.case import Case
from bncheck.core.truth import truth
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.long_run import tries_long_runs
from bncheck.experiments.training import is_tensor, setup
from bncheck.guard import faults_of
from bncheck.model import GRADIENTS, Evidence, Fault
from bncheck.session import Differentiable, Target


@experiment("higher-order", needs=("training",))
def higher_order(target: Target, case: Case, seen: Seen) -> Evidence:
    """Ask the library for the gradient of ``sum(v * dx)`` ("second") and for the derivative of y along v ("tangent").

    v moves each channel of x by its own ``sqrt(var + eps)`` times numbers in ±[1/2, 1). Facts: what either raised.
    """
    if not tries_long_runs(case):  # few cases: some libraries compile every operation for every shape
        return Evidence("higher-order")
    v = _direction(case)
    arrays: dict[str, Any] = {"v": v.astype(np.float64)}
    facts: dict[str, Any] = {"evaluations": 2}
    for name in ("second", "tangent"):
        faults: list[Fault] = []
        with faults_of("backward", faults):
            session = target.open(setup(case))
            session.forward(case.x)
            if isinstance(session, Differentiable):
                found = session.second(case.dy, v) if name == "second" else session.tangent(v)
                facts[f"{name}.offered"] = found is not None
                if is_tensor(found, case.x.shape):
                    arrays[name] = np.asarray(found, dtype=np.float64)
        facts[f"{name}.raised"] = str(faults[0]) if faults else ""
    return Evidence("higher-order", arrays, facts)


@experiment("alone", needs=("training",))
def alone(target: Target, case: Case, seen: Seen) -> Evidence:
    """Ask the library for each gradient by itself, from a step of its own in which no other one is wanted.

    Arrays "dx", "dgamma", "dbeta", and y of the same steps as "y of dx" ..., in float64. Facts: whether any is offered,
    and what was raised, by gradient.
    """
    if not tries_long_runs(case):
        return Evidence("alone")
    arrays: dict[str, Any] = {}
    raised: dict[str, str] = {}
    turns, offered = 0, False
    for name, shape in zip(GRADIENTS, (case.x.shape, case.gamma.shape, case.beta.shape), strict=True):
        faults: list[Fault] = []
        found = None
        with faults_of("step", faults):
            session = target.open(setup(case))
            session.forward(case.x)
            found = session.alone(case.dy, name) if isinstance(session, Differentiable) else None
        turns += 1
        if faults:
            raised[name] = str(faults[0])
        elif found is None and name == GRADIENTS[0]:  # no library here is told what is wanted: nor of the others
            break
        elif found is not None:
            offered = True
            for key, value, wanted in ((f"y of {name}", found[0], case.x.shape), (name, found[1], shape)):
                if is_tensor(value, wanted):
                    arrays[key] = np.asarray(value, dtype=np.float64)
    return Evidence("alone", arrays, {"evaluations": turns, "offered": offered, "raised": raised})


def _direction(case: Case) -> Any:
    bits = np.random.PCG64(np.random.SeedSequence([case.spec.seed, 5]))
    raw = bits.random_raw(math.prod(case.x.shape)).reshape(case.x.shape)
    size = ((raw >> np.uint64(54)).astype(np.float64) + 1024.0) / 2048.0
    spread = 1 / truth(case).forward.inv_std
    spread = np.where(np.isfinite(spread) & (spread > 0), spread, 1.0).reshape(-1, *[1] * (case.x.ndim - 2))
    return (np.where(raw & np.uint64(1), size, -size) * spread).astype(case.x.dtype)
