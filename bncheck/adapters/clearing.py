"""Setting gradients to zero between steps, for layers that add them up by contract.

A layer that offers a way to clear its gradients (``zero_grad()``, ``flush_gradients()``, a ``reset()`` that does) adds
them up, and whoever uses it is to clear them. So it is with parameter objects that hold a value and a ``.grad``: the
training loop clears those. A layer without either that adds up is left alone, and is reported.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from bncheck.adapters.frameworks import is_array
from bncheck.adapters.leaves import is_own_array
from bncheck.adapters.places import Place, parts_of
from bncheck.adapters.trails import GRADIENT, VALUE
from bncheck.adapters.words import clears_gradients, words

_RESETS = frozenset("reset clear flush".split())
_RESETTING = _RESETS | frozenset("state states all cache step steps".split())


def clearing(layer: Any) -> list[Callable[[], Any]]:
    """Return what sets the gradients of a layer to zero; called before each step."""
    own = list(_methods(layer, clears_gradients))[:1] or list(_methods(layer, lambda name: _resets(layer, name)))[:1]
    if own:
        return own
    held = [value for value in getattr(layer, "__dict__", {}).values() if hasattr(value, "__dict__")]
    inner = [method for value in held for method in list(_methods(value, clears_gradients))[:1]]
    return inner or [_emptier(place) for place in parts_of(layer).gradients.values() if _is_parameter(place, layer)]


def clear(methods: Iterable[Callable[[], Any]]) -> None:
    """Call what sets gradients to zero."""
    for method in methods:
        try:
            method()
        except KeyboardInterrupt:
            raise
        except BaseException:  # it wants gradients that are not there yet
            continue


def _methods(holder: Any, reads: Callable[[str], bool]) -> Iterator[Callable[[], Any]]:
    """Yield the methods of an object that read so, and want nothing."""
    for base in type(holder).__mro__[:-1]:
        for name, function in vars(base).items():
            if not name.startswith("__") and inspect.isfunction(function) and reads(name):
                needed = list(inspect.signature(function).parameters.values())[1:]
                if all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in needed):
                    yield getattr(holder, name)


def _resets(layer: Any, name: str) -> bool:
    """Tell whether a method called ``reset`` or the like sets gradients: its code names an attribute that holds one."""
    said = set(words(name))
    if not said & _RESETS or not said <= _RESETTING:  # a mere ``step()`` goes down the gradients
        return False
    code = getattr(getattr(type(layer), name, None), "__code__", None)
    gradients = {str(place.trail[0]) for place in parts_of(layer).gradients.values()}
    return bool(gradients & set(getattr(code, "co_names", ())))


def _is_parameter(place: Place, layer: Any) -> bool:
    """Tell the ``.grad`` of an object that also holds a value from an attribute or an entry of the layer's own."""
    holder = place.holder
    held = getattr(holder, "__dict__", {})
    valued = is_own_array(holder) or any(name in held for name in VALUE)
    return holder is not layer and place.key in GRADIENT and valued


def _emptier(place: Place) -> Callable[[], Any]:
    """Return what sets a gradient to what it started from: zeros, or None."""
    empty = place.get() is None

    def emptied() -> None:
        value = place.get()
        if empty:
            place.put(None)
        elif is_array(value):
            place.put(np.zeros_like(value))

    return emptied
