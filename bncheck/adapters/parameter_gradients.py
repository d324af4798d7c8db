"""Layers whose backward makes dx alone, and a method of its own the gradients of the parameters.

``layer.bprop(inputs, outputs, grads)`` beside ``layer.grads_wrt_params(inputs, grads)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from bncheck.adapters.backward_plans import backward_plans
from bncheck.adapters.plans import arguments
from bncheck.adapters.results import gradient_order, read_gradients
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
    for name in dict.fromkeys(n for base in type(layer).__mro__[:-1] for n in vars(base)):
        method = getattr(layer, name, None) if _reads_so(name) and name not in names else None
        if method is None or not inspect.isroutine(method):
            continue
        if not any(upstream_like(a.name) for a in arguments(method) or ()):
            continue
        try:
            plan = next(iter(backward_plans(method, getattr(layer, names[0]), None)))
            made = plan.call(method, {**values, "cache": None})
        except Exception:  # what its name promises is not certain: a method that raises makes no gradients
            continue
        order = gradient_order(method) or {2: ("dgamma", "dbeta")}
        found = read_gradients(made, order, ())
        return {of: value for of, value in found.items() if of != "dx"}, f"{name}()"
    return {}, ""


def _reads_so(name: str) -> bool:
    said = set(words(name)) - _BESIDE
    return bool(said & _GRADIENTS and said & _PARAMETERS) and said <= _GRADIENTS | _PARAMETERS
