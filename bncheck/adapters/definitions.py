"""Taking a module apart: which of its top-level statements define something, and which a definition depends on.

A file that is a script too trains, plots, downloads or exits when it is run. Its definitions, imports and plain
constants are always run; any other statement only where code that is wanted depends on what it sets or changes.
"""

from __future__ import annotations
import __future__

import ast
import dis
import inspect
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import CodeType

from bncheck.adapters.frameworks import codes_of
from bncheck.adapters.plainness import DEFINITIONS, IMPORTS, is_harmless, is_plain, outside_functions
from bncheck.adapters.words import Kind, kind, stem

# Calls of these change nothing that they are given.
_READERS = frozenset(
    "print len type isinstance str repr float int range enumerate zip list dict tuple sum min max".split()
)
# What these may set cannot be read off the source.
_WILD = frozenset({"exec", "eval", "globals", "locals", "vars"})


@dataclass
class Statement:
    """One top-level statement, and which names it has to do with.

    Attributes
    ----------
    node : ast.stmt
        The statement.
    file : str
        The file name that its code carries.
    cell : int
        The number of the code cell it stands in, among those of its notebook, 0 in a file.
    flags : int
        Compiler flags of the ``from __future__`` imports before it.
    binds : frozenset of str
        Names that it sets.
    now : frozenset of str
        Global names that it reads when it is run.
    reads : frozenset of str
        Those, and what the functions in it read once they are called.
    changes : frozenset of str
        Names whose objects it may change; for a definition, those that its functions set or set attributes of.
    always : bool
        Whether it is run whoever needs it: a definition, an import, a plain constant.
    idle : bool
        Whether leaving it out is not worth a word.

    """

    node: ast.stmt
    file: str
    cell: int = 0
    flags: int = 0
    always: bool = False
    idle: bool = False
    code: CodeType = field(init=False)
    binds: frozenset[str] = frozenset()
    now: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.code = self.compiled(self.node)
        self._read_names()
        self.changes |= _changed(self.node, self.reads)

    def compiled(self, node: ast.stmt) -> CodeType:
        """Return the code of the statement, or of another form of it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(ast.Module([node], []), self.file, "exec", self.flags, dont_inherit=True)
        assert isinstance(code, CodeType)
        return code

    @property
    def place(self) -> str:
        """Where it stands: "line 40", or "code cell 7, line 3"."""
        return f"code cell {self.cell}, line {self.node.lineno}" if self.cell else f"line {self.node.lineno}"

    @property
    def is_definition(self) -> bool:
        """Whether it is a function or a class."""
        return isinstance(self.node, DEFINITIONS)

    @property
    def is_import(self) -> bool:
        """Whether anything is imported in it."""
        return any(isinstance(node, IMPORTS) for node in outside_functions(self.node))

    def _read_names(self) -> None:
        binds, now, later, sets = set(), set(), set(), set()
        for code in codes_of(self.code):
            for step in dis.get_instructions(code):
                if step.opname in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                    now.add(step.argval)
                elif step.opname == "LOAD_GLOBAL":
                    later.add(step.argval)
                elif step.opname == "STORE_NAME" and code is self.code:
                    binds.add(step.argval)
                elif step.opname == "DELETE_NAME" and code is self.code:
                    sets.add(step.argval)
                elif step.opname == "STORE_GLOBAL":
                    (binds if code is self.code else sets).add(step.argval)
        self.binds, self.changes = frozenset(binds), frozenset(sets)
        self.now = frozenset(now if self.is_definition else now | later)
        self.reads = frozenset(now | later)


def statements_of(tree: ast.Module, file: str, cell: int = 0, flags: int = 0) -> list[Statement]:
    """Return the top-level statements of a module, or of a notebook's cell."""
    flags |= future_flags(tree)
    found = []
    for place, node in enumerate(tree.body):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and (place or cell):
            continue  # a string that documents nothing
        found.append(Statement(node, file, cell, flags))
    return found


def future_flags(tree: ast.Module) -> int:
    """Return the compiler flags of a module's ``from __future__`` imports."""
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for alias in node.names:
                feature = getattr(__future__, alias.name, None)
                flags |= feature.compiler_flag if feature is not None else 0
    return flags


def sort_out(statements: Sequence[Statement]) -> None:
    """Mark the statements that are always run, and those that nobody misses."""
    modules = imported_from(statements)
    for statement in statements:
        statement.always = is_plain(statement.node, modules)
        statement.idle = is_harmless(statement.node, modules)
        # np.save(...) does not change np.
        statement.changes -= modules.keys() - _assigned_into(statement.node)
    setters = {name: s.changes for s in statements if s.is_definition for name in s.binds}
    for statement in statements:
        if not statement.is_definition:
            statement.changes |= _set_by_calls(statement.reads, setters, statements)


