"""What running statistics do over many steps: updated once per step, exact after many, and those of a batch met again.

Long scripts, for a few small cases: statistics follow their rule on any.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.case import Case
from bncheck.core.reference import forward
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.running import roundoff
from bncheck.experiments.training import is_tensor, setup
from bncheck.guard import faults_of
from bncheck.model import Conventions, Evidence, Fault, Target

_STEPS = 50
_ELEMENTS = 64


def tries_long_runs(case: Case) -> bool:
    """Tell whether many steps are run: on the small ordinary cases, with more than one value per channel."""
    spec = case.spec
    return spec.recipe in ("plain", "momentum", "custom", "shrunk") and 1 < spec.m and case.x.size <= _ELEMENTS


@experiment("long-run")
def long_run(target: Target, case: Case, seen: Seen) -> Evidence:
    """Read the statistics around one backward, and after many steps on two batches in turn.

    Arrays: ``forward_mean``, ``forward_var``, ``backward_mean``, ``backward_var`` (after one forward, after its
    backward), ``first_*`` and ``last_*`` (after the first of many forwards, after the last), and ``batch_*``, the two
    batches' own, biased, with one row each.
    """
    conventions = target.conventions
    facts: dict[str, Any] = {"conventions": conventions, "evaluations": 0}
    if not conventions.momentum_sense or not tries_long_runs(case):
        return Evidence("long-run", facts=facts)
    arrays: dict[str, Any] = {}
    batches = (case.x, -2 * case.x)
    faults: list[Fault] = []
    with faults_of("forward", faults):
        session = target.open(setup(case))
        session.forward(case.x.copy())
        arrays |= _named("forward", session.running_stats())
        session.backward(case.dy.copy())
        arrays |= _named("backward", session.running_stats())
    with faults_of("forward", faults):
        session = target.open(setup(case))
        for step in range(_STEPS):
            session.forward(batches[step % 2].copy())
            if step == 0:
                arrays |= _named("first", session.running_stats())
        arrays |= _named("last", session.running_stats())
    own = [forward(x, case.gamma, case.beta, 1.0, case.axes) for x in batches]
    arrays |= {"batch_mean": np.array([o.mu for o in own]), "batch_var": np.array([o.var for o in own])}
    facts |= {"evaluations": _STEPS + 2, "steps": _STEPS}
    shape = case.gamma.shape
    fitting = {k: v for k, v in arrays.items() if k.startswith("batch") or is_tensor(v, shape)}
    precision = max((roundoff(v) for k, v in fitting.items() if k.startswith("last")), default=0.0)
    facts["precision"] = precision
    return Evidence("long-run", {k: np.asarray(v, np.float64) for k, v in fitting.items()}, facts)


@experiment("agreement", needs=("training",))
def agreement(target: Target, case: Case, seen: Seen) -> Evidence:
    """Train on the batch with a momentum that keeps nothing of the old statistics, then run it in eval mode: ``y``.

    Where momentum cannot be set, statistics are trained on the one batch until nothing else is left in them.
    """
    conventions = target.conventions
    steps, momentum = _steps_to_forget(conventions)
    if not conventions.mode_switch or steps is None or not tries_long_runs(case):
        return Evidence("agreement")
    faults: list[Fault] = []
    arrays: dict[str, Any] = {}
    with faults_of("forward", faults):
        opened = setup(case)
        session = target.open(opened if momentum is None else replace(opened, momentum=momentum))
        for _ in range(steps):
            session.forward(case.x.copy())
        y = session.forward(case.x.copy(), "eval")
        if is_tensor(y, case.x.shape):
            arrays["y"] = np.asarray(y, dtype=np.float64)
    facts = {"evaluations": steps + 1, "fault": str(faults[0]) if faults else "", "variance": conventions.running_var}
    return Evidence("agreement", arrays, facts)


# Nothing is left of the start once ``kept**steps`` is below the unit roundoff of float64; a fraction that stays of more
# than 0.9 would take too many steps.
_FORGOTTEN = 2.0**-53
_MOST_STEPS = 400
# Keeps nothing that float64 could tell, and is not 0, which some code takes for "not given".
_NOTHING = 2.0**-60


def _steps_to_forget(conventions: Conventions) -> tuple[int | None, float | None]:
    """Return after how many steps the statistics are the batch's alone, and with which momentum, if it can be set."""
    sense, kept = conventions.momentum_sense, conventions.momentum
    if sense in ("cumulative", "finished"):
        return 1, None
    if sense in ("kept", "new") and kept is None:
        return 1, _NOTHING if sense == "kept" else 1.0
    if sense in ("kept", "new", "fixed") and kept is not None and 0 < kept < 1:
        steps = int(np.ceil(np.log(_FORGOTTEN) / np.log(kept)))
        return (steps, None) if steps <= _MOST_STEPS else (None, None)
    return None, None


def _named(prefix: str, found: tuple[Any, Any] | None) -> dict[str, Any]:
    return {} if found is None else dict(zip((f"{prefix}_mean", f"{prefix}_var"), found, strict=True))
