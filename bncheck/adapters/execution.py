"""Running a module's statements one by one: the definitions always, the rest where it is needed and while time is left.

A statement that fails does not take the module down. What it would have set is left out with a story, which is told if
code ever asks for it (:class:`bncheck.adapters.standins.LeftOut`).
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from bncheck import guard
from bncheck.adapters import gone
from bncheck.adapters.clock import SECONDS, Clock, TooSlowError
from bncheck.adapters.definitions import Statement, mentioned, needed, sort_out
from bncheck.adapters.standins import Book, LeftOut, NotInstalledError, NotLoadedError, StandIn, applied

# What a plain constant may take after that: one slow statement is not to take the others with it.
_AT_LEAST = 0.5
# More missing modules than any file has: a module that stays missing though it stands in must not hang the loading.
_MAX_REPAIRS = 100
_APPLIED = "__bncheck_applied__"


@dataclass
class Loading:
    """One load: the file asked for, and everything of the user's that it imports.

    Attributes
    ----------
    label : str
        What messages call the target ("my_bn.py").
    target : str
        The path of its file, or the name of its module.
    asked : str
        The name in it that was asked for, "" if none.
    forgiving : bool
        Whether missing modules are replaced, names that are gone put back, and failing imports left out.
    book : Book
        The stand-ins.
    missing : list of BaseException
        What told that they are needed.
    clock : Clock
        The time that is left.
    runners : list of Runner
        Of every module of the user's, in the order in which they were begun.
    stack : list of Runner
        Of those being run now, each imported by the one before it.

    """

    label: str
    target: str
    asked: str = ""
    forgiving: bool = True
    book: Book = field(init=False)
    missing: list[BaseException] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    runners: list[Runner] = field(default_factory=list)
    stack: list[Runner] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book = Book(self.label)

    def repairs(self, error: BaseException) -> bool:
        """Do something about a missing module or a name that is gone; tell whether it is worth another try."""
        if not self.forgiving or len(self.book.reasons) > _MAX_REPAIRS:
            return False
        if isinstance(error, ModuleNotFoundError) and error.name:
            return self._replace_module(error.name, error)
        missed = gone.missed_by(error)
        return missed is not None and self.note(gone.put_back(*missed))

    def _replace_module(self, name: str, error: BaseException) -> bool:
        if name in self.book.reasons or f"{self.target}.".startswith(f"{name}."):
            return False
        if self.note(gone.put_back_module(name)):
            return True
        parent = name.rpartition(".")[0]
        there = isinstance(sys.modules.get(parent), ModuleType)
        self.book.reasons[name] = f"no such module in {parent}" if there else "not installed"
        self.missing.append(error)
        return True

    def note(self, text: str | None) -> bool:
        """Keep a note about what was put back; tell whether there is anything to keep."""
        if text is not None:
            self.book.note(text)
        return text is not None

    def notes(self) -> tuple[str, ...]:
        """Return what is to be said about how the target was loaded."""
        told = [note for runner in self.runners for note in runner.notes()]
        return tuple(dict.fromkeys(told + self.book.notes()))


class Runner:
    """Runs the statements of one module.

    Parameters
    ----------
    module : ModuleType
        The module to fill.
    statements : sequence of Statement
        What is in it.
    label : str
        What messages call it ("my_bn.py").
    loading : Loading
        The load that it is part of.

    """

    def __init__(self, module: ModuleType, statements: Sequence[Statement], label: str, loading: Loading) -> None:
        self.module, self.statements, self.label, self.loading = module, statements, label, loading
        self.failures: list[tuple[Statement, BaseException]] = []
        self.left: dict[int, Statement] = {}
        self._mentioned = mentioned(statements)
        sort_out(statements)
        loading.runners.append(self)

    def run(self, wanted: Iterable[str] | None = None) -> None:
        """Run what is always run, and what is needed for the names in `wanted`, or for what the importers mention."""
        with self._running():
            self._put_names_back()
            chosen = needed(self.statements, self._asked_by_others() if wanted is None else wanted)
            for place, statement in enumerate(self.statements):
                if statement.always or place in chosen or self._is_package:
                    self._do(place, statement)
                else:
                    self._leave(place, statement, "")

    def need(self, names: Iterable[str]) -> bool:
        """Run what was left out and sets or changes what `names` stand for; tell whether anything was run."""
        if not self.left or self in self.loading.stack:
            return False
        chosen = sorted(needed(self.statements, names) & self.left.keys())
        failed = [s for s, _ in self.failures]
        chosen = [place for place in chosen if self.statements[place] not in failed]
        with self._running():
            for place in chosen:
                self._do(place, self.statements[place])
        return bool(chosen)

    def run_the_rest(self) -> None:
        """Run everything that was left out: where the definitions alone are nothing, they may be made by it."""
        with self._running():
            for place, statement in list(self.left.items()):
                self._do(place, statement)

    def notes(self) -> list[str]:
        """Return what was left out, in words."""
        failed = [(s, e) for s, e in self.failures if not isinstance(e, NotLoadedError)]
        left = [s for s in self.left.values() if not s.idle and s not in [f for f, _ in self.failures]]
        told = []
        if left:
            told.append(f"{self._only()}: its top level trains, plots or reads data ({left[0].place})")
        for statement, error in failed:
            if told or statement.is_import:
                told.append(f"left out of {self.label}: {statement.place}, which {self._happened(error)}")
            else:
                told.append(f"{self._only()}: its top level {self._happened(error)} in {statement.place}")
        return told

    def _only(self) -> str:
        return f"only the definitions of {self.label} were run"

    @property
    def _is_package(self) -> bool:
        """Whether this is a package's own file: no script, so that what it does is meant to be done on import."""
        return any(os.path.basename(statement.file) == "__init__.py" for statement in self.statements[:1])

    # ------------------------------------------------------------------------------------------------ one statement

    def _do(self, place: int, statement: Statement) -> None:
        scope = vars(self.module)
        pending = {name for name in statement.now if isinstance(scope.get(name), LeftOut)}
        if pending and statement.is_definition:
            self._do_for(pending, before=place)
            pending = {name for name in pending if isinstance(scope.get(name), LeftOut)}
        if pending and not statement.is_import:
            story = scope[min(pending)]._story
            self._leave(place, statement, story)
            return
        error = self._outcome(statement)
        if error is None:
            self.left.pop(place, None)
            return
        if not statement.always or not isinstance(error, NotLoadedError):
            self.failures.append((statement, error))
        self._leave(
            place, statement, str(error) if isinstance(error, NotLoadedError) else self._story(statement, error)
        )

    def _do_for(self, names: set[str], before: int) -> None:
        for place in sorted(needed(self.statements[:before], names) & self.left.keys()):
            self._do(place, self.statements[place])

    def _outcome(self, statement: Statement) -> BaseException | None:
        """Run a statement, as often as something can be done about what it raises; return what it raises at last."""
        while True:
            try:
                self._execute(statement)
                return None
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                if not self.loading.repairs(error):
                    if statement.is_import and not self.loading.forgiving:
                        raise
                    return error

    def _execute(self, statement: Statement) -> None:
        scope = vars(self.module)
        code = statement.code
        if self.loading.book.reasons and statement.is_definition:
            code = statement.compiled(_with_decorators_applied(statement.node))
            scope[_APPLIED] = applied
        if statement.is_import:
            exec(code, scope)
            # Modules of the user's own may have left out what is asked for only now.
            asked = self._asked_for()
            ran = [runner for runner in self.loading.runners if runner.need(asked)]
            if ran:
                exec(code, scope)
            self._fill_star_imports(statement)
            return
        if statement.is_definition:
            exec(code, scope)
            return
        with self.loading.clock.limited(_AT_LEAST if statement.always else 0.0):
            exec(code, scope)

    def _leave(self, place: int, statement: Statement, story: str) -> None:
        """Leave a statement out, with a story in the place of every name that it alone would have set."""
        self.left[place] = statement
        scope = vars(self.module)
        for name in statement.binds - {"__doc__", "__annotations__"}:
            if name not in scope:
                scope[name] = LeftOut(story or self._not_run(name, statement))

    # ------------------------------------------------------------------------------------------------------- stories

    def _not_run(self, name: str, statement: Statement) -> str:
        return (
            f"{name} is set in {statement.place} of {self.label}, which was not run: only definitions are, and what "
            "batch norm is seen to need"
        )

    def _story(self, statement: Statement, error: BaseException) -> str:
        names = ", ".join(sorted(statement.binds)) or "nothing"
        return f"{names} should be set in {statement.place} of {self.label}, which {self._happened(error)}"

    def _happened(self, error: BaseException) -> str:
        if isinstance(error, TooSlowError):
            return f"takes more than {SECONDS:g} seconds"
        if isinstance(error, SystemExit):
            return "exits"
        if isinstance(error, NotInstalledError):
            return f"cannot be run ({guard.one_line(error)})"
        return f"raises {type(error).__name__} ({guard.one_line(error)})"

    # -------------------------------------------------------------------------------------------------------- names

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        self.loading.stack.append(self)
        try:
            yield
        finally:
            self.loading.stack.pop()
            vars(self.module).pop(_APPLIED, None)

    def _asked_for(self) -> frozenset[str]:
        return frozenset().union(*(runner._mentioned for runner in self.loading.stack))

    def _asked_by_others(self) -> frozenset[str]:
        """Return what those who import the module mention; a function that imports it when called may be anyone's."""
        others = self.loading.stack[:-1] or [runner for runner in self.loading.runners if runner is not self]
        return frozenset[str]().union(*(runner._mentioned for runner in others))

    def _put_names_back(self) -> None:
        """Put back names that are gone and that the module's functions use; they run later."""
        if not self.loading.forgiving:
            return
        for module, name in dict.fromkeys(gone.used_in(s.node for s in self.statements)):
            if module in sys.modules:
                self.loading.note(gone.put_back(module, name))
        for name, today in gone.missing_builtins(self._undefined()).items():
            vars(self.module)[name] = today.value
            self.loading.note(f"put back: {name}, as {today.spelled}")

    def _undefined(self) -> list[str]:
        """Return the names that the module's code reads and no statement of it sets."""
        read = frozenset[str]().union(*(s.reads for s in self.statements))
        return sorted(read - frozenset[str]().union(*(s.binds for s in self.statements)))

    def _fill_star_imports(self, statement: Statement) -> None:
        """Let ``from missing import *`` give what the module uses and nobody else defines."""
        scope, node = vars(self.module), statement.node
        if not isinstance(node, ast.ImportFrom) or node.names[0].name != "*":
            return
        origin = f"{self.module.__package__}.{node.module}" if node.level else str(node.module)
        source: Any = sys.modules.get(origin.lstrip("."))
        if not isinstance(source, StandIn):
            return
        for name in self._undefined():
            if name in ("np", "numpy") and name not in scope:
                scope[name] = sys.modules["numpy"]
                self.loading.note(f"put in: {name}, as numpy")
            elif name not in scope and not hasattr(builtins, name):
                scope[name] = getattr(source, name)


def _with_decorators_applied(node: ast.stmt) -> ast.stmt:
    """Return a definition whose decorators, its methods' too, leave things as they are where they are stand-ins."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        node.decorator_list = [d if _is_applied(d) else _applied(d) for d in node.decorator_list]
    if isinstance(node, ast.ClassDef):
        for inner in node.body:
            _with_decorators_applied(inner)
    return node


def _is_applied(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == _APPLIED


def _applied(decorator: ast.expr) -> ast.expr:
    call = ast.Call(ast.Name(_APPLIED, ast.Load()), [decorator], [])
    return ast.fix_missing_locations(ast.copy_location(call, decorator))