def _set_by_calls(
    names: Iterable[str], setters: dict[str, frozenset[str]], all_: Sequence[Statement]
) -> frozenset[str]:
    """Return the globals that functions of these names, and those that they call, set or set attributes of."""
    if not any(setters.values()):
        return frozenset()
    reads = {name: s.reads for s in all_ if s.is_definition for name in s.binds}
    waiting, seen, found = list(names), set(), frozenset[str]()
    while waiting:
        name = waiting.pop()
        if name in setters and name not in seen:
            seen.add(name)
            found |= setters[name]
            waiting += reads[name]
    return found


def needed(statements: Sequence[Statement], names: Iterable[str]) -> set[int]:
    """Return the places of all statements that set or change what `names` stand for, directly or through others."""
    waiting, seen, found = list(names), set(), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for place, statement in enumerate(statements):
            wild = not statement.is_definition and not statement.always and statement.reads & _WILD
            if place not in found and (name in statement.binds or name in statement.changes or wild):
                found.add(place)
                waiting += statement.reads
    return found


def roots(statements: Sequence[Statement], asked: str) -> set[str]:
    """Return the names that verification starts from: what reads as batch norm, and its halves; or all definitions.

    Parameters
    ----------
    statements : sequence of Statement
        The module.
    asked : str
        The name that the user asked for, "" if none.

    """
    docs = {name: _doc(s.node) for s in statements if s.is_definition for name in s.binds}
    bound = {name for s in statements for name in s.binds if not isinstance(s.node, IMPORTS)}
    chosen = {name for name in bound if kind(name, docs.get(name, "")) is Kind.BN}
    if asked in bound:
        chosen.add(asked)
    if not chosen or (asked and asked not in bound):
        return bound & docs.keys() | chosen
    stems = {stem(name).words for name in chosen} | {()}
    return chosen | {name for name in docs if stem(name).direction and stem(name).words in stems}


def mentioned(statements: Iterable[Statement]) -> frozenset[str]:
    """Return every identifier in a module: names, attributes, names in imports."""
    found: set[str] = set()
    for statement in statements:
        for node in ast.walk(statement.node):
            if isinstance(node, ast.Name):
                found.add(node.id)
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.alias):
                found.update(node.name.split("."))
    return frozenset(found)


def dots_in(statements: Iterable[Statement]) -> int:
    """Return how far the relative imports of a module climb: 0 if there are none."""
    nodes = (node for statement in statements for node in ast.walk(statement.node))
    return max((node.level for node in nodes if isinstance(node, ast.ImportFrom)), default=0)


def imported_from(statements: Iterable[Statement]) -> dict[str, str]:
    """Return the dotted origin of every name that an import binds, functions' own imports too."""
    found: dict[str, str] = {}
    for statement in statements:
        for node in ast.walk(statement.node):
            if isinstance(node, ast.Import):
                found |= {
                    a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0] for a in node.names
                }
            elif isinstance(node, ast.ImportFrom):
                origin = "." * node.level + (node.module or "")
                found |= {a.asname or a.name: f"{origin}.{a.name}" for a in node.names if a.name != "*"}
    return found


def _doc(node: ast.stmt) -> str:
    text = ast.get_docstring(node) if isinstance(node, DEFINITIONS) else None
    return inspect.cleandoc(text) if text else ""


def _base(node: ast.expr) -> str:
    """Return the name that ``a.b[c].d`` begins with, "" if it begins with something else."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _assigned_into(node: ast.stmt) -> set[str]:
    """Return the names of objects whose attributes or items a statement sets."""
    parts = [n for n in outside_functions(node) if isinstance(n, ast.Attribute | ast.Subscript)]
    return {_base(part) for part in parts if not isinstance(part.ctx, ast.Load)}


def _furnished(node: ast.stmt, globals_: frozenset[str]) -> frozenset[str]:
    """Return the globals whose attributes the functions in a definition set: ``Tensor.__add__ = add``."""
    parts = [n for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    found = {_base(part) for part in parts}
    calls = (n for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.args)
    found |= {_base(call.args[0]) for call in calls if isinstance(call.func, ast.Name) and call.func.id == "setattr"}
    return globals_ & found


def _changed(node: ast.stmt, globals_: frozenset[str]) -> frozenset[str]:
    """Return the names of objects that a statement may change: by setting into them, calling their methods, or
    handing them to a function.
    """  # noqa: D205
    if isinstance(node, DEFINITIONS):
        return _furnished(node, globals_)
    found = _assigned_into(node)
    for call in (n for n in outside_functions(node) if isinstance(n, ast.Call)):
        if isinstance(call.func, ast.Attribute):
            found.add(_base(call.func))
        if not (isinstance(call.func, ast.Name) and call.func.id in _READERS):
            found |= {arg.id for arg in call.args if isinstance(arg, ast.Name)}
    return frozenset(found - {""})
