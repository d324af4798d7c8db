"""The statement where a bug in what a layer remembers is: in an update of its statistics, or in eval mode.

The call in which the bug shows runs once more, after those before it, and is watched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from bncheck.adapters.words import Role, argument_role
from bncheck.bugs.memory import STATISTICS, Remembering
from bncheck.bugs.steps import Array, Steps
from bncheck.experiments.memory import Moment, relived
from bncheck.lines.choice import is_blank, key, wide
from bncheck.lines.pointing import shown
from bncheck.lines.quantities import Values, backward_quantities, forward_quantities, values_of
from bncheck.lines.statements import Statement
from bncheck.lines.trace import Execution, Trace, last_of_loops, made_by
from bncheck.model import SourceLine
from bncheck.session import Target

# The names of statistics in the tables of steps: as a batch updates them, and as nothing else should.
_OF_STATISTICS = (*STATISTICS, "held_mean", "held_var")


def pointed_in_course(
    target: Target, moment: Moment, right: Remembering, wrong: Remembering, found: Mapping[str, Any], source: str
) -> SourceLine | None:
    """Return the line of a bug in what a layer remembers; None where it is not plain which.

    Parameters
    ----------
    target : Target
        The user's code. It runs again, and is watched.
    moment : Moment
        The call in which the bug shows.
    right, wrong : Remembering
        The steps of that call, as they should be and as the bug has them.
    found : mapping of str to array
        What is wrong after it, by the name of the step.
    source : str
        What the user called the target; files are named after it.

    """
    trace = Trace()
    try:
        relived(target, moment, trace.run)
        executions = [] if trace.given_up else last_of_loops(trace.executions)
        trained = Trace()
        if moment.inference:
            relived(target, Moment(moment.training, []), trained.run)
        with np.errstate(all="ignore"):
            choose = _of_update if set(found) <= set(_OF_STATISTICS) else _of_answer
            statement = choose(executions, right, wrong, found)
    except Exception:  # a hint is not worth a report: whatever user code holds, it does without
        return None
    # What training runs too is right there, if it is not what eval mode should not run at all.
    shared = not set(found) & {"held_mean", "held_var"} and statement in {e.statement for e in trained.executions}
    return None if statement is None or shared else shown(statement, source)


def _of_update(
    executions: Sequence[Execution], right: Remembering, wrong: Remembering, found: Mapping[str, Any]
) -> Statement | None:
    """Return the first statement that sets a statistic to its wrong value, if it reads nothing strange."""
    plain = Values([*_known(right), *_updates(right)])
    if any(name.startswith("held_") for name in found):
        # What should not be set at all: a statement that calls what sets it ends last.
        makers = _makers(executions, [next(iter(found.values()))])
        return makers[-1].statement if makers else None
    ends = [_setters(executions, name, value) for name, value in found.items()]
    if not all(len({e.statement for e in makers}) == 1 for makers in ends):
        return None
    first = min((makers[0] for makers in ends), key=executions.index)
    pairs = [(wide(getattr(right, name)), wide(getattr(wrong, name))) for name in ("mean_taken", "var_taken")]
    taken = Values([b for a, b in pairs if a.shape != b.shape or not np.allclose(a, b)], parts=False)
    for path, a in first.reads.items():
        source = _made_for(first, path, executions)
        if a in taken and source is not None:
            return source.statement if _reads_plainly(source, executions, plain, right) else None
    return first.statement if _reads_plainly(first, executions, plain, right) else None


def _made_for(reader: Execution, path: str, executions: Sequence[Execution]) -> Execution | None:
    """Return the one statement that sets a variable which no other than `reader` reads; None if there is none."""
    beside = [e for e in executions if e.call == reader.call and e is not reader]
    if any(path in e.reads for e in beside):
        return None
    setting = [e for e in beside if e.statement.sets and path in e.makes]
    return setting[0] if len(setting) == 1 else None


def _setters(executions: Sequence[Execution], name: str, value: Any) -> list[Execution]:
    """Return the statements that give a statistic its value: those that set what is called so, else any that make it.

    A statement that calls another function ends after what it calls: of those of several calls the first is meant.
    """
    role = Role.RUNNING_VAR if name.endswith("var") else Role.RUNNING_MEAN
    wanted = Values([wide(value)], parts=False)
    called_so = [
        e for e in executions if any(a in wanted and argument_role(_last(path)) is role for path, a in e.makes.items())
    ]
    makers = called_so or _makers(executions, [value])
    inner = [e for e in makers if e.call == makers[0].call]
    # What is set once more to what it is already says where it goes, and not where it comes from.
    return [e for e in inner if not any(a in wanted for a in e.reads.values())] or inner


def _last(path: str) -> str:
    return re.split(r"\W", path.rstrip("]'"))[-1]


def _reads_plainly(e: Execution, executions: Sequence[Execution], plain: Values, s: Remembering) -> bool:
    """Tell whether a statement reads nothing but what is right: of numbers that were worked out, what a case gives."""
    beside = [other for other in executions if other.call == e.call]
    worked_out = {path for other in beside for path, a in other.makes.items() if a.size == 1}
    given = (s.m, s.momentum, s.eps)
    return all(
        a in plain or is_blank(a) if a.size > 1 else path not in worked_out or float(a.flat[0]) in given
        for path, a in e.reads.items()
    )


def _makers(executions: Sequence[Execution], values: Iterable[Any]) -> list[Execution]:
    """Return the statements that make one of some arrays, of other ones."""
    wanted = Values([wide(value) for value in values], parts=False)
    return [e for e in executions if any(a in wanted for a in made_by(e))]


def _of_answer(
    executions: Sequence[Execution], right: Remembering, wrong: Remembering, found: Mapping[str, Any]
) -> Statement | None:
    """Return the statement that makes what only wrong code has in eval mode, of values that right code has."""
    sound, spoiled = [*_known(right)], [wide(value) for value in found.values()]
    for quantities in (forward_quantities, backward_quantities):
        for a, b in zip_longest(values_of(quantities, right), values_of(quantities, wrong)):
            if a is not None:
                sound.append(a)
            if b is not None and (a is None or not np.allclose(a, b, rtol=1e-9, atol=0.0)):
                spoiled.append(b)
    sounds, wrongs = Values(sound), Values(spoiled)
    returned = Values([wide(value) for value in found.values()], parts=False)
    follows: set[bytes] = set()
    culprits: dict[Statement, Execution] = {}
    for e in executions:
        values = [a for a in made_by(e) if not is_blank(a)]
        given = any(key(a) in follows for a in (*e.reads.values(), *e.received))
        bad = any(a in returned or (a in wrongs and a not in sounds) for a in values)
        if bad and not given:
            culprits.setdefault(e.statement, e)
        if bad or given:
            follows |= {key(a) for a in values if a not in sounds or a in returned}
    if not 0 < len(culprits) <= max(1, len(wrong.replaced)):
        return None
    statement, first = next(iter(culprits.items()))
    if any(a in returned and a in sounds for e in executions for a in e.reads.values()):
        return None  # a value that has its place elsewhere is handed on as the result: where, is open
    # What is wrong and was not made in this call is left from another; what may be right or wrong tells nothing.
    plain = Values([*_known(right), *(a for a in (*sound, *spoiled) if (a in sounds) != (a in wrongs))])
    return statement if _reads_plainly(first, executions, plain, right) else None


def _known(s: Remembering) -> Iterator[Array]:
    """Yield what a call is given, and what the layer holds."""
    yield from (s.x, s.dy, s.gamma, s.beta, s.old_mean, s.old_var)


def _updates(s: Remembering) -> Iterator[Array]:
    """Yield what a right update may compute on its way: the batch's own statistics, of both kinds."""
    own = Steps(s.case, s.replaced)
    yield from (value for value in values_of(forward_quantities, own) if value is not None)
    bessel = s.m / (s.m - 1) if s.m > 1 else 1.0
    yield from (own.var * bessel, np.sqrt(own.var * bessel), s.kept * s.old_mean, s.kept * s.old_var)
