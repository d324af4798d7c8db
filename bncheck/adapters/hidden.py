"""Functions behind decorators that do not say what they wrap: ``def wrapper(*args, **kwargs)`` without functools.wraps.

What such a wrapper calls is among the variables that it closes over.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

_DEEPEST = 4  # decorators above each other


def revealed(thing: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function behind such a wrapper, bound as that was; for a class its constructor; else the thing."""
    if inspect.isclass(thing):
        maker = inspect.getattr_static(thing, "__init__")
        inner = _inside(maker) if inspect.isfunction(maker) else maker
        return thing if inner is maker else MethodType(inner, object())
    if inspect.ismethod(thing):
        inner = _inside(thing.__func__)
        return thing if inner is thing.__func__ else MethodType(inner, thing.__self__)
    return _inside(thing) if inspect.isfunction(thing) else thing


def _inside(function: Any) -> Any:
    for _ in range(_DEEPEST):
        if not isinstance(function, FunctionType) or not _takes_anything(function):
            break
        held = [value for value in map(_value, function.__closure__ or ()) if isinstance(value, FunctionType)]
        named = [inner for inner in held if inner.__name__ != "<lambda>" and not _is_local(inner, function)]
        if len(named) != 1:
            break
        function = named[0]
    return function


def _takes_anything(function: FunctionType) -> bool:
    """Tell whether a signature says nothing: ``(*args, **kwargs)``, with self at most."""
    parameters = inspect.signature(function).parameters.values()
    loose = [p for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return any(p.kind is p.VAR_POSITIONAL for p in loose) and {p.name for p in parameters if p not in loose} <= {"self"}


def _is_local(inner: FunctionType, wrapper: FunctionType) -> bool:
    """Tell whether a function was defined in the decorator, beside the wrapper: a tool of that."""
    outer = wrapper.__qualname__.split(".<locals>")[0]
    return inner.__module__ == wrapper.__module__ and inner.__qualname__.startswith(f"{outer}.<locals>")


def _value(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None
