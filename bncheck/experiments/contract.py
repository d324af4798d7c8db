"""What else happens to a layer: a second backward, a poisoned channel, an empty batch, its results read later."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from bncheck.case import Case
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.laws import tries_more
from bncheck.experiments.training import is_tensor, setup
from bncheck.guard import class_name, faults_of
from bncheck.model import GRADIENTS, TENSORS, Evidence, Fault
from bncheck.session import Adding, Gradients, Target


@experiment("backward-twice", needs=("training",))
def backward_twice(target: Target, case: Case, seen: Seen) -> Evidence:
    """Forward, backward, and the same backward again: the second one's gradients, or the fault of it.

    A layer that can clear its gradients has done so in between; ``added_*`` are those of a third backward, without.
    """
    if not tries_more(target, case):
        return Evidence("backward-twice")
    faults: list[Fault] = []
    found: dict[str, Any] = {}
    added: Gradients | None = None
    with faults_of("backward", faults):
        session = target.open(setup(case))
        session.forward(case.x)
        session.backward(case.dy)
        found = dict(zip(GRADIENTS, session.backward(case.dy)[:3], strict=True))
        added = session.added(case.dy.copy()) if isinstance(session, Adding) else None
    facts = {"evaluations": 3 + (added is not None), "tried": True, "raised": str(faults[0]) if faults else ""}
    arrays = _tensors(found, case)
    if added is not None:
        more = _tensors(dict(zip(GRADIENTS, added[:3], strict=True)), case)
        arrays |= {f"added_{name}": value for name, value in more.items()}
    return Evidence("backward-twice", arrays, facts)


@experiment("poisoned", needs=("training",))
def poisoned(target: Target, case: Case, seen: Seen) -> Evidence:
    """Run a step with a NaN and an infinity in one channel of x. The fact "channel" says which one it is."""
    if not tries_more(target, case) or case.spec.c == 1:
        return Evidence("poisoned")
    channel = case.spec.seed % case.spec.c
    x = case.x.copy()
    x[0, channel] = np.nan
    x[-1, channel] = np.inf
    faults: list[Fault] = []
    found: dict[str, Any] = {}
    with faults_of("forward", faults):
        session = target.open(setup(case))
        found["y"] = session.forward(x)
        found |= zip(GRADIENTS, session.backward(case.dy)[:3], strict=True)
    facts = {"evaluations": 2, "channel": channel, "raised": str(faults[0]) if faults else ""}
    return Evidence("poisoned", _tensors(found, case), facts)


@experiment("empty-batch", needs=("training",))
def empty_batch(target: Target, case: Case, seen: Seen) -> Evidence:
    """Run one forward of a batch of no rows. Facts: the shape of what came, or what was raised."""
    if case.spec.recipe not in ("plain", "custom", "shrunk"):
        return Evidence("empty-batch")
    faults: list[Fault] = []
    facts: dict[str, Any] = {"evaluations": 1, "raised": ""}
    with faults_of("forward", faults):
        y = target.open(setup(case)).forward(case.x[:0])
        facts["shape"] = np.shape(y) if isinstance(y, np.ndarray) else class_name(y)
    if faults:
        facts["raised"] = str(faults[0])
    return Evidence("empty-batch", {}, facts)


@experiment("random-state", needs=("training",))
def random_state(target: Target, case: Case, seen: Seen) -> Evidence:
    """Look at the global generators of Python and NumPy before and after a step. The fact "moved" names those used.

    The layer has run a forward before: it may draw its weights when it is made, and when it meets its first batch. A
    number is drawn from either in between: a step that seeds them as the one before did would leave no trace. In the
    end both are what they were.
    """
    if not tries_more(target, case):
        return Evidence("random-state")
    faults: list[Fault] = []
    moved: list[str] = []
    states: Any = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is the global one that is looked at
    with faults_of("forward", faults):
        session = target.open(setup(case))
        session.forward(case.x)
        random.random()
        np.random.random()  # noqa: NPY002
        before = _generators()
        session.forward(case.x)
        session.backward(case.dy)
        after = _generators()
        moved = [name for name in before if before[name] != after[name]]
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    return Evidence("random-state", {}, {"evaluations": 3, "moved": moved})


def _generators() -> dict[str, Any]:
    """Return what the global generators will draw from."""
    state: Any = np.random.get_state()  # noqa: NPY002 - it is the global one that is looked at
    return {"random": hash(random.getstate()), "numpy.random": (state[1].tobytes(), state[2])}


def _tensors(found: dict[str, Any], case: Case) -> dict[str, Any]:
    shapes = dict(zip(TENSORS, (case.x.shape, case.x.shape, case.gamma.shape, case.beta.shape), strict=True))
    return {k: np.asarray(v, dtype=np.float64) for k, v in found.items() if is_tensor(v, shapes[k])}
