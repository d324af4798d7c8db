"""Running statistics: three training batches of different sizes, then one batch in eval mode, in one session."""

from __future__ import annotations

from typing import Any

import numpy as np

from bncheck.case import Case
from bncheck.core.reference import forward
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.laws import interpreted
from bncheck.experiments.training import has_its_turn, is_numeric, is_tensor, setup
from bncheck.guard import class_name, faults_of
from bncheck.model import GRADIENTS, Conventions, Evidence, Fault
from bncheck.session import Recording, Session, Target


@experiment("running")
def running_statistics(target: Target, case: Case, seen: Seen) -> Evidence:
    """Train on three batches, reading the statistics after each, then run batches in eval mode, forward and backward.

    Arrays: ``mean``, ``var`` and ``batch_mean``, ``batch_var`` with one row per reading (the first reading is before
    any forward, NaN where there are no statistics yet); ``x``, ``y`` of the eval forward; ``part``, y of some rows of
    that x alone; the statistics behind either (``eval_mean``, ``eval_var``, ``after_mean``, ``after_var``); dy and the
    gradients of the second one's backward, and the statistics after that (``backward_mean``, ``backward_var``). Facts:
    ``hanging``: what a library records for the statistics after training; ``eval_changed``: whether the eval forward
    wrote into its x.
    """
    conventions = target.conventions
    facts: dict[str, Any] = {"conventions": conventions, "evaluations": 0}
    if not conventions.momentum_sense or not has_its_turn(case, 0):
        return Evidence("running", facts=facts)
    faults: list[Fault] = []
    batches = batches_of(case)
    with faults_of("forward", faults):
        session = target.open(setup(case))
        readings = [session.running_stats()]
        for x in batches:
            take_in(session, x, conventions)
            readings.append(session.running_stats())
        facts["hanging"] = session.hanging() if isinstance(session, Recording) else {}
    if faults:
        return Evidence("running", facts=facts, fault=faults[0])
    facts |= {"evaluations": 3, "m": [x.size // case.gamma.size for x in batches]}
    arrays = _table(case, batches, readings)
    if conventions.mode_switch:
        arrays |= _eval(session, case, faults, facts, more=interpreted(target, case))
    facts |= {"eval_fault": str(faults[0]) if faults else "", "eval_fault_kind": faults[0].kind if faults else ""}
    facts["eval_fault_in_adapter"] = any(fault.in_adapter for fault in faults)
    return Evidence("running", arrays, facts)


def take_in(session: Session, x: Any, conventions: Conventions) -> None:
    """Train on a batch as far as it takes to update the running statistics."""
    session.forward(x)
    if conventions.updated_by == "backward":
        session.backward(x)


def batches_of(case: Case) -> list[Any]:
    """Return the case's batch and two others that are made of it, of another size, mean and spread.

    Multiplying by 2 and adding what the batch itself holds keeps every value exact in the case's dtype.
    """
    larger = np.concatenate([case.x[::-1], case.x[:1]])
    return [case.x, larger, -case.x]


def _table(case: Case, batches: list[Any], readings: list[Any]) -> dict[str, Any]:
    """Return the readings as arrays, and the batches' own statistics."""
    channels = case.gamma.size
    missing = np.full(channels, np.nan)
    pairs = [(missing, missing) if found is None else found for found in readings]
    if any(np.shape(value) != (channels,) for pair in pairs for value in pair):
        return {}
    own = [forward(x, case.gamma, case.beta, 1.0, case.axes) for x in batches]
    return {
        "mean": np.array([np.asarray(mean, dtype=np.float64) for mean, _ in pairs]),
        "var": np.array([np.asarray(var, dtype=np.float64) for _, var in pairs]),
        "batch_mean": np.array([batch.mu for batch in own]),
        "batch_var": np.array([batch.var for batch in own]),
        "precision": np.array([max(roundoff(value) for value in pairs[-1])]),
    }


def roundoff(value: Any) -> float:
    """Return the unit roundoff of an array's dtype: statistics may be kept in float32 beside float64 data."""
    dtype = np.asarray(value).dtype
    return float(np.finfo(dtype).eps) / 2 if dtype.kind == "f" else 2.0**-53


def _eval(session: Session, case: Case, faults: list[Fault], facts: dict[str, Any], *, more: bool) -> dict[str, Any]:
    """Return what happens in eval mode; a fault of the forward counts, one of the backward is a fact of its own.

    With `more` a second batch is run there, and a backward.
    """
    x = np.concatenate([case.x, case.x[:1]])[::-1]
    arrays: dict[str, Any] = {}
    with faults_of("forward", faults):
        y = session.forward(x, "eval")
        facts["eval_changed"] = _changed(session, "x")
        if not is_tensor(y, x.shape):
            facts["eval_shape"] = _instead(y, x.shape)
            return {}
        if session.running_stats() is None and facts["conventions"].momentum_sense != "finished":
            return {}
        arrays = {"x": x, "y": y} | dict(zip(("eval_mean", "eval_var"), session.running_stats() or (), strict=False))
        facts["evaluations"] += 1
        if not more:
            return {name: np.asarray(value, dtype=np.float64) for name, value in arrays.items() if is_numeric(value)}
        arrays["part"] = session.forward(x[ROWS_ALONE], "eval")
        arrays |= zip(("after_mean", "after_var"), session.running_stats() or (), strict=False)
    facts["evaluations"] += 1
    if not faults:
        arrays |= _eval_gradients(session, case.dy, facts)
        # What updates them in training is no backward of eval mode.
        if not facts["eval_backward_fault"] and facts["conventions"].updated_by == "forward":
            arrays |= zip(("backward_mean", "backward_var"), session.running_stats() or (), strict=False)
    return {name: np.asarray(value, dtype=np.float64) for name, value in arrays.items() if is_numeric(value)}


def _changed(session: Session, name: str) -> bool:
    """Tell whether user code has written into an array that it was given last."""
    before, now = session.handed_over().get(name, (0, 0))
    return not np.array_equal(before, now, equal_nan=True)


def _instead(y: Any, shape: tuple[int, ...]) -> str:
    """Return in words what came in the place of an array of that shape."""
    if y is None or isinstance(y, str | dict | set):
        return f"{'None' if y is None else f'a {class_name(y)}'}, and no array"
    return f"of shape {np.shape(y)}, and not {shape}"


# Which rows of the eval batch are run once more by themselves: all but the first, the last one first. It is the case's
# own batch, as big as a batch that the layer was trained on, for layers that take one batch size only.
ROWS_ALONE = slice(None, 0, -1)


def _eval_gradients(session: Session, dy: Any, facts: dict[str, Any]) -> dict[str, Any]:
    """Return dy and the gradients of the eval forward that came last."""
    faults: list[Fault] = []
    found: dict[str, Any] = {}
    with faults_of("backward", faults):
        found = {"dy": dy, **dict(zip(GRADIENTS, session.backward(dy)[:3], strict=True))}
    facts["evaluations"] += 1
    facts["eval_backward_fault"] = str(faults[0]) if faults else ""
    return found
