"""The line of the user's source where each named bug probably is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from bncheck.adapters.defined import as_named, shortened
from bncheck.bugs.catalogue import Version
from bncheck.bugs.steps import Array
from bncheck.case import Case
from bncheck.cases.arrays import build
from bncheck.experiments.observation import observed
from bncheck.lines import detached
from bncheck.lines.choice import Seen, is_right, line_of
from bncheck.lines.statements import Statement
from bncheck.lines.trace import Execution, Trace, last_of_loops, made_by, same
from bncheck.model import SourceLine
from bncheck.report import Diagnosis
from bncheck.session import Target

Answers = Sequence[tuple[Case, Mapping[str, Any]]]
Named = Sequence[tuple[Diagnosis, Version]]


def pointed(target: Target, answers: Answers, named: Named, source: str) -> tuple[Diagnosis, ...]:
    """Return the diagnoses with the lines where the bugs are, as far as they are plain to see.

    Parameters
    ----------
    target : Target
        The user's code. It runs again, and is watched.
    answers : sequence of pairs
        Cases that tell bugs apart, and what the code returned for them.
    named : sequence of pairs
        The bugs that were named, and the wrong versions that they are.
    source : str
        What the user called the target; files are named after it.

    """
    watched: dict[int, Seen] = {}
    found = []
    for diagnosis, version in named:
        others = [other for _, other in named if other is not version]
        try:
            seen = _watched(target, answers, diagnosis, watched)
            line, mending = (None, "") if seen is None else _pointed(target, (diagnosis, version), others, seen)
        except Exception:  # a hint is not worth a report: whatever user code holds, it does without
            line, mending = None, ""
        place = None if line is None else shown(line, source)
        found.append(dataclasses.replace(diagnosis, line=place, explanation=mending or diagnosis.explanation))
    return tuple(found)


def _watched(target: Target, answers: Answers, diagnosis: Diagnosis, watched: dict[int, Seen]) -> Seen | None:
    """Run the code under a trace, on the smallest case on which what the bug makes wrong is wrong."""
    tensors = diagnosis.tensor.split(", ")
    wrong = [
        (case, found) for case, found in answers if any(t in found and not is_right(case, t, found[t]) for t in tensors)
    ]
    if not wrong:
        return None
    case = min((case for case, _ in wrong), key=lambda case: case.x.size)
    if id(case) not in watched:
        exact = build(dataclasses.replace(case.spec, dtype=target.conventions.dtype or "float64"))
        seen = _run(target, exact)
        if not seen.executions and target.conventions.framework == "jax":
            # Compiled for this shape, it is not run again; for another one it is.
            seen = _run(target, build(dataclasses.replace(exact.spec, n=exact.spec.n + _MORE_ROWS)))
        watched[id(case)] = seen
    return watched[id(case)] if watched[id(case)].executions else None


# No case that tells bugs apart has as many more rows than another one.
_MORE_ROWS = 1000


def _run(target: Target, case: Case) -> Seen:
    trace, run = Trace(), partial(observed, target, case)
    found = trace.run(run)
    return Seen(case, found, [] if trace.given_up else last_of_loops(trace.executions), run)


def _pointed(
    target: Target, bug: tuple[Diagnosis, Version], others: Sequence[Version], seen: Seen
) -> tuple[Statement | None, str]:
    """Return the statement where a bug is, and what to do about it where that is not what its page says."""
    with np.errstate(all="ignore"):
        if mending := detached.mending(bug[1], target.conventions.returns, seen.executions):
            return detached.hiding(seen.case, bug[1], seen.executions), mending
        if seen.case.spec.dtype != "float64":  # values are told apart by their digits
            return None, ""
        if statement := exchanged(seen.executions):
            return statement, ""
        # Two right sums, each in the other's place: whether they were made or handed on so is open.
        return (None if bug[1].bug.code == _SWAPPED else line_of(*bug, others, seen)), ""


_SWAPPED = "BUG304"


def exchanged(executions: Sequence[Execution]) -> Statement | None:
    """Return the statement that unpacks what was packed in another order: each name holds what another one held.

    ``xhat, std, inv_std = cache`` where the forward returned ``(xhat, inv_std, std)``. None of none, or of several.
    """
    held: dict[str, list[tuple[int, Array]]] = {}
    for e in executions:
        for path, value in (*e.reads.items(), *e.makes.items()):
            held.setdefault(path.removeprefix("self."), []).append((e.call, value))
    found = set()
    for e in executions:
        elsewhere = {
            path: [value for call, value in held[path.removeprefix("self.")] if call != e.call] for path in e.makes
        }
        moved = {path for path, values in elsewhere.items() if values and not _is_among(e.makes[path], values)}
        if len(moved) > 1 and not made_by(e):
            if all(any(_is_among(e.makes[one], elsewhere[other]) for other in moved - {one}) for one in moved):
                found.add(e.statement)
    return found.pop() if len(found) == 1 else None


def _is_among(value: Array, values: Sequence[Array]) -> bool:
    return any(same(value, other) for other in values)


def shown(statement: Statement, source: str) -> SourceLine:
    """Return a statement as reports show it."""
    return SourceLine(as_named(statement.file, source), statement.first, shortened(statement.text))
