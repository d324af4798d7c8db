"""Watching user code statement by statement: the arrays that each reads, and those that it makes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np

from bncheck import guard
from bncheck.bugs.steps import Array
from bncheck.lines.statements import Statement, statements_of

# Code that takes more statements than these for a small case is not watched to its end: nothing is said of it.
_MOST_STATEMENTS = 4000
_MOST_LEAVES = 300
_MOST_ELEMENTS = 4096
_DEPTH = 3


@dataclass(frozen=True)
class Execution:
    """One execution of a statement; of a loop's body, the last.

    Attributes
    ----------
    statement : Statement
        What ran.
    call : int
        Which call of a function it belongs to.
    reads, makes : dict
        The arrays that it read and those that it set, by path ("x", "self.gamma", "return[0]"), in float64.
    received : tuple
        What functions that it called returned.
    times : int
        How often it ran in that call.

    """

    statement: Statement
    call: int
    reads: dict[str, Array]
    makes: dict[str, Array]
    received: tuple[Array, ...] = ()
    times: int = 1


@dataclass
class _Frame:
    call: int
    before: dict[str, Array]
    statement: Statement | None = None
    received: list[Array] = field(default_factory=list)


@dataclass
class Trace:
    """Collects executions while it is switched on."""

    executions: list[Execution] = field(default_factory=list)
    _frames: dict[FrameType, _Frame] = field(default_factory=dict)
    _steps: int = 0
    _calls: int = 0
    given_up: bool = False

    def run(self, call: Callable[[], Any]) -> Any:
        """Return what a call returns; what watched before watches again afterwards."""
        earlier = sys.gettrace()
        sys.settrace(self._begin)
        try:
            return call()
        finally:
            sys.settrace(earlier)
            self._frames.clear()

    def _begin(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        file = code.co_filename
        if self.given_up or code.co_name.startswith("<") or not guard.is_written_file(file):
            return None
        try:
            if not statements_of(file):
                return None
            self._calls += 1
            self._frames[frame] = _Frame(self._calls, arrays_of(frame.f_locals))
        except Exception:  # what is raised here would be raised in user code
            return self._give_up()
        return self._step

    def _give_up(self) -> None:
        self.given_up = True
        sys.settrace(None)

    def _step(self, frame: FrameType, event: str, result: Any) -> Any:
        known = self._frames.get(frame)
        if known is None or event not in ("line", "return"):
            return self._step
        self._steps += 1
        if self._steps > _MOST_STATEMENTS:
            return self._give_up()
        try:
            self._seen(frame, known, event, result)
        except Exception:  # what is raised here would be raised in user code
            return self._give_up()
        return self._step

    def _seen(self, frame: FrameType, known: _Frame, event: str, result: Any) -> None:
        coming = statements_of(frame.f_code.co_filename).get(frame.f_lineno) if event == "line" else None
        if known.statement is not None and (coming is not known.statement or frame.f_lineno == coming.first):
            self._done(frame, known, result if event == "return" else None)
        known.statement = coming
        if event == "return":
            del self._frames[frame]

    def _done(self, frame: FrameType, known: _Frame, result: Any) -> None:
        now = arrays_of(frame.f_locals)
        makes = {path: a for path, a in now.items() if path not in known.before or not same(a, known.before[path])}
        assert known.statement is not None
        returned = dict(_leaves(result, "return", 0))
        caller = self._caller(frame)
        if caller is not None:
            caller.received += returned.values()
        makes |= returned
        reads = _read(known.statement.reads, known.before, frame.f_globals)
        self.executions.append(Execution(known.statement, known.call, reads, makes, tuple(known.received)))
        known.before, known.received = now, []

    def _caller(self, frame: FrameType) -> _Frame | None:
        """Return the nearest function that is watched and waits for this one."""
        above = frame.f_back
        while above is not None and above not in self._frames:
            above = above.f_back
        return None if above is None else self._frames[above]


def last_of_loops(executions: list[Execution]) -> list[Execution]:
    """Return the last execution of every statement in every call, in their order.

    What a repeated statement adds to, it does not read: a sum that is not complete means nothing.
    """
    places: dict[tuple[int, str, int], list[int]] = {}
    for i, e in enumerate(executions):
        places.setdefault((e.call, e.statement.file, e.statement.first), []).append(i)
    found = []
    for last, times in sorted((all_[-1], len(all_)) for all_ in places.values()):
        e = executions[last]
        if times > 1:
            e = replace(e, reads={path: a for path, a in e.reads.items() if path not in e.makes}, times=times)
        found.append(e)
    return found


def made_by(execution: Execution) -> list[Array]:
    """Return the arrays that a statement set, and did not read."""
    return [a for a in execution.makes.values() if not _is_read(a, execution)]


def _is_read(value: Array, execution: Execution) -> bool:
    return any(value.size == a.size and np.array_equal(np.ravel(value), np.ravel(a)) for a in execution.reads.values())


def same(a: Array, b: Array) -> bool:
    """Tell whether two arrays are the same bytes."""
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def _read(paths: tuple[str, ...], values: dict[str, Array], others: dict[str, Any]) -> dict[str, Array]:
    """Return the arrays at paths, and those below them; of ``x.mean`` the array x."""
    found: dict[str, Array] = {}
    for path in paths:
        below = {p: a for p, a in values.items() if p == path or p.startswith((f"{path}.", f"{path}["))}
        owner = path
        while not below and "." in owner:
            owner = owner.rpartition(".")[0]
            below = {owner: values[owner]} if owner in values else {}
        name = path.partition(".")[0].partition("[")[0]
        if not below and name in others:
            below = dict(_leaves(others[name], name, _DEPTH))
        found |= below
    return found


def arrays_of(values: dict[str, Any]) -> dict[str, Array]:
    """Return copies of the arrays and numbers in variables, in what they hold too, by path."""
    found: dict[str, Array] = {}
    for name, value in list(values.items()):
        for path, array in _leaves(value, name, 0):
            found[path] = array
            if len(found) >= _MOST_LEAVES:
                return found
    return found


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, Array]]:
    array = _array(value)
    if array is not None:
        yield path, array
    elif isinstance(value, dict | list | tuple):
        if depth < _DEPTH and len(value) <= _MOST_LEAVES:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in list(items):
                yield from _leaves(item, f"{path}[{key!r}]", depth + 1)
    elif depth < _DEPTH and not isinstance(value, type | ModuleType | FunctionType):
        held = _held(value)
        for key, item in list(held.items()) if isinstance(held, dict) else ():
            yield from _leaves(item, f"{path}.{key}", depth + 1)


def _held(value: Any) -> Any:
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:  # objects with slots, or of C, hold nothing that can be listed
        return None
    # What a module of PyTorch holds is read as its attributes, and is none of them.
    for name in ("_parameters", "_buffers"):
        if isinstance(held, dict) and isinstance(held.get(name), dict):
            held = {key: value for key, value in held.items() if key != name} | held[name]
    return held


def _array(value: Any) -> Array | None:
    """Return a copy of an array, a tensor or a number in float64; None of anything else."""
    if isinstance(value, bool | str | bytes | type(None) | dict | list | tuple):
        return None
    try:
        if hasattr(value, "detach") and hasattr(value, "cpu"):
            value = value.detach().cpu().numpy()
        if not isinstance(value, int | float | np.ndarray | np.number) and not hasattr(value, "__array__"):
            return None
        found = np.array(value, dtype=np.float64)
    except Exception:  # tensors that refuse, properties that raise: no array, whatever they say
        return None
    return found if 0 < found.size <= _MOST_ELEMENTS else None
