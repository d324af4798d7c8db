"""Layers whose backward makes dx alone, and a method of its own the gradients of the parameters.

``layer.bprop(inputs, outputs, grads)`` beside ``layer.grads_wrt_params(inputs, grads)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from bncheck.adapters.backward_plans import backward_plans
from bncheck.adapters.plans import Plan, arguments
from bncheck.adapters.results import Order, gradient_order, read_gradients
from bncheck.adapters.words import upstream_like, words

_GRADIENTS = frozenset("grad grads gradient gradients".split())
_PARAMETERS = frozenset("param params parameter parameters weight weights".split())
_BESIDE = frozenset("get compute calc calculate wrt of the for to with respect by".split())


def parameter_gradients(layer: Any, names: tuple[str, str], values: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return "dgamma" and "dbeta" as such a method of a layer makes them, and its name; nothing where it has none.

    Parameters
    ----------
    layer : object
        The layer, after a forward and a backward.
    names : tuple of str
        Its forward and its backward.
    values : mapping
        What calls are given, by key.

    """
    for name, plan, order in _methods(type(layer), names):  # type: ignore[arg-type]  # classes are hashable
        try:
            made = plan.call(getattr(layer, name), {**values, "cache": None})
        except Exception:  # what its name promises is not certain: a method that raises makes no gradients
            continue
        found = read_gradients(made, order, ())
        return {of: value for of, value in found.items() if of != "dx"}, f"{name}()"
    return {}, ""


@cache
def _methods(cls: type, names: tuple[str, str]) -> tuple[tuple[str, Plan, Order], ...]:
    """Return the names of such methods of a class, with the call and the order of results of each."""
    found: list[tuple[str, Plan, Order]] = []
    for name in dict.fromkeys(n for base in cls.__mro__[:-1] for n in vars(base)):
        method = getattr(cls, name) if _reads_so(name) and name not in names else None
        if not inspect.isfunction(method):
            continue
        bound = method.__get__(object())
        if any(upstream_like(a.name) for a in arguments(bound) or ()):
            plan = next(backward_plans(bound, getattr(cls, names[0]).__get__(object()), None), None)
            found += [(name, plan, gradient_order(method) or {2: ("dgamma", "dbeta")})] if plan is not None else []
    return tuple(found)


def _reads_so(name: str) -> bool:
    said = set(words(name)) - _BESIDE
    return bool(said & _GRADIENTS and said & _PARAMETERS) and said <= _GRADIENTS | _PARAMETERS
