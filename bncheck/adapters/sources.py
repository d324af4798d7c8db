"""What the source of a function says of its variables: which keys, places and attributes it takes out of them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from bncheck.adapters.hidden import revealed


def source_tree(function: Callable[..., Any]) -> ast.AST | None:
    """Return the syntax tree of a function, None where its source is not at hand."""
    function = getattr(function, "func", function)  # a functools.partial
    try:
        return _parsed(function)
    except TypeError:  # what cannot be hashed
        return _parsed.__wrapped__(function)


# Discovery asks again and again, for the same few functions.
@lru_cache(maxsize=256)
def _parsed(function: Callable[..., Any]) -> ast.AST | None:
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(revealed(function))))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError, ValueError):  # no source, or none that can be read alone
        return None
    return next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda)), None)


def keys_of(function: Callable[..., Any], variable: str = "") -> list[str]:
    """Return the texts that a function uses as keys of a dict: ``d["k"]``, ``d.get("k")``, ``"k" in d``.

    With `variable` only those of the dict of that name.
    """
    tree = source_tree(function)
    found: dict[str, None] = {}
    for node in ast.walk(tree) if tree is not None else ():
        holder, key = _keyed_access(node)
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.isidentifier():
            if not variable or (isinstance(holder, ast.Name) and holder.id == variable):
                found[key.value] = None
    return list(found)


def needed_keys(function: Callable[..., Any], variable: str) -> list[str]:
    """Return the keys that a function takes out of a dict and cannot do without: ``d["k"]``, and no ``d.get("k")``."""
    tree = source_tree(function)
    sure: dict[str, bool] = {}
    for node in ast.walk(tree) if tree is not None else ():
        holder, key = _keyed_access(node)
        named = isinstance(holder, ast.Name) and holder.id == variable
        if named and isinstance(key, ast.Constant) and isinstance(key.value, str):
            plain = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load)
            sure[key.value] = sure.get(key.value, True) and plain
    return [key for key, plain in sure.items() if plain]


def defaults_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what stands for the keys that a dict may do without: ``d.get("k", 0.9)``; of constants alone."""
    tree = source_tree(function)
    found: dict[str, Any] = {}
    for node in ast.walk(tree) if tree is not None else ():
        _, key = _keyed_access(node)
        if isinstance(node, ast.Call) and isinstance(key, ast.Constant) and isinstance(key.value, str):
            if len(node.args) == 2 and isinstance(node.args[1], ast.Constant):
                found[key.value] = node.args[1].value
    return found


def attributes_of(function: Callable[..., Any], variable: str) -> list[str]:
    """Return the attributes that a function reads of a variable: ``params.gamma``."""
    tree = source_tree(function)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)] if tree is not None else []
    return list(dict.fromkeys(n.attr for n in nodes if isinstance(n.value, ast.Name) and n.value.id == variable))


def _keyed_access(node: ast.AST) -> tuple[ast.AST | None, ast.AST | None]:
    """Return the dict and the key of an expression that looks something up, (None, None) of any other."""
    if isinstance(node, ast.Subscript):
        return node.value, node.slice
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        return (node.func.value, node.args[0]) if node.func.attr in ("get", "pop", "setdefault") else (None, None)
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        return node.comparators[0], node.left
    return None, None


def unpacked(function: Callable[..., Any], name: str) -> list[str]:
    """Return the names that a variable is taken apart into (``x, gamma, beta = inputs``), nothing if it is not."""
    tree = source_tree(function)
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id == name:
            target = node.targets[0]
            if isinstance(target, ast.Tuple | ast.List):
                return [getattr(element, "id", getattr(element, "attr", "")) for element in target.elts]
    return []


def takes_first(function: Callable[..., Any], name: str) -> bool:
    """Tell whether a variable is a tuple of which the first is taken: ``gy, = grads`` or ``grads[0]``."""
    return 0 in indexed(function, name) or len(unpacked(function, name)) == 1


def indexed(function: Callable[..., Any], name: str) -> frozenset[int]:
    """Return the numbers by which a function takes single things out of a variable: ``inputs[0]``, ``inputs[1]``."""
    tree = source_tree(function)
    return frozenset(_items(tree, name)) if tree is not None else frozenset()


def items_averaged(function: Callable[..., Any], name: str) -> frozenset[int]:
    """Return the numbers of items that a function sets by what they are: ``run[0] = m * run[0] + ...``."""
    tree = source_tree(function)
    found: set[int] = set()
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.AugAssign):
            found |= _items(node.target, name)
        elif isinstance(node, ast.Assign):
            found |= _items(node.value, name).intersection(*(_items(target, name) for target in node.targets))
    return frozenset(found)


def _items(tree: ast.AST, name: str) -> set[int]:
    return {
        node.slice.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == name
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int)
    }


def items_set(function: Callable[..., Any], name: str) -> bool:
    """Tell whether a function changes items of a variable: ``running[0] = mean``."""
    tree = source_tree(function)
    return any(
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
        for node in (ast.walk(tree) if tree is not None else ())
    )


def items_made_of(function: Callable[..., Any], name: str) -> list[tuple[int, list[str]]]:
    """Return which items of a variable a function sets by number, each with the names of what they are made of."""
    tree, found = source_tree(function), []
    for node in ast.walk(tree) if tree is not None else ():
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if len(targets) != 1 or not isinstance(node, ast.Assign | ast.AugAssign):
            continue
        place = targets[0]
        while isinstance(place, ast.Subscript) and isinstance(place.value, ast.Subscript):
            place = place.value  # running[0][:] = mean
        if isinstance(place, ast.Subscript) and isinstance(place.value, ast.Name) and place.value.id == name:
            if isinstance(place.slice, ast.Constant) and type(place.slice.value) is int:
                names = [part.id for part in ast.walk(node.value) if isinstance(part, ast.Name) and part.id != name]
                found.append((place.slice.value, names))
    return found


def only_keeps(method: Callable[..., Any]) -> bool:
    """Tell whether a method does nothing but keep what it is given: ``self.saved = arrays``."""
    tree = source_tree(method)
    if not isinstance(tree, ast.FunctionDef):
        return False
    body = [s for s in tree.body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    return bool(body) and all(
        isinstance(statement, ast.Assign)
        and all(isinstance(to, ast.Attribute) for to in statement.targets)
        and all(isinstance(part, ast.Name) for part in _parts(statement.value))
        for statement in body
    )


def _parts(value: ast.expr) -> list[ast.expr]:
    return value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
