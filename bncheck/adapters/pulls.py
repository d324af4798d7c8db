"""Backwards that a forward returns: a function beside y, an object with one, or either in a dict."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bncheck.adapters.backward_plans import backward_plans
from bncheck.adapters.frameworks import is_array
from bncheck.adapters.plans import Plan, arguments
from bncheck.adapters.protocol import ArityError
from bncheck.adapters.results import Order, gradient_order
from bncheck.adapters.words import Role, stem, upstream_named

_DEPTH = 2
# Plans and orders of returned functions, by their code: each forward returns a new function of the same code.
_known: dict[Any, tuple[Plan, Order]] = {}


def pulled(rest: Any, depth: int = _DEPTH) -> Callable[..., Any] | None:
    """Return the backward in what a forward returned beside y, None if there is none."""
    found = list(_callables(rest, depth))
    named = [function for name, function in found if name and stem(name).direction == "backward"]
    return next(iter(named or [function for _, function in found]), None)


def _callables(value: Any, depth: int) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield (name, function) of what may be a backward: a bare function, an entry of a dict, a method of an object."""
    if inspect.isroutine(value) or hasattr(value, "func"):
        yield getattr(value, "__name__", ""), value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if inspect.isroutine(item):
                yield str(key), item
    elif isinstance(value, tuple | list) and depth:
        for item in value:
            yield from _callables(item, depth - 1)
        yield from _backward_methods(value)
    elif not is_array(value) and not isinstance(value, int | float | str | bytes | type) and value is not None:
        yield from _backward_methods(value)


def _backward_methods(value: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the methods of an object that read as a backward; of an object that is called, the call."""
    own = [*getattr(value, "__dict__", ()), *(name for base in type(value).__mro__[:-1] for name in vars(base))]
    for name in dict.fromkeys(own):
        if not name.startswith("__") and stem(name).direction == "backward":
            method = getattr(value, name, None)
            if inspect.isroutine(method):
                yield name, method
    if inspect.isfunction(inspect.getattr_static(type(value), "__call__", None)) and not _is_forward(value):
        yield "", value


def _is_forward(called: Any) -> bool:
    """Tell whether an object that is called is a layer, as it is after the step: it takes x, or is told the mode."""
    taken = arguments(called)
    if not taken or upstream_named(taken[0].name):
        return False
    first, *others = taken
    # One letter may well mean a cotangent: "v", "h".
    reads = first.role is Role.X and (first.name == "x" or len(first.name) > 1)
    return reads or any(argument.role is Role.MODE for argument in others)


def pull_back(rest: Any, values: dict[str, Any], declared: Order) -> tuple[Any, Order]:
    """Return what the backward in `rest` returns for the values of a run, and the order of gradients in it."""
    function = pulled(rest)
    if function is None:
        raise TypeError("the forward returned no backward")
    inner = inspect.unwrap(function)  # the generator that a backward goes on with
    key = getattr(inner, "__code__", None) or getattr(getattr(inner, "__func__", None), "__code__", None)
    if key is None or key not in _known:
        plan = _first_plan(function)
        if key is None:
            return plan.call(function, values), declared or gradient_order(function)
        _known[key] = plan, gradient_order(function)
    plan, order = _known[key]
    return plan.call(function, values), declared or order


def _first_plan(function: Callable[..., Any]) -> Plan:
    try:
        plans = list(backward_plans(function, function, None))
    except ArityError:  # nothing is known of its arguments: it is handed dy alone
        plans = []
    return next((plan for plan in plans if "cache" not in plan.keys), Plan(("dy",)))
