"""Running statistics in an object of a class of its own: a dataclass or named tuple that a forward takes and returns.

``bn(x, gamma, beta, state: BNState) -> y, state, cache``. A forward so wrapped takes a pair and returns one, as if the
class were a plain tuple.
"""

from __future__ import annotations

import ast
import inspect
from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from bncheck.adapters.sources import attributes_of, source_tree
from bncheck.adapters.words import STATISTICS, Role, argument_role

_KEPT = 32  # objects whose other fields (a count of steps) are to be there in the next call


def statistics_fields(function: Callable[..., Any], name: str) -> list[str]:
    """Return the fields of an argument's class that are the mean and the variance; nothing for any other argument."""
    cls = _class_of(function, name)
    return [] if cls is None else [field for role in STATISTICS for field in _fields(cls) if _role(field) is role]


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a forward that takes and returns pairs of statistics for such an object; any other as it is."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: it does not tell
        return function
    name = next((name for name in signature.parameters if statistics_fields(function, name)), None)
    cls = _class_of(function, name) if name is not None else None
    if name is None or cls is None:
        return function
    fields = statistics_fields(function, name)
    known: deque[tuple[Any, Any]] = deque(maxlen=_KEPT)

    def made(pair: Any) -> Any:
        held = next((thing for first, thing in known if first is pair[0]), None)
        return held if held is not None else cls(**_others(cls, fields), **dict(zip(fields, pair, strict=True)))

    def taken(thing: Any) -> Any:
        if not isinstance(thing, cls):
            return thing
        pair = tuple(getattr(thing, field) for field in fields)
        known.append((pair[0], thing))
        return pair

    @wraps(function)
    def with_pairs(*args: Any, **named: Any) -> Any:
        bound = signature.bind(*args, **named)
        pair = bound.arguments.get(name)
        if type(pair) is not tuple:
            return function(*args, **named)
        state = bound.arguments[name] = made(pair)
        result = function(*bound.args, **bound.kwargs)
        if type(result) is tuple and any(isinstance(item, cls) for item in result):
            return tuple(taken(item) for item in result)
        for own, field in zip(pair, fields, strict=True):  # an object that is changed, and not returned
            now = getattr(state, field)
            if now is not own and np.shape(now) == np.shape(own):
                own[...] = now
                setattr(state, field, own)
        known.append((pair[0], state))
        return result

    return with_pairs


def _class_of(function: Callable[..., Any], name: str) -> Any:
    """Return the class with a mean and a variance that an argument is of: annotated, or the one whose fields are read.

    None where it is of no such class.
    """
    function = inspect.unwrap(function)
    try:
        said = inspect.signature(function).parameters[name].annotation
    except (KeyError, TypeError, ValueError):  # written in C, or behind a wrapper: it does not tell
        return None
    around = getattr(function, "__globals__", {})
    if isinstance(said, str):
        said = around.get(said.strip("'\""))
    elif said is inspect.Parameter.empty and (read := _read(function, name)):
        known = [thing for thing in around.values() if inspect.isclass(thing)]
        said = next((cls for cls in known if read <= {*_fields(cls)}), None)
    given = [_role(field) for field in _fields(said)] if inspect.isclass(said) else []
    return said if all(given.count(role) == 1 for role in STATISTICS) else None


def _read(function: Callable[..., Any], name: str) -> set[str]:
    """Return the attributes that are read of a variable; none of one whose methods are called, as ``x.mean(0)`` is."""
    called = [node.func for node in ast.walk(source_tree(function) or ast.Pass()) if isinstance(node, ast.Call)]
    own = {f.attr for f in called if isinstance(f, ast.Attribute) and getattr(f.value, "id", "") == name}
    return {*attributes_of(function, name)} - own if own <= {"_replace"} else set()


def is_settings(default: Any) -> bool:
    """Tell whether a default is an object of a class of its own, of plain values: ``config=Config()`` needs no other.

    One that holds arrays may keep statistics, and would carry them from one run to the next.
    """
    held = [getattr(default, name) for name in _fields(type(default))] or [*getattr(default, "__dict__", {}).values()]
    return bool(held) and all(isinstance(value, int | float | str | None) for value in held)


def _fields(cls: Any) -> list[str]:
    """Return the fields of a dataclass or a named tuple, nothing of any other class."""
    named = getattr(cls, "_fields", ())
    return [*named] if named else [*getattr(cls, "__dataclass_fields__", ())]


def _others(cls: Any, fields: list[str]) -> dict[str, Any]:
    """Return what the other fields without a default start from: nothing has been counted yet."""
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: 0 for p in parameters if p.name not in fields and p.default is p.empty}


def _role(field: str) -> Role | None:
    return argument_role(f"running_{field}")
