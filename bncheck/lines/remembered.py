"""The statement where a bug in what a layer remembers is: in an update of its statistics, or in eval mode.

The call in which the bug shows runs once more, after those before it, and is watched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from bncheck.bugs.memory import STATISTICS, Remembering
from bncheck.bugs.steps import Array, Steps
from bncheck.experiments.memory import Moment, relived
from bncheck.lines.choice import is_blank, key, made_by
from bncheck.lines.pointing import shown
from bncheck.lines.quantities import Values, backward_quantities, forward_quantities, values_of
from bncheck.lines.statements import Statement
from bncheck.lines.trace import Execution, Trace, last_of_loops
from bncheck.model import SourceLine, Target

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
        with np.errstate(all="ignore"):
            choose = _of_update if set(found) <= set(_OF_STATISTICS) else _of_answer
            statement = choose(executions, right, wrong, found)
    except Exception:  # a hint is not worth a report: whatever user code holds, it does without
        return None
    return None if statement is None else shown(statement, source)


def _of_update(
    executions: Sequence[Execution], right: Remembering, wrong: Remembering, found: Mapping[str, Any]
) -> Statement | None:
    """Return the first statement that sets a statistic to its wrong value, if it reads nothing strange."""
    plain = Values([*_known(right), *_updates(right)])
    ends = [_makers(executions, [value]) for value in found.values()]
    if not all(len({e.statement for e in makers}) == 1 for makers in ends):
        return None
    first = min((makers[0] for makers in ends), key=executions.index)
    strange = [a for a in first.reads.values() if a.size > 1 and not is_blank(a) and a not in plain]
    if not strange:
        return first.statement
    taken = [getattr(wrong, name) for name in ("mean_taken", "var_taken") if name in wrong.table]
    makers = {e.statement: e for e in _makers(executions, taken) if all(_is_plain(a, plain) for a in e.reads.values())}
    made = {key(a) for e in makers.values() for a in made_by(e)}
    return next(iter(makers)) if len(makers) == 1 and all(key(a) in made for a in strange) else None


def _is_plain(value: Array, plain: Values) -> bool:
    return value.size == 1 or is_blank(value) or value in plain


def _makers(executions: Sequence[Execution], values: Iterable[Any]) -> list[Execution]:
    """Return the statements that make one of some arrays, of other ones."""
    wanted = Values([_wide(value) for value in values], parts=False)
    return [e for e in executions if any(a in wanted for a in made_by(e))]


def _of_answer(
    executions: Sequence[Execution], right: Remembering, wrong: Remembering, found: Mapping[str, Any]
) -> Statement | None:
    """Return the statement that makes what only wrong code has in eval mode, of values that right code has."""
    sound, spoiled = [*_known(right)], [_wide(value) for value in found.values()]
    for quantities in (forward_quantities, backward_quantities):
        for a, b in zip_longest(values_of(quantities, right), values_of(quantities, wrong)):
            if a is not None:
                sound.append(a)
            if b is not None and (a is None or not np.allclose(a, b, rtol=1e-9, atol=0.0)):
                spoiled.append(b)
    sounds, wrongs = Values(sound), Values(spoiled)
    follows: set[bytes] = set()
    culprits: dict[Statement, Execution] = {}
    for e in executions:
        values = [a for a in made_by(e) if not is_blank(a)]
        given = any(key(a) in follows for a in (*e.reads.values(), *e.received))
        bad = any(a in wrongs and a not in sounds for a in values)
        if bad and not given:
            culprits.setdefault(e.statement, e)
        if bad or given:
            follows |= {key(a) for a in values if a not in sounds}
    if not 0 < len(culprits) <= max(1, len(wrong.replaced)):
        return None
    statement, first = next(iter(culprits.items()))
    return statement if all(_is_plain(a, sounds) or a in wrongs for a in first.reads.values()) else None


def _known(s: Remembering) -> Iterator[Array]:
    """Yield what a call is given, and what the layer holds."""
    yield from (s.x, s.dy, s.gamma, s.beta, s.old_mean, s.old_var)


def _updates(s: Remembering) -> Iterator[Array]:
    """Yield what a right update may compute on its way: the batch's own statistics, of both kinds."""
    own = Steps(s.case, s.replaced)
    yield from (value for value in values_of(forward_quantities, own) if value is not None)
    bessel = s.m / (s.m - 1) if s.m > 1 else 1.0
    yield from (own.var * bessel, np.sqrt(own.var * bessel), s.kept * s.old_mean, s.kept * s.old_var)


def _wide(array: Any) -> Array:
    found: Array = np.asarray(array, dtype=np.float64)
    return found.reshape(*found.shape, *[1] * (2 - found.ndim)) if found.ndim < 2 else found
