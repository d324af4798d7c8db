"""What many steps show: whether a step stays what it was, and running statistics exact and updated once per step.

Long scripts, for a few small cases: what counts steps does so on any.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bncheck.case import Case
from bncheck.core.reference import forward
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.running import roundoff, take_in
from bncheck.experiments.training import is_tensor, setup
from bncheck.guard import faults_of
from bncheck.model import TENSORS, Evidence, Fault
from bncheck.session import Target

_STEPS = 50
_ELEMENTS = 64
# The golden ratio's multiples, modulo 1, are spread evenly, and no two of them are equal.
_GOLDEN = 0.6180339887498949
# Seconds after which slow code has run enough of them: a case that is silent for longer looks like one that hangs.
_ENOUGH = 2.0
# Where many steps are run on one batch, those on another: about half, in no rhythm that a wrong step could hide in.
_ELSEWHERE = frozenset(step for step in range(1, _STEPS - 1) if step * _GOLDEN % 1.0 > 0.5)


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
    if conventions.updated_by == "forward":
        with faults_of("forward", faults):
            session = target.open(setup(case))
            session.forward(case.x)
            arrays |= _named("forward", session.running_stats())
            session.backward(case.dy)
            arrays |= _named("backward", session.running_stats())
    with faults_of("forward", faults):
        session = target.open(setup(case))
        for step in range(_STEPS):
            take_in(session, batches[step % 2], conventions)
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


@experiment("many-steps", needs=("training",))
def many_steps(target: Target, case: Case, seen: Seen) -> Evidence:
    """Run the case's own step fifty times in one layer, or until it is not what it was in a fresh one.

    Half of the steps are on another batch. The results are those of the first step that differs, or of the last;
    the fact "before" counts the steps before it. Slow code has fewer. Where a fresh layer raises, nothing is run.
    """
    fresh = seen["training"]
    if not tries_long_runs(case) or fresh.fault is not None:
        return Evidence("many-steps")
    forward_only = target.conventions.forward_only
    faults: list[Fault] = []
    found: dict[str, Any] = {}
    before, begun = 0, time.monotonic()
    with faults_of("forward", faults):
        session = target.open(setup(case))
        for before in range(_STEPS):
            x, dy = (-2 * case.x, -case.dy) if before in _ELSEWHERE else (case.x, case.dy)
            returned = [session.forward(x)]
            with faults_of("backward", faults):
                returned += [] if forward_only else session.backward(dy)[:-1]
            named = zip(TENSORS, returned, strict=False)
            found = {name: value for name, value in named if name in fresh.arrays}
            same = (np.array_equal(value, fresh.arrays[name], equal_nan=True) for name, value in found.items())
            if faults or (before not in _ELSEWHERE and not (all(same) and time.monotonic() - begun < _ENOUGH)):
                break
    shapes = {name: array.shape for name, array in fresh.arrays.items()}
    arrays = {k: np.asarray(v, np.float64) for k, v in found.items() if is_tensor(v, shapes[k]) and not faults}
    facts = {"before": before, "evaluations": (2 - forward_only) * (before + 1)}
    return Evidence("many-steps", arrays, facts, faults[0] if faults else None)


@experiment("agreement", needs=("training",))
def agreement(target: Target, case: Case, seen: Seen) -> Evidence:
    """Train on the batch, make another one whose own statistics are those then held, and run it in either mode.

    So it needs neither a momentum nor a rule: whatever training has left behind is what eval mode is to use. Arrays:
    that batch ``x``, its ``trained`` in a fresh layer and its ``y`` in eval mode, and as in "running" what was held
    (``mean``, ``var``, a row each) and what is held after inference (``eval_mean``, ``eval_var``). Statistics that are
    worked out when inference begins are those of the one batch trained on, which then is x.
    """
    conventions = target.conventions
    facts: dict[str, Any] = {"conventions": conventions, "m": [case.spec.m], "evaluations": 0}
    if not conventions.momentum_sense or not conventions.mode_switch or not tries_long_runs(case):
        return Evidence("agreement", facts=facts)
    arrays: dict[str, Any] = {}
    faults: list[Fault] = []
    with faults_of("forward", faults):
        session = target.open(setup(case))
        take_in(session, case.x, conventions)
        if conventions.momentum_sense == "finished":
            own = forward(case.x, case.gamma, case.beta, 1.0, case.axes)
            x: Any = case.x
            held: tuple[Any, Any] | None = (own.mu, own.var)
            finished = own.mu, own.var * case.spec.m / (case.spec.m - 1)
        else:
            held, finished = session.running_stats(), None
            x = None if held is None else batch_with(case, *held)
        if held is None or x is None:
            facts["fault"] = "the statistics held are those of no batch"
            return Evidence("agreement", facts=facts | {"evaluations": 1})
        trained = target.open(setup(case)).forward(x)
        y = session.forward(x, "eval")
        if is_tensor(y, x.shape) and is_tensor(trained, x.shape):
            arrays = {"x": x, "y": y, "trained": trained, "mean": np.array([held[0]]), "var": np.array([held[1]])}
            arrays |= _named("eval", session.running_stats() if finished is None else finished)
            arrays["precision"] = np.array([max(roundoff(np.asarray(value)) for value in held)])
    facts |= {"evaluations": 3, "fault": str(faults[0]) if faults else ""}
    return Evidence("agreement", {name: np.asarray(value, np.float64) for name, value in arrays.items()}, facts)


def batch_with(case: Case, mean: Any, var: Any) -> Any:
    """Return a batch of the case's shape and dtype with that mean and variance, but for rounding; None if none has."""
    mean, var = (np.asarray(value, np.float64) for value in (mean, var))
    wide = (-1, *[1] * (case.x.ndim - 2))
    if mean.shape != case.gamma.shape or var.shape != case.gamma.shape or not np.isfinite(mean).all():
        return None
    if not (var > 0).all() or not np.isfinite(var).all():
        return None
    spread = (_GOLDEN * np.arange(case.x.size).reshape(case.x.shape)) % 1.0
    spread = spread - spread.mean(axis=case.axes, keepdims=True)
    spread = spread / np.sqrt((spread * spread).mean(axis=case.axes, keepdims=True))
    return (mean.reshape(wide) + np.sqrt(var).reshape(wide) * spread).astype(case.x.dtype)


def _named(prefix: str, found: tuple[Any, Any] | None) -> dict[str, Any]:
    return {} if found is None else dict(zip((f"{prefix}_mean", f"{prefix}_var"), found, strict=True))
