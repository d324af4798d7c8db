"""The statement where a named bug is: it makes a value that only wrong code has, of values that right code has.

User code runs once more, on one case that tells bugs apart, and is watched. What the bug changes is known, as wrong
steps; so each array that a statement sets is right, wrong, or neither. Where more than one statement may be meant, or
what a statement reads is neither, nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Version
from bncheck.bugs.factors import Factor
from bncheck.bugs.steps import FORWARD, OF_GRADIENTS, PATHS, Array, Step, Steps
from bncheck.case import Case
from bncheck.core.truth import truth
from bncheck.lines.mending import Run, may_add_up, mended
from bncheck.lines.natural import Natural, is_count
from bncheck.lines.quantities import Values, backward_quantities, forward_quantities, path_quantities, values_of
from bncheck.lines.statements import Statement
from bncheck.lines.trace import Execution, made_by
from bncheck.model import TENSORS
from bncheck.report import Diagnosis

Replaced = Mapping[str, Step]


@dataclass(frozen=True)
class Seen:
    """A case, what user code returned for it, the statements that made it, and what runs the code on it again."""

    case: Case
    found: Mapping[str, Any]
    executions: Sequence[Execution]
    run: Run


def line_of(diagnosis: Diagnosis, version: Version, others: Sequence[Version], seen: Seen) -> Statement | None:
    """Return the statement where a bug is; None where it is not plain which.

    Parameters
    ----------
    diagnosis, version : Diagnosis, Version
        The bug: what it makes wrong, and how.
    others : sequence of Version
        What else is wrong with the code.
    seen : Seen
        A run of the code on a case where the bug shows.

    """
    beside: dict[str, Step] = {}
    for other in others:
        beside |= other.replaced
    sets = _Sets(seen, diagnosis, version, beside)
    if sets.partial:
        return None
    chosen = _choose(seen.executions, sets)
    if sets.forward:
        return chosen
    if version.bug.steps[0] in OF_GRADIENTS:
        # It is in many statements: which of them took it for xhat is open, unless one makes it.
        wrong = Steps(seen.case, {**beside, **version.replaced}, seen.found)
        taken = Values(step_values(wrong, version.bug.steps))
        makes = (made_by(e) for e in seen.executions if e.statement == chosen)
        return chosen if any(a in taken for values in makes for a in values) else None
    # What mends all at once is one fault, however many names what comes of it has.
    for known in ({}, beside) if beside else ({},):
        right = Steps(seen.case, known, seen.found)
        staged = mended(seen.executions, right, seen.run)
        if staged.is_open:
            return staged.statement if staged.statement == chosen else None
        if staged.statement is not None:
            return staged.statement
    return _named_last(seen.executions, sets, Natural(right), right.dx) or chosen


class _Sets:
    """Which values are right and which are wrong, in the sense of one bug."""

    def __init__(self, seen: Seen, diagnosis: Diagnosis, version: Version, beside: Replaced) -> None:
        case, found, own = seen.case, seen.found, version.replaced
        steps = version.bug.steps
        self.forward = set(steps) <= set(FORWARD)
        self.places = len(steps) if self.forward else 1
        self.fitted = isinstance(version.choice.value, Factor)
        kinds = [forward_quantities] if self.forward else [forward_quantities, backward_quantities]
        right: list[Array] = []
        wrong: list[Array] = []
        for before in [{}, beside] if beside else [{}]:
            a, b = Steps(case, before, found), Steps(case, {**before, **own}, found)
            for quantities in kinds:
                pairs = list(zip_longest(values_of(quantities, a), values_of(quantities, b)))
                right += [x for x, _ in pairs if x is not None]
                wrong += [y for x, y in pairs if y is not None and (x is None or not _equal(x, y))]
            if self.fitted:
                wrong += _scaled(a, b, steps[0])
        # A step of the forward that is wrong is wrong even where its value has a place elsewhere: mean(x**2) as var.
        self.own = Values(step_values(Steps(case, {**beside, **own}, found), set(steps) & _OWN))
        self.roles = {role: step_values(Steps(case, beside, found), [role]) for role in _ROLES}
        # Another term stands for the right one: which of its users, or its maker, took it for that is open.
        self.strict = set(steps) <= set(PATHS) and version.bug.choices is not None and not self.fitted
        # A count that was set by itself, and is not m: "m = x.shape[0] - 1" may be what is wrong.
        self.counted = {
            path
            for e in seen.executions
            for path, a in e.makes.items()
            if e.statement.sets and is_count(a) and a.flat[0] != case.spec.m
        }
        # A number that was worked out, and is no simple one: it is right if it stands in the formulas.
        self.numbers = {
            path for e in seen.executions for path, a in e.makes.items() if a.size == 1 and not _is_simple(a, case)
        }
        self.right, self.wrong = Values(right), Values(wrong)
        tensors = [t for t in diagnosis.tensor.split(", ") if t in found and t in TENSORS]
        sound = {t: np.asarray(a, dtype=np.float64) for t, a in found.items() if is_right(case, t, a)}
        self.returned = Values((wide(found[t]) for t in tensors if t not in sound), parts=False)
        self.certain = Values(map(wide, (case.x, case.dy, case.gamma, case.beta, *sound.values())))
        # Where all that is wrong is 0, the line may be one that does not run: a loop that stops too early.
        self.partial = any(_is_partial(case, t, found[t]) for t in tensors if t not in sound)
        # Only what is not right in any way tells by itself that it is wrong.
        self.surely = all(a not in self.right for a in (wide(found[t]) for t in tensors if t not in sound))

        made = [(e, made_by(e)) for e in seen.executions]
        # What leads to something right is right, whatever else it might be; but a sum may hide what is wrong.
        self.proven: set[bytes] = set()
        for e, values in made:
            sizes = [a.size for a in values if self._is_right(a)]
            if sizes and not any(self._may_be_wrong(a) for a in values):
                reads = [a for a in e.reads.values() if 1 < a.size <= max(sizes)]
                self.proven |= {key(a) for a in reads if a in self.right or a not in self.wrong}

    def _is_right(self, value: Array) -> bool:
        return value.size > 1 and not is_blank(value) and value in self.right

    def _may_be_wrong(self, value: Array) -> bool:
        return value in self.returned or value in self.wrong

    def is_wrong(self, value: Array) -> bool:
        """Tell whether only wrong code has this value."""
        if is_blank(value) or value in self.certain or key(value) in self.proven:
            return value in self.returned and not is_blank(value)
        return value in self.returned or value in self.own or (value in self.wrong and value not in self.right)

    def is_innocent(self, value: Array) -> bool:
        """Tell whether a statement that makes this is right, at least once."""
        return self._is_right(value) and not self._may_be_wrong(value)

    def is_plain(self, path: str, value: Array) -> bool:
        """Tell whether a value is right, or none of which bugs are made: a count, an eps, zeros."""
        if value.size == 1 and path in self.counted:
            return False
        if is_blank(value) or value in self.certain or key(value) in self.proven:
            return True
        if self.strict:
            return value.size == 1
        if self.is_its_name(path, value):
            return True
        if value.size == 1 and path in self.numbers:
            return value in self.right and value not in self.wrong
        # What may be right may be what is wrong of something else: a sum where a mean belongs.
        return value not in self.wrong and (value.size == 1 or value in self.right)

    def is_its_name(self, path: str, value: Array) -> bool | None:
        """Tell whether a value is the step that its name says; None where the name says none."""
        name = re.split(r"\W", path.rstrip("]'"))[-1].lower()
        role = next((role for role, pattern in _ROLES.items() if re.fullmatch(pattern, name)), None)
        if role is None:
            return None
        return any(
            np.allclose(np.sort(np.ravel(right)), np.sort(np.ravel(value)))
            for right in self.roles[role]
            if right.size == value.size
        )


# Names of the two derivatives in the middle of the staged formula.
_ROLES = {
    "dvar": r"(d|grad|g|dl|dloss)_?(var|variance|sigma2|sigma_?sq(uared)?|v|sig2)",
    "dmu": r"(d|grad|g|dl|dloss)_?(mu|mean|avg|m|average)",
}
# Steps of the forward whose wrong value is wrong even where it has a place elsewhere.
_OWN = {"mu", "var", "centred", "xhat"}


def _is_partial(case: Case, tensor: str, found: Any) -> bool:
    right = truth(case).tensor(tensor)
    if np.shape(found) != right.shape:
        return False
    off = ~np.isclose(found, right, rtol=1e-9, atol=1e-9 * np.abs(right).max())
    return bool((np.asarray(found)[off] == 0).all() and not off.all())


def step_values(s: Steps, names: Iterable[str]) -> list[Array]:
    """Return the values of some steps, as far as they can be computed."""
    found = []
    with np.errstate(all="ignore"):
        for name in names:
            try:
                found.append(np.asarray(getattr(s, name)))
            except ValueError:  # a wrong step need not fit the shapes of this case
                continue
    return [a for a in found if a.ndim == s.x.ndim and np.isfinite(a).all()]


def key(value: Array) -> bytes:
    """Return what tells an array from others, whatever its shape and order of axes."""
    return np.sort(np.ravel(value)).tobytes()


def _equal(a: Array, b: Array) -> bool:
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, rtol=1e-9, atol=0.0))


def _is_simple(value: Array, case: Case) -> bool:
    number = float(value.flat[0])
    return (2 * number).is_integer() or number in (case.spec.eps, 1 / case.spec.m, 1 / 3, 1 / 4)


def is_blank(value: Array) -> bool:
    """Tell whether an array holds one whole number throughout: a buffer, a mask of ones."""
    first = value.flat[0]
    return bool((value == first).all()) and float(first).is_integer()


def wide(array: Any) -> Array:
    """Return an array in float64, with axes of length 1 behind its own where it has fewer than two."""
    found: Array = np.asarray(array, dtype=np.float64)
    return found.reshape(*found.shape, *[1] * (2 - found.ndim)) if found.ndim < 2 else found


def is_right(case: Case, tensor: str, found: Any) -> bool:
    """Tell whether a returned tensor is that of the reference."""
    right = truth(case).tensor(tensor)
    return np.shape(found) == right.shape and np.allclose(found, right, rtol=1e-9, atol=1e-9 * np.abs(right).max())


def _scaled(right: Steps, wrong: Steps, step: str) -> list[Array]:
    """Return what a path of dx is made of, with the factor that it has once too often."""
    if step not in PATHS:
        return []
    with np.errstate(all="ignore"):
        try:
            ratio = np.asarray(getattr(wrong, step) / getattr(right, step))
        except ValueError:
            return []
        factor = np.median(ratio, axis=right.axes, keepdims=True)
    if not np.isfinite(ratio).all() or (np.abs(ratio - factor) > 1e-6 * np.abs(factor)).any() or not factor.all():
        return []
    if (np.abs(factor - 1) < 1e-9).all():
        return []
    alone = values_of(partial(path_quantities, path=step), right)
    return [value * factor for value in alone if value is not None]


def _choose(executions: Sequence[Execution], sets: _Sets) -> Statement | None:
    made = [(e, made_by(e)) for e in executions]
    innocent = {e.statement for e, values in made if any(map(sets.is_innocent, values))}
    culprits: dict[Statement, Execution] = {}
    tainted: set[bytes] = set()
    for e, values in made:
        wrong = any(map(sets.is_wrong, values))
        given = any(key(a) in tainted or sets.is_wrong(a) for a in e.reads.values())
        if given or any(key(a) in tainted for a in e.received):
            tainted |= {key(a) for a in values if wrong or a not in sets.right}  # it follows from what it is given
        elif wrong and e.statement not in innocent:
            culprits.setdefault(e.statement, e)
            tainted |= {key(a) for a in values if sets.is_wrong(a)}
    # A bug of several steps of the forward may stand in a statement for each: the first begins it.
    if not 0 < len(culprits) <= sets.places:
        return None
    statement, execution = next(iter(culprits.items()))
    unclear = {path: a for path, a in execution.reads.items() if not sets.is_plain(path, a)}
    if unclear:
        return _maker(executions, unclear, sets)
    if _is_renamed(executions, execution) or (not sets.surely and _is_handed_on(executions, sets)):
        return None
    return statement


def _named_last(executions: Sequence[Execution], sets: _Sets, natural: Natural, dx: Array) -> Statement | None:
    """Return the statement that makes what is wrong in one go, of nothing but what right code has; None of others.

    Where that is a bracket that right code has, and is given another name, the rest is missing there.
    """
    makers = [e for e in executions if any(a in sets.returned for a in made_by(e))]
    if not makers or any(e.statement != makers[0].statement for e in makers if e.call == makers[0].call):
        return None
    last = makers[0]
    given = [a for a in (*last.reads.values(), *last.received) if a.size > 1]
    if last.times > 1 or any(a not in natural for a in given):
        return None
    named = [
        e
        for e in executions
        if e.call == last.call and e.statement.hands_on and not made_by(e) and last.statement.sets in e.reads
    ]
    if not named:
        return last.statement if not last.statement.adds or may_add_up(last, executions, natural, dx) else None
    value = last.makes[last.statement.sets]
    return named[0].statement if value in natural and not natural.is_single(value) else None


def _maker(executions: Sequence[Execution], unclear: Mapping[str, Array], sets: _Sets) -> Statement | None:
    """Return the statement that makes the one thing that is not what its name says; None if there is none, or more."""
    if len(unclear) != 1 or sets.strict:
        return None
    ((path, value),) = unclear.items()
    if sets.is_its_name(path, value) is not False or value not in sets.wrong:
        return None
    makers = [e for e in executions if any(key(a) == key(value) for a in made_by(e))]
    if len(makers) != 1 or not all(sets.is_plain(p, a) for p, a in makers[0].reads.items()):
        return None
    return makers[0].statement


def _is_renamed(executions: Sequence[Execution], culprit: Execution) -> bool:
    """Tell whether something that a statement reads was only given another name: what is missing may be missing there.

    ``y = xhat``, and in the next line ``y += beta``.
    """
    for e in executions:
        if e is culprit:
            return False
        name = e.statement.sets
        if e.statement.hands_on and not made_by(e) and any(p == name or p.endswith(f".{name}") for p in culprit.reads):
            if e.call == culprit.call and (not e.makes or all(not p.endswith(name) for p in e.reads)):
                return True
    return False


def _is_handed_on(executions: Sequence[Execution], sets: _Sets) -> bool:
    """Tell whether a statement hands on a returned value as it is: what is missing may be missing there."""
    for e in executions:
        if e.statement.hands_on and any(a in sets.returned for a in e.reads.values()):
            if not made_by(e):
                return True
    return False
