"""What a method pair inside a larger layer is handed by its neighbours: ``self.z = z; out = self.bn_forward(z)``.

Where another method keeps what it gives to the forward in an attribute, and the backward reads that attribute, whoever
calls the two by themselves has to set it, too.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache

from bncheck.adapters.sources import source_tree


@cache
def handed_over(cls: type, forward: str, backward: str) -> tuple[str, ...]:
    """Return the attributes that the backward reads, and that only other methods set, to what they give the forward."""
    own = {name: thing for base in cls.__mro__[:-1] for name, thing in vars(base).items() if inspect.isfunction(thing)}
    if forward not in own or backward not in own:
        return ()
    wanted = _attributes(own[backward], ast.Load) - _attributes(own[forward], ast.Store)
    others = [thing for name, thing in own.items() if name not in (forward, backward)]
    if not wanted & frozenset().union(*(_attributes(other, ast.Store) for other in others)):
        return ()
    return tuple(sorted(wanted & {name for other in others for name in _kept(other, forward)}))


def _attributes(function: object, use: type[ast.expr_context]) -> frozenset[str]:
    """Return the names of the attributes of self that a method reads, or sets."""
    tree = source_tree(function) if callable(function) else None
    found = [node for node in ast.walk(tree) if _is_own(node)] if tree is not None else []
    return frozenset(node.attr for node in found if isinstance(node, ast.Attribute) and isinstance(node.ctx, use))


def _kept(function: object, forward: str) -> Iterator[str]:
    """Yield the attributes that a method sets to the very thing that it calls the forward with."""
    tree = source_tree(function) if callable(function) else None
    nodes = list(ast.walk(tree)) if tree is not None else []
    given = {_text(node.args[0]) for node in nodes if _calls(node, forward) and isinstance(node, ast.Call)}
    for node in (node for node in nodes if isinstance(node, ast.Assign)):
        for target in node.targets:
            if isinstance(target, ast.Attribute) and _is_own(target):
                if f"self.{target.attr}" in given or _text(node.value) in given:
                    yield target.attr


def _calls(node: ast.AST, name: str) -> bool:
    called = node.func if isinstance(node, ast.Call) and node.args else None
    return isinstance(called, ast.Attribute) and _is_own(called) and called.attr == name


def _is_own(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _text(node: ast.expr) -> str:
    return ast.unparse(node)
