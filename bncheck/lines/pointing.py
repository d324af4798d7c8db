"""The line of the user's source where each named bug probably is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Sample
from bncheck.bugs.steps import Steps
from bncheck.case import Case
from bncheck.experiments.observation import observed
from bncheck.lines.choice import Seen, is_right, line_of
from bncheck.lines.statements import Statement
from bncheck.lines.trace import Execution, Trace, last_of_loops
from bncheck.model import Target
from bncheck.report import Diagnosis, SourceLine

Answers = Sequence[tuple[Case, Mapping[str, Any]]]
# Longer lines are cut.
_WIDEST = 160


def pointed(target: Target, answers: Answers, diagnoses: Sequence[Diagnosis], source: str) -> tuple[Diagnosis, ...]:
    """Return the diagnoses with the lines where the bugs are, as far as they are plain to see.

    Parameters
    ----------
    target : Target
        The user's code. It runs again, and is watched.
    answers : sequence of pairs
        Cases that tell bugs apart, in float64, and what the code returned for them.
    diagnoses : sequence of Diagnosis
        The bugs that were named.
    source : str
        What the user called the target; files are named after it.

    """
    watched: dict[int, tuple[Mapping[str, Any], list[Execution]]] = {}
    lines: list[SourceLine | None] = []
    for diagnosis in diagnoses:
        others = [other for other in diagnoses if other is not diagnosis]
        try:
            statement = _statement(target, answers, diagnosis, others, watched)
        except Exception:  # a hint is not worth a report: whatever user code holds, it does without
            statement = None
        lines.append(None if statement is None else _shown(statement, source))
    return tuple(replace(diagnosis, line=line) for diagnosis, line in zip(diagnoses, lines, strict=True))


def _statement(
    target: Target,
    answers: Answers,
    diagnosis: Diagnosis,
    others: Sequence[Diagnosis],
    watched: dict[int, tuple[Mapping[str, Any], list[Execution]]],
) -> Statement | None:
    tensors = diagnosis.tensor.split(", ")
    wrong = [
        (case, found) for case, found in answers if any(t in found and not is_right(case, t, found[t]) for t in tensors)
    ]
    if not wrong:
        return None
    case = min((case for case, _ in wrong), key=lambda case: case.x.size)
    if id(case) not in watched:
        trace = Trace()
        found = trace.run(partial(observed, target, case))
        watched[id(case)] = found, [] if trace.too_long else last_of_loops(trace.executions)
    found, executions = watched[id(case)]
    if not executions:
        return None
    samples = [Sample(Steps(c, None, f), dict(f)) for c, f in wrong]
    with np.errstate(all="ignore"):
        return line_of(diagnosis, others, Seen(case, found, samples, executions))


def _shown(statement: Statement, source: str) -> SourceLine:
    """Return a statement as reports show it: the file as the user named it, or relative to where we are."""
    file, comma, cell = statement.file.partition(".ipynb, ")
    file += ".ipynb" if comma else ""
    named = source.partition("::")[0]
    if os.path.exists(named) and os.path.samefile(named, file):
        file = named
    elif Path(file).is_relative_to(Path.cwd()):
        file = str(Path(file).relative_to(Path.cwd()))
    text = statement.text if len(statement.text) <= _WIDEST else f"{statement.text[: _WIDEST - 3]}..."
    return SourceLine(f"{file}, {cell}" if comma else file, statement.first, text)
