"""What user code and bncheck share, the process: what a call has changed of it is put back, and told."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from os import chdir, environ, getcwd
from typing import Any, NamedTuple

import numpy as np

FUNCTIONS, ENVIRONMENT, FOLDER = "NumPy's functions", "environment", "the current folder is another one"
DEPTH, FILTERS = "the recursion limit is", "the warnings filters are others"
ERRORS, PRINTING = "NumPy's error state", "NumPy's print options"

# What is left changed, by kind and name.
Left = dict[tuple[str, str], Any]

# What code keeps for its own calls: it may count on it in the next one.
_KEPT = (FUNCTIONS, ENVIRONMENT, FOLDER, DEPTH)
_theirs: Left = {}
# The call that changed it first, None for an import.
_origins: dict[tuple[str, str], str | None] = {}

# A state of its own: neither what code asks for that wants silence, nor what NumPy begins with.
NOTED = {"divide": "call", "over": "call", "under": "call", "invalid": "call"}
# Modules that change nothing of the process when they are imported.
_HARMLESS = {*sys.stdlib_module_names, "bncheck", "numpy"}
# The dict of bytes behind os.environ: that one decodes every value that is looked at.
_VARIABLES: dict[Any, Any] = vars(environ)["_data"]
_MOST, _LONGEST = 4, 40


def unheard(kind: str, flag: int) -> None:
    """Take notice of a floating-point error, and do nothing."""


def silence() -> None:
    """Let no warning through, by another filter than ``simplefilter("ignore")`` adds: code that calls that is seen."""
    warnings.filterwarnings("ignore", ".*")


_owner = ""
_of_others: dict[str, tuple[Left, dict[tuple[str, str], str | None]]] = {}


def turn_to(source: str) -> None:
    """Let what follows be about the code of a source: what another keeps for its own calls is none of its business."""
    global _owner
    if source == _owner:
        return
    _of_others[_owner] = dict(_theirs), dict(_origins)
    theirs, origins = _of_others.pop(source, ({}, {}))
    forget_replaced()
    _theirs.update(theirs)
    _origins.update(origins)
    _owner = source


def forget_replaced() -> None:
    """Forget what an earlier target has kept changed for its own calls."""
    _theirs.clear()
    _origins.clear()


def replaced_in_numpy() -> list[str]:
    """Return the names of NumPy that user code has put something else in the place of, for all that it calls."""
    return sorted(name for what, name in _theirs if what == FUNCTIONS)


class Change(NamedTuple):
    """What belongs to the whole process and was left changed: by which call, what it is, and how it was left."""

    stage: str
    what: str
    how: str


class Process:
    """The process as it is for bncheck. Most calls change nothing: to see that takes some 10 microseconds.

    Parameters
    ----------
    usual : mapping
        NumPy's error state before bncheck came: code that returns to it changes nothing.

    """

    def __init__(self, usual: Mapping[str, Any]) -> None:
        self.in_call = False
        self._pid = os.getpid()
        self._usual = usual
        self._numpy = dict(vars(np))
        self._depth = sys.getrecursionlimit()
        self._filters = list(warnings.filters)
        self._printing: Any = np.get_printoptions()
        self._look()

    def _look(self) -> None:
        self._folder = _folder()
        self._raw, self._environment = dict(_VARIABLES), dict(environ)
        self._modules = len(sys.modules)

    def accept(self) -> None:
        """Take what is changed now for the doing of an import, which is told to nobody."""
        self._look()
        self._depth = max(self._depth, sys.getrecursionlimit())
        replaced = self._functions()
        _theirs.update(replaced)
        _origins.update(dict.fromkeys(replaced))

    def begin(self) -> None:
        """Let a call find what the calls before it have left."""
        self._settle()
        self.in_call, self._modules = True, len(sys.modules)
        self._set(_theirs)

    def _settle(self) -> None:
        """Let stand what has changed between calls: bncheck imports frameworks, and may not be alone in its process.

        What a call has changed before is put back: code may have run that was not told of here.
        """
        if len(sys.modules) != self._modules and self._imported():
            self.accept()
        elif self._raw != _VARIABLES or self._folder != _folder():
            changed = self._variables() | self._elsewhere()
            self._set({key: value for key, value in changed.items() if key not in _origins})
            self._look()

    def _set(self, left: Left) -> None:
        """Change what calls may count on."""
        for (what, name), value in left.items():
            if what == FUNCTIONS:
                setattr(np, name, value)
            elif what == ENVIRONMENT:
                _set_variable(name, value)
            elif what == FOLDER:
                _go(value)
            elif value > self._depth:  # a lower one might stop bncheck on its way to the call
                sys.setrecursionlimit(value)

    def put_back(self, stage: str) -> list[Change]:
        """Put back what is changed, and return what of it is to be told of a call of that stage.

        NumPy's functions come first: the others use them. What is changed for the first time while a library or a
        module of the user's own is imported may be that one's doing, and is never told.
        """
        if os.getpid() != self._pid:
            os._exit(0)  # a copy of this process that user code has made, and let out of its call: one is enough
        if not self.in_call:
            self._settle()
        left = self._functions()
        left |= self._variables() | self._elsewhere() | self._deeper() | self._errors() | self._filtering()
        left |= self._printed()
        kept = {key: value for key, value in left.items() if key[0] in _KEPT}
        if new := kept.keys() - _origins.keys():
            _origins.update(dict.fromkeys(new, None if self._imported() else stage))
        if self.in_call:
            _theirs.clear()
        _theirs.update(kept)
        self.in_call, self._modules = False, len(sys.modules)
        return self._told(left, stage) if left else []

    def _told(self, left: Left, stage: str) -> list[Change]:
        """Return what is to be told: of what code keeps, that it is the doing of the call that changed it first."""
        told: dict[tuple[str, str], Left] = {}
        for key, value in left.items():
            origin = _origins.get(key, stage)
            if origin is not None:
                told.setdefault((origin or stage, key[0]), {})[key] = value
        return [Change(*place, self._said(place[1], of_kind)) for place, of_kind in told.items()]

    def _imported(self) -> bool:
        """Tell whether modules were imported since the last look; a dict keeps the order in which they came."""
        return any(name.partition(".")[0] not in _HARMLESS for name in [*sys.modules][self._modules :])

    def _functions(self) -> Left:
        if not _differ(vars(np), self._numpy):
            return {}
        # NumPy fills in some names when they are asked for; those are no replacements.
        now = dict(vars(np))
        left = {(FUNCTIONS, name): now.get(name) for name, value in self._numpy.items() if now.get(name) is not value}
        for _, name in left:
            setattr(np, name, self._numpy[name])
        self._numpy = dict(vars(np))
        return left

    def _variables(self) -> Left:
        if self._raw == _VARIABLES:
            return {}
        now, own = dict(environ), self._environment
        left = {name: now.get(name) for name in sorted({*now, *own}) if now.get(name) != own.get(name)}
        for name in left:
            _set_variable(name, own.get(name))
        return {(ENVIRONMENT, name): value for name, value in left.items()}

    def _elsewhere(self) -> Left:
        now = _folder()
        if now == self._folder:
            return {}
        _go(self._folder)
        return {(FOLDER, ""): now}

    def _deeper(self) -> Left:
        now = sys.getrecursionlimit()
        if now == self._depth:
            return {}
        sys.setrecursionlimit(self._depth)
        return {(DEPTH, ""): now}

    def _errors(self) -> Left:
        now, called = np.geterr(), np.geterrcall()
        if now == NOTED and called is unheard:
            return {}
        np.seterr(all="call")
        np.seterrcall(unheard)
        changed = {kind: state for kind, state in now.items() if state not in ("call", self._usual[kind])}
        if called is not unheard:
            changed["call"] = "another"
        return {(ERRORS, kind): state for kind, state in changed.items()}

    def _filtering(self) -> Left:
        if not _differ(warnings.filters, self._filters):
            return {}
        warnings.filters = list(self._filters)
        silence()  # it is there already: Python learns that the filters have changed
        return {(FILTERS, ""): None}

    def _printed(self) -> Left:
        now: Any = np.get_printoptions()
        if not _differ(now, self._printing):
            return {}
        np.set_printoptions(**self._printing)
        return {(PRINTING, name): None for name, value in self._printing.items() if _differ(now[name], value)}

    def _said(self, what: str, left: Left) -> str:
        """Return in one line how things of one kind were left."""
        of_kind = {name: value for (_, name), value in left.items()}
        if what in (FOLDER, FILTERS):
            return what
        if what == DEPTH:
            return f"{what} {of_kind['']}"
        if what == ENVIRONMENT:
            return f"{what}: {_few(f'{_short(name)} {self._verb(name, value)}' for name, value in of_kind.items())}"
        if what == ERRORS:
            return f"{what}: {_few(f'{name}={value!r}' for name, value in of_kind.items())}"
        return f"{what}: {_few(map(_short, of_kind))}{' replaced' if what == FUNCTIONS else ''}"

    def _verb(self, name: str, value: str | None) -> str:
        return "gone" if value is None else "changed" if name in self._environment else "set"


def _differ(one: Any, other: Any) -> bool:
    """Tell whether two things differ; what user code has put there need not know."""
    try:
        return bool(one != other)
    except Exception:  # arrays, say, are neither equal nor not
        return True


def _folder() -> str:
    """Return the current folder, "" if it is gone."""
    try:
        return getcwd()
    except OSError:
        return ""


def _go(folder: str) -> None:
    with contextlib.suppress(OSError):  # it may be gone
        chdir(folder)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        environ.pop(name, None)
    else:
        environ[name] = value


def _short(name: str) -> str:
    """Return a name of user code's choosing as a few plain letters."""
    plain = ascii(name)[1:-1]
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 3] + "..."


def _few(names: Iterable[str]) -> str:
    every = sorted(names)
    return ", ".join(every[:_MOST]) + (f" and {len(every) - _MOST} more" if len(every) > _MOST else "")
