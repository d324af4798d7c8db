"""What a missing base class would have set: the flag that says the mode, dicts and lists that the class itself fills.

Code on a base class that is not there reads attributes that nobody in sight sets: ``if self.training``,
``self.params["gamma"] = ...``, ``self.inputs.append(x)``. How it uses such a name says what that has to be. Of nothing
else is a value made up.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from bncheck.adapters.sources import source_tree
from bncheck.adapters.words import Role, argument_role

_FILLING = frozenset({"append", "extend"})


def container(cls: type, name: str) -> Callable[[], Any] | None:
    """Return what makes the value of an attribute that the code of a class fills by key, or appends to; else None."""
    return _containers(cls).get(name)


@cache
def _containers(cls: Any) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {}
    for node in _nodes(cls):
        if isinstance(node, ast.Subscript) and _is_text(node.slice) and (name := _own(node.value)):
            found[name] = dict
        elif isinstance(node, ast.Attribute) and node.attr in _FILLING and (name := _own(node.value)):
            found.setdefault(name, list)
    return found


def flags(cls: type) -> tuple[str, ...]:
    """Return the attributes that the code of a class asks for the mode, and does not call."""
    return _flags(cls)


@cache
def _flags(cls: Any) -> tuple[str, ...]:
    nodes = list(_nodes(cls))  # held: the addresses of trees that are gone are given out again
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    read = [name for node in nodes if id(node) not in called and (name := _own(node))]
    return tuple(dict.fromkeys(name for name in read if argument_role(name) is Role.MODE))


def _nodes(cls: type) -> Iterator[ast.AST]:
    """Yield the nodes of every method of a class and of the bases that are there."""
    for base in cls.__mro__[:-1]:
        if base.__module__ == __package__ or base.__module__.startswith(f"{__package__}."):
            continue  # what stands for the base that is missing
        for thing in vars(base).values():
            tree = source_tree(thing) if inspect.isfunction(thing) else None
            yield from ast.walk(tree) if tree is not None else ()


def _own(node: ast.AST) -> str:
    """Return the name of ``self.name`` where it is read, "" of anything else."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
        return node.attr if node.value.id == "self" else ""
    return ""


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
