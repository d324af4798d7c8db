"""Arguments that code accepts and never reads, a momentum above all: told by its source, where there is one."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from bncheck.adapters.sources import source_tree
from bncheck.adapters.words import Role, argument_role, words

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def unread_momentum(thing: Callable[..., Any]) -> str:
    """Return the name of a momentum that a forward function, or a layer's constructor, accepts and nothing reads.

    "" where there is none, and where what else may read it is not to be seen (a base class without a source).
    """
    if not inspect.isclass(thing):
        tree = _tree(thing)
        function = next((node for node in ast.walk(tree) if isinstance(node, _Function)), None) if tree else None
        return _unread_argument(function, frozenset()) if function else ""
    trees = [_tree(cls) for cls in thing.__mro__ if cls is not object]
    if any(tree is None for tree in trees):
        return ""
    nodes = [node for tree in trees if tree for node in ast.walk(tree)]
    maker = next((n for n in nodes if isinstance(n, _Function) and n.name == "__init__"), None)
    # A string that reads like the attribute stands for getattr(self, "momentum").
    read = {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Load)}
    read |= {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    everything = any(isinstance(n, ast.Name) and n.id in ("vars", "locals", "globals") for n in nodes)
    return "" if maker is None or everything or "__dict__" in read else _unread_argument(maker, frozenset(read))


def never_read(function: Callable[..., Any], names: Iterable[str]) -> frozenset[str]:
    """Return which of these arguments a function never reads, so that anything will do for them.

    A function that is not written yet reads nothing, which says nothing.
    """
    tree = source_tree(function)
    body = getattr(tree, "body", [])
    if not isinstance(body, list) or not any(isinstance(node, ast.Return) for node in ast.walk(ast.Module(body, []))):
        return frozenset()
    nodes = [node for part in body for node in ast.walk(part)]
    read = {node.id for node in nodes if isinstance(node, ast.Name)}
    read |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}  # **named
    return frozenset() if read & {"locals", "vars", "exec", "eval"} else frozenset(names) - read


# Beside a learning rate a momentum is that of the descent.
_RATES = frozenset("lr rate alpha eta learning".split())


def _unread_argument(function: _Function, read: frozenset[str]) -> str:
    """Return the momentum among a function's arguments that nothing reads; `read` are attributes that are read."""
    arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    if any(_RATES.intersection(words(a.arg)) for a in arguments):
        return ""
    for name in (a.arg for a in arguments if argument_role(a.arg) is Role.MOMENTUM):
        kept, loads = 0, 0
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
                loads += 1
            elif isinstance(node, ast.Assign | ast.AnnAssign) and _kept_unread(node, name, read):
                kept += 1
            elif isinstance(node, ast.Name) and node.id in ("locals", "vars"):
                return ""
        if loads == kept:
            return name
    return ""


def _kept_unread(node: ast.Assign | ast.AnnAssign, name: str, read: frozenset[str]) -> bool:
    """Tell whether this is ``self.attribute = name``, with an attribute that nothing reads."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    value = isinstance(node.value, ast.Name) and node.value.id == name
    return value and all(isinstance(target, ast.Attribute) and target.attr not in read for target in targets)


def _tree(thing: Any) -> ast.Module | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(thing)))
    except (OSError, TypeError, SyntaxError, ValueError):  # no source, or none that can be read alone
        return None
