"""The statement of a staged backward that alone mends the result where a variable gets the value of right code there.

User code runs again and again on one case, each time with one variable set anew behind one statement. What mends
dx by a value that right code has, in the place of one that it never has, is the fault; where the value that is there
has its place in right code too, what else the code has says which of two statements is meant.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import FrameType
from typing import Any

import numpy as np

from bncheck.bugs.steps import Array, Steps
from bncheck.lines.natural import Natural, is_count
from bncheck.lines.statements import Statement, statements_of
from bncheck.lines.trace import Execution, made_by

Run = Callable[[], Mapping[str, Any]]
# Code of more stages, or with more that may stand in them, is not looked at to its end.
_MOST_RUNS = 900


@dataclass(frozen=True)
class Mended:
    """The first statement that mends all; whether it is open that it is the fault, and not one that uses its value."""

    statement: Statement | None = None
    is_open: bool = False


def mended(executions: Sequence[Execution], right: Steps, run: Run) -> Mended:
    """Look for the first statement with a local variable whose value right code does not have, and which alone mends.

    Parameters
    ----------
    executions : sequence of Execution
        What ran, in its order.
    right : Steps
        The case as right code has it, or code with all other bugs.
    run : callable
        Runs the code on the case, and returns its tensors.

    """
    natural = Natural(right)
    repair = _Repair(right, run, natural)
    settled = _settled(executions, natural)
    for stage in _stages(executions):
        if (stage.execution.call, stage.name) in settled or not repair.counts(stage):
            continue
        found = repair.value_for(stage)
        if repair.runs > _MOST_RUNS:
            return Mended(is_open=True)
        fault = None if found is None else _is_fault(stage, found, executions, natural)
        if found is not None and fault is not False:
            return Mended(stage.execution.statement, is_open=fault is None)
    return Mended()


@dataclass(frozen=True)
class _Stage:
    """A local variable behind the one statement that sets it."""

    execution: Execution
    name: str
    value: Array


def _stages(executions: Sequence[Execution]) -> Iterator[_Stage]:
    """Yield what is set once, by a statement that runs once: of what is added to, no part is the whole."""
    times = Counter(e.statement for e in executions)
    setting = Counter((e.call, name) for e in executions for name in e.makes)
    for e in executions:
        name = e.statement.sets  # several that are set at once are what a function got, or the sizes of an array
        value = e.makes.get(name)
        if value is None or e.times * times[e.statement] * setting[e.call, name] > 1 or not np.isfinite(value).all():
            continue
        yield _Stage(e, name, value)


def _settled(executions: Sequence[Execution], natural: Natural) -> set[tuple[int, str]]:
    """Return the variables that are right, whatever uses them: steps of the formula, and what these alone use."""
    found: set[tuple[int, str]] = set()
    for e in reversed(executions):
        name, users = e.statement.sets, _users(e, executions)
        of_steps = bool(users) and all((e.call, u.statement.sets) in found for u in users)
        is_step = made_by(e) and name in e.makes and natural.is_step(e.makes[name])
        # What is but added to other terms may lack what they have.
        if name in e.makes and (of_steps or (is_step and not (users and _all_add(users)))):
            found.add((e.call, name))
    return found


def _users(execution: Execution, executions: Sequence[Execution]) -> list[Execution]:
    """Return what else reads the variable that a statement sets, in the same call."""
    name = execution.statement.sets
    return [u for u in executions if u.call == execution.call and u is not execution and name in u.reads]


def _all_add(users: Sequence[Execution]) -> bool:
    return all(user.statement.adds for user in users)


class _Repair:
    """Runs code with one variable set anew, and tells whether that makes all tensors right."""

    def __init__(self, right: Steps, run: Run, natural: Natural) -> None:
        self._right, self._run, self._natural = right, run, natural
        self._before = run()
        self.runs = 1

    def counts(self, stage: _Stage) -> bool:
        """Tell whether something wrong depends on a variable without being it, and nothing that is right."""
        if is_count(stage.value):
            return float(stage.value.flat[0]) != self._right.m
        if any(_equal(stage.value, np.asarray(a)) and not self._is_right(name, a) for name, a in self._before.items()):
            return False  # the result itself
        found = self._with(stage, stage.value + _moved(stage.value))
        if found.keys() != self._before.keys():
            return False
        moved = {name for name, a in found.items() if not _near(a, self._before[name])}
        return bool(moved) and all(not self._is_right(name, self._before[name]) for name in moved)

    def value_for(self, stage: _Stage) -> Array | None:
        """Return what right code may have in a variable, and what makes all right; None if there is nothing."""
        for value in self._candidates(stage):
            if value.shape == stage.value.shape and np.allclose(value, stage.value, rtol=1e-9, atol=0):
                continue
            found = self._with(stage, value)
            if self.runs > _MOST_RUNS:
                return None
            if found.keys() == self._before.keys() and all(self._is_right(name, a) for name, a in found.items()):
                return value
        return None

    def _candidates(self, stage: _Stage) -> list[Array]:
        value = stage.value
        if is_count(value):
            return [np.array(float(self._right.m))]
        if value.size == 1:
            kept = np.shape(self._right.mu)
            return [*self._natural.candidates(kept[1:2]), *self._natural.candidates(kept)]
        # A term of its own is not meant to be the whole bracket; a second name for one may be.
        single = self._natural.is_single(value) and bool(made_by(stage.execution))
        listed = self._natural.candidates(value.shape, simple=single)
        if value.size != self._right.c:
            return listed
        # dx is a line in most of what there is one of per channel: two runs tell which value it takes.
        solved = self._solved(stage)
        if solved is None:
            return listed
        return [a for a in listed if np.allclose(a.ravel(), solved, rtol=1e-6, atol=1e-9 * np.abs(solved).max())]

    def _solved(self, stage: _Stage) -> Array | None:
        """Return what a variable has to be for dx to be right, nan where nothing would do; None if dx is no line in it.

        Where other values are wrong than those of dx, it is not looked for.
        """
        step = _moved(stage.value)
        once, twice = (self._with(stage, stage.value + k * step).get("dx") for k in (1, 2))
        before, want = self._before.get("dx"), np.asarray(self._right.dx)
        if before is None or once is None or twice is None or not want.shape == np.shape(once) == np.shape(twice):
            return None
        by_step, missing = np.subtract(once, before), want - before
        if not _near(np.subtract(twice, before), 2 * by_step) or not np.abs(missing).max() > 0:
            return None
        along = self._right.sum(by_step * missing) / self._right.sum(by_step**2)
        if not _near(along * by_step, missing):
            return np.full(self._right.c, np.nan)
        found: Array = stage.value.ravel() + along.ravel() * step.ravel()
        return found

    def _is_right(self, name: str, found: Any) -> bool:
        try:
            want = np.asarray(getattr(self._right, name))
        except ValueError:
            return False
        found = np.asarray(found)
        return found.size == want.size and _near(found.ravel(), want.ravel())

    def _with(self, stage: _Stage, value: Array) -> Mapping[str, Any]:
        self.runs += 1
        with np.errstate(all="ignore"):
            return _Planting(stage.execution.statement, stage.name, value).run(self._run)


def _moved(value: Array) -> Array:
    """Return a step away from a value, another one for each channel."""
    return 0.0625 * (np.abs(value) + 1.0)


def _near(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and bool(np.abs(np.subtract(a, b)).max() <= 1e-9 * np.abs(b).max())


class _Planting:
    """Sets a local variable anew behind the statement that sets it."""

    def __init__(self, statement: Statement, name: str, value: Array) -> None:
        self._statement, self._name, self._value = statement, name, value
        self._inside: set[FrameType] = set()

    def run(self, run: Run) -> Mapping[str, Any]:
        """Return what code returns with it."""
        earlier = sys.gettrace()
        sys.settrace(self._begin)
        try:
            return run()
        finally:
            sys.settrace(earlier)
            self._inside.clear()

    def _begin(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        here = code.co_filename == self._statement.file and code.co_firstlineno <= self._statement.first
        return self._step if here and not code.co_name.startswith("<") else None

    def _step(self, frame: FrameType, event: str, _: Any) -> Any:
        if event in ("line", "return"):
            coming = statements_of(self._statement.file).get(frame.f_lineno) if event == "line" else None
            if coming == self._statement:
                self._inside.add(frame)
            elif frame in self._inside:
                self._inside.discard(frame)
                held = frame.f_locals  # asked for once: asking again would bring back what was there
                held[self._name] = _like(held[self._name], self._value)
        return self._step


def _like(held: Any, value: Array) -> Any:
    """Return a value as an array of the kind that a variable holds."""
    if hasattr(held, "new_tensor"):
        return held.new_tensor(value)
    if np.ndim(held) == 0 and np.ndim(value) == 0:
        return type(held)(float(value)) if float(value).is_integer() else float(value)
    return value.astype(getattr(held, "dtype", None) if np.ndim(held) else np.float64)


def _is_fault(stage: _Stage, mends: Array, executions: Sequence[Execution], natural: Natural) -> bool | None:
    """Tell whether a statement that mends all is the fault, and not one that uses the variable; None where it is open.

    What is no value of right code is. What is one, is if it stands beside what shows that another was meant.
    """
    value, here = stage.value, stage.execution
    if value.size == 1 or value not in natural:
        return not (value.size == 1 and mends.size > 1 and here.reads)
    users = _users(here, executions)
    if users and made_by(here) and _all_add(users) and not _near(value, -mends):
        return True  # a plain sum takes what it is given: what is wrong with a term is wrong where that is made
    beside = [e for e in executions if e.call == here.call and e is not here]
    given = [path for path, a in here.reads.items() if _equal(a, value)]
    if given and not made_by(here):
        # A second name for what keeps its first one elsewhere was to be something else.
        return True if any(path in e.reads for path in given for e in beside) else None
    if any(e.statement.sets and _equal(a, value) for e in beside for a in made_by(e)):
        return True  # made a second time
    if not natural.is_single(value) and not natural.is_single(mends):
        return True  # a bracket in which a term is missing, or too many
    used = [a for e in beside if stage.name in e.reads for path, a in e.reads.items() if path != stage.name]
    for trait in (natural.scale, natural.sign):
        there, meant = trait(value), trait(mends)
        if there and meant and there != meant:
            others = {trait(a) for a in used} - {""}
            return there not in others if len(others) == 1 else None
    return None


def may_add_up(last: Execution, executions: Sequence[Execution], natural: Natural, dx: Array) -> bool:
    """Tell whether a plain sum is dx with other signs, or with other terms: nothing else can be wrong with it."""
    value = last.makes[last.statement.sets]
    stages = [a for e in executions if e.call == last.call and e.statement.sets for a in made_by(e)]
    given = [a for a in [*last.reads.values(), *reversed(stages)] if a.size > 1 and a is not value]
    known = {(a.shape, a.tobytes()): a for a in given}
    terms = [a for a in known.values() if _broadcasts(a.shape, value.shape)]
    signs = product((0, 1, -1), repeat=min(len(terms), _MOST_TERMS))
    sums = [sum(sign * a for sign, a in zip(each, terms, strict=False)) for each in signs]
    return any(np.allclose(a, want, rtol=1e-9) for want in natural.laid(dx, value.shape) for a in sums)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))


# So many terms are tried with either sign, or none.
_MOST_TERMS = 5


def _equal(a: Array, b: Array) -> bool:
    return a.size == b.size and np.array_equal(np.ravel(a), np.ravel(b))
