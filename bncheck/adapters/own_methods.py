"""The methods of a layer's own that switch the mode, ``train()`` and ``eval()``, called as its user calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from bncheck.adapters.mode_values import TESTING, TRAINING
from bncheck.adapters.words import words

# What may stand beside the mode: ``set_train()``, ``train_mode()``. What "is" or "has" a mode asks for it.
_BESIDE = frozenset("set mode phase to switch on enable use".split())


@lru_cache(maxsize=256)
def own_methods(cls: type) -> dict[bool, str]:
    """Return the names of the methods that switch to training (True) and out of it (False); {} unless both are there.

    Two that have nothing in them, and come from a base class, are left for a subclass to fill.
    """
    found: dict[bool, tuple[str, Callable[..., Any]]] = {}
    seen: set[str] = set()
    for base in cls.__mro__[:-1]:
        for name, function in vars(base).items():
            if name in seen or name.startswith("_"):
                continue
            seen.add(name)
            said = set(words(name)) - _BESIDE
            if len(said) == 1 and said <= {*TRAINING, *TESTING} and _is_call(function):
                found.setdefault(bool(said & {*TRAINING}), (name, function))
    if len(found) < 2:
        return {}
    inherited = not {name for name, _ in found.values()} & vars(cls).keys()
    if inherited and all(_is_empty(function) for _, function in found.values()):
        return {}
    return {mode: name for mode, (name, _) in found.items()}


def _is_call(function: Any) -> bool:
    """Tell a plain method that wants nothing from a property, a generator and one with an argument."""
    if not inspect.isfunction(function) or hasattr(function, "__wrapped__") or inspect.isgeneratorfunction(function):
        return False
    required = [p for p in list(inspect.signature(function).parameters.values())[1:] if p.default is p.empty]
    return not any(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in required)


def _is_empty(function: Any) -> bool:
    return not function.__code__.co_names


def turned(layer: Any, train: bool) -> str:
    """Switch a layer by its own method alone; return the call as it is written, "" where it has none of that kind.

    What returns something else than the layer is a question, or a context that is to be entered.
    """
    name = own_methods(type(layer)).get(train, "")  # type: ignore[arg-type]  # classes are hashable
    if not name:
        return ""
    returned = getattr(layer, name)()
    return f"{name}()" if returned is None or returned is layer else ""
