"""Code that is nothing without a library that is not installed: layers on its classes, functions for its autograd."""

from __future__ import annotations

import inspect
from typing import Any, TypeGuard

from bncheck.adapters.frameworks import codes_of, functions_of
from bncheck.adapters.standins import Lacking, StandIn, complaint_of
from bncheck.adapters.words import Kind, kind, stem
from bncheck.errors import TargetError


def without_dependent(things: dict[str, Any], asked: str, prefix: str) -> dict[str, Any]:
    """Leave out what is nothing without a missing library; say so if that is all there is.

    Parameters
    ----------
    things : dict
        Functions and classes by name.
    asked : str
        The name that was asked for, "" if none.
    prefix : str
        What precedes a name in messages ("my_bn.py::").

    Raises
    ------
    TargetError
        If what was asked for depends on the library, or all that reads as batch norm does.

    """
    why = {name: said for name, thing in things.items() if (said := _lack_of(thing, things))}
    sought = [name for name in things if (name == asked if asked in things else kind(name) is Kind.BN)]
    if sought and all(name in why for name in sought):
        raise TargetError(f"{prefix}{sought[0]} {why[sought[0]]}.")
    return {name: thing for name, thing in things.items() if not (name in why and inspect.isclass(thing))}


def _lack_of(thing: Any, things: dict[str, Any]) -> str:
    """Return in words what a thing lacks, "" if it lacks nothing."""
    if _is_lacking(thing):
        return f"is built on a class that is not there: {complaint_of(thing)}"
    if inspect.isclass(thing) or any(stem(other).direction == "backward" for other in things):
        return ""
    used = _complaint_about(thing)
    return f"has no backward, and what may differentiate it is not there: {used}" if used else ""


def _complaint_about(function: Any) -> str:
    """Return what to say about the first stand-in that a function's code names, "" if it names none."""
    for inner in functions_of(function):
        scope = getattr(inner, "__globals__", {})
        for code in codes_of(getattr(inner, "__code__", None)):
            found = [scope[name] for name in code.co_names if isinstance(scope.get(name), StandIn)]
            if found:
                return complaint_of(found[0])
    return ""


def _is_lacking(thing: object) -> TypeGuard[type[Lacking]]:
    """Tell a class whose backward would have come from a base class that is missing."""
    if not inspect.isclass(thing) or not issubclass(thing, Lacking):
        return False
    inside = thing._bncheck_path.endswith("autograd.Function")
    return inside or not any(stem(name).direction == "backward" for name in vars(thing))
