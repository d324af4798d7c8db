"""What a layer does in a course of batches: its answers, and the statistics that it holds around each call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bncheck.case import Case
from bncheck.experiments.training import is_numeric, setup
from bncheck.guard import faults_of
from bncheck.model import GRADIENTS, Fault
from bncheck.session import Session, Target

Held = tuple[Any, Any] | None


class Call(NamedTuple):
    """One batch: the statistics before it, after its forward and after its backward, and what came back.

    Statistics are running mean and variance as (C,), None where they cannot be read; `behind` is None without backward.
    """

    case: Case
    before: Held
    after: Held
    behind: Held
    found: dict[str, Any]


class Lived(NamedTuple):
    """A course as a layer went through it, as far as it came."""

    training: list[Call]
    inference: list[Call]


class Moment(NamedTuple):
    """The last call of a course: batches of training, then batches in eval mode."""

    training: Sequence[Case]
    inference: Sequence[Case]


def relived(target: Target, moment: Moment, watch: Callable[[Callable[[], Any]], Any]) -> None:
    """Go through a course once more; `watch` makes its last call, forward and backward."""
    session = target.open(setup(moment.training[0]))
    calls = [(case, "train", True) for case in moment.training]
    calls += [(case, "eval", place > 0) for place, case in enumerate(moment.inference)]
    for case, mode, backward in calls[:-1]:
        _called(session, case, mode, backward=backward)
    case, mode, backward = calls[-1]
    watch(lambda: _called(session, case, mode, backward=backward))


def lived(target: Target, training: Sequence[Case], inference: Sequence[Case] = ()) -> Lived:
    """Train one session of a target on batches, in their order, and ask it others in eval mode then."""
    found = Lived([], [])
    faults: list[Fault] = []
    with faults_of("forward", faults):
        session = target.open(setup(training[0]))
        for case in training:
            found.training.append(_called(session, case, "train", backward=True))
        if target.conventions.mode_switch:
            for place, case in enumerate(inference):
                # The first is asked forward alone: what a forward leaves behind shows in the second.
                found.inference.append(_called(session, case, "eval", backward=place > 0))
    return found


def _called(session: Session, case: Case, mode: str, *, backward: bool) -> Call:
    before = _held(session, case)
    found: dict[str, Any] = {"y": np.array(session.forward(case.x, mode))}
    after, behind = _held(session, case), None
    if backward:
        faults: list[Fault] = []
        with faults_of("backward", faults):
            found |= zip(GRADIENTS, session.backward(case.dy)[:3], strict=True)
        behind = None if faults else _held(session, case)
    numbers = {name: np.array(value, dtype=np.float64) for name, value in found.items() if is_numeric(value)}
    return Call(case, before, after, behind, numbers)


def _held(session: Session, case: Case) -> Held:
    found = session.running_stats()
    if found is None or not all(is_numeric(value) for value in found):
        return None
    mean, var = (np.array(value, dtype=np.float64) for value in found)
    return (mean, var) if mean.shape == var.shape == case.gamma.shape else None
