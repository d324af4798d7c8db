"""Classes that are there to be derived from: what none of their own objects does, those of the derived classes do."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Mapping
from inspect import getattr_static
from typing import Any

from bncheck.adapters.sources import source_tree
from bncheck.adapters.torch_parts import own_bases, own_functions

# How a layer of PyTorch is given an attribute by its name.
_REGISTERING = frozenset({"register_buffer", "register_parameter", "register_module", "add_module"})


def only_bases(failed: Collection[str], bound: Collection[str], things: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return those of the classes that failed that are there to be derived from, with what derives and was bound.

    They leave something to the derived classes: they have private names, or one of those that were bound supplies what
    is missing in them. A class that has all it needs, and fails, is broken, whatever derives from it.

    Parameters
    ----------
    failed, bound : collection of str
        The names of candidates, as of ``Norm`` or ``Norm.bn_backward``.
    things : dict
        The functions and classes of their file.

    """
    derived: dict[str, list[str]] = {}
    for name in failed:
        base = _owner(name, things)
        own = [other for other in bound if _derives(_owner(other, things), base)]
        if name.startswith("_") or any(_completes(_owner(other, things), base) for other in own):
            derived |= {name: own} if own else {}
    return derived


def note_of_base(name: str, derived: Collection[str]) -> str:
    """Return what a report says of such a class."""
    verb = "derives" if len(derived) == 1 else "derive"
    return f"{name} is left out: it runs in no way by itself, and {' and '.join(derived)} {verb} from it"


def _owner(name: str, things: Mapping[str, Any]) -> Any:
    return things.get(name.partition(".")[0])


def _derives(thing: Any, base: Any) -> bool:
    return inspect.isclass(thing) and inspect.isclass(base) and thing is not base and issubclass(thing, base)


def _completes(cls: type, base: type) -> bool:
    """Tell whether a class supplies something that the class it derives from lacks."""
    members = {name for one in own_bases(cls) if one not in base.__mro__ for name in vars(one)}
    for name in members & {name for one in own_bases(base) for name in vars(one)}:
        member = getattr_static(base, name)
        if (member is None and getattr_static(cls, name) is not None) or _unwritten(member):
            return True
    stored, read = _attributes(base)
    supplied = (members | _attributes(cls)[0]) - stored
    return any(name in read and not hasattr(base, name) for name in supplied)


def _unwritten(member: Any) -> bool:
    """Tell whether a method is empty, or does nothing but raise NotImplementedError."""
    function = getattr(member, "fget", getattr(member, "__func__", member))
    tree = source_tree(function) if inspect.isfunction(function) else None
    if not isinstance(tree, ast.FunctionDef) or tree.name == "__init__":
        return False
    body = [node for node in tree.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    if body and isinstance(body[-1], ast.Raise):
        named = {node.id for node in ast.walk(body[-1]) if isinstance(node, ast.Name)}
        return "NotImplementedError" in named and all(isinstance(node, ast.Assign | ast.Expr) for node in body[:-1])
    return all(isinstance(node, ast.Pass) or (isinstance(node, ast.Return) and _is_none(node.value)) for node in body)


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _attributes(cls: type) -> tuple[set[str], set[str]]:
    """Return the attributes that the methods of a class set, and those that they read."""
    stored: set[str] = set()
    read: set[str] = set()
    trees = [source_tree(function) for function in own_functions(cls)]
    for node in (node for tree in trees if tree is not None for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute):
            (stored if isinstance(node.ctx, ast.Store) else read).add(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _REGISTERING:
            said = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            stored.update(text for text in said if isinstance(text, str))
    return stored, read
