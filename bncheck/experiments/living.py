"""One layer from training to inference and back, as it is used: switched by its own methods, and while it learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from bncheck.case import Case
from bncheck.core.tolerance import plainly_off
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.laws import tries_more
from bncheck.experiments.training import batch_before, is_numeric, is_tensor, setup
from bncheck.guard import faults_of
from bncheck.model import GRADIENTS, Evidence, Fault
from bncheck.session import Changeable, Session, Target


@experiment("own-methods")
def own_methods(target: Target, case: Case, seen: Seen) -> Evidence:
    """Switch one layer by its own methods alone, and another one in every way that is known, through the same course.

    Two batches of training, the case's own in eval mode, and in training once more. Arrays: ``fresh``, ``eval``,
    ``train``, y after the first call of ``train()``, after ``eval()`` and after the second ``train()``; ``told_fresh``,
    ``told_eval``, ``told_train`` are those of the other layer; ``held_mean``, ``held_var`` the statistics before and
    after each call. Fact: "calls", as they are written.
    """
    facts: dict[str, Any] = {"conventions": target.conventions, "evaluations": 0, "calls": (), "tried": False}
    found = {}
    faults: list[Fault] = []
    if target.conventions.momentum_sense and target.conventions.mode_switch and tries_more(target, case):
        facts["tried"] = True
        with faults_of("forward", faults):
            session = target.open(setup(case))
            session.forward(case.x)
            held = session.running_stats()
            if isinstance(session, Changeable):
                found = _by_methods(session, case, facts)
            if found:
                other = target.open(setup(case))
                other.forward(case.x)
                if _are_others(held, other.running_stats()):
                    found = {}
            if found:
                found["told_fresh"] = other.forward(-case.x)
                found["told_eval"] = other.forward(case.x, "eval")
                found["told_train"] = other.forward(case.x)
                facts["evaluations"] += 4
    facts["raised"] = str(faults[0]) if faults else ""
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in found.items() if is_numeric(value)}
    return Evidence("own-methods", {} if faults else arrays, facts)


def _by_methods(session: Changeable, case: Case, facts: dict[str, Any]) -> dict[str, Any]:
    """Return y after each call of one of the layer's own methods, and the statistics; {} where it has none."""
    layer = cast(Session, session)
    found: dict[str, Any] = {}
    held: list[Any] = []
    for name, train, x in (("fresh", True, -case.x), ("eval", False, case.x), ("train", True, case.x)):
        held.append(layer.running_stats())
        call = session.switched(train)
        if not call:
            return {}
        facts["calls"] = (*facts["calls"], call)
        held.append(layer.running_stats())
        found[name] = layer.forward(x, "train" if train else "eval")
    facts["evaluations"] += 4
    if all(pair is not None and all(is_tensor(value, case.gamma.shape) for value in pair) for pair in held):
        found |= {f"held_{name}": np.array([pair[i] for pair in held]) for i, name in enumerate(("mean", "var"))}
    return found


@experiment("changed-parameters")
def changed_parameters(target: Target, case: Case, seen: Seen) -> Evidence:
    """Change gamma and beta of a layer that has trained and been asked, to those of the case, and go on with it.

    Arrays: y, dx, dgamma and dbeta of the step on the case's own batch after that, and ``eval``, y in eval mode after
    another step; ``want_*`` are those of a layer that had the case's gamma and beta from the beginning, and was not
    asked before. The parameters are replaced; where that makes a difference, they are written into besides: which of
    the two an optimizer does, a layer may rely on.
    """
    facts: dict[str, Any] = {"evaluations": 0, "raised": "", "changed": False, "tried": False}
    if not tries_more(target, case) or target.conventions.forward_only:
        return Evidence("changed-parameters", facts=facts)
    facts["tried"] = True
    faults: list[Fault] = []
    arrays: dict[str, Any] = {}
    with faults_of("forward", faults):
        want = None
        for in_place in (False, True):
            found = _course(target, case, in_place=in_place)
            if not found:
                continue
            want = want or _course(target, case, in_place=None)
            if _are_others(found.pop("held"), want.get("held")):  # what either has of its start says nothing of eval
                found.pop("eval", None)
            right = {name: value for name, value in want.items() if name != "held"}
            arrays = found | {f"want_{name}": value for name, value in right.items()}
            facts |= {"evaluations": facts["evaluations"] + 9, "changed": True}
            if all(plainly_off(found[name], value) is None for name, value in right.items() if name in found):
                break
    facts["raised"] = str(faults[0]) if faults else ""
    return Evidence("changed-parameters", {} if faults else arrays, facts)


def _course(target: Target, case: Case, *, in_place: bool | None) -> dict[str, Any]:
    """Return what comes of the last steps of a layer, whose parameters are changed before these unless that is None.

    {} where they cannot be changed.
    """
    opened, conventions = setup(case), target.conventions
    asked = bool(conventions.mode_switch)
    if in_place is not None:
        opened = replace(opened, gamma=2 * opened.gamma + 1, beta=opened.beta - 1)
    session = target.open(opened)
    x, dy = batch_before(case, 0)
    session.forward(x)
    session.backward(dy)
    if in_place is not None:
        if asked and conventions.momentum_sense != "finished":  # with the first question such averages are done
            session.forward(case.x, "eval")
        changeable = isinstance(session, Changeable)
        if not changeable or not cast(Changeable, session).learned(case.gamma, case.beta, in_place=in_place):
            return {}
    found = {"y": session.forward(case.x)}
    found |= zip(GRADIENTS, session.backward(case.dy)[:3], strict=True)
    session.forward(x)
    session.backward(dy)
    held = session.running_stats()
    if asked:
        found["eval"] = session.forward(case.x, "eval")
    return {"held": held} | {n: np.asarray(value, dtype=np.float64) for n, value in found.items() if is_numeric(value)}


def _are_others(one: Any, two: Any) -> bool:
    """Tell whether two layers that did the same have other statistics, as where these start from random numbers."""
    if one is None or two is None:
        return False
    pairs = [(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)) for a, b in zip(one, two, strict=True)]
    return any(plainly_off(a, b) is not None for a, b in pairs)
