"""The methods of a layer's own that switch the mode, ``train()`` and ``eval()``, called as its user calls them."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Container
from functools import lru_cache
from typing import Any

from bncheck.adapters.places import Place
from bncheck.adapters.words import words

# The first of these that a class has is meant; "learn" and "fit" may do so, and a "predict" asks the layer.
_TRAIN = ("train", "training")
_EVAL = ("eval", "evaluation", "inference", "evaluate", "infer", "testing", "test")
# Methods that make parameters, and that change those in a dict or a list.
_MAKES = frozenset("init initialize build create make setup reset".split())
_LEARNS = frozenset("update step apply learn optimize set".split())
# What may stand beside the mode: ``set_train()``, ``train_mode()``. What "is" or "has" a mode asks for it.
_BESIDE = frozenset("set mode phase to switch on enable use".split())


@lru_cache(maxsize=256)
def own_methods(cls: type) -> dict[bool, str]:
    """Return the names of the methods that switch to training (True) and out of it (False); {} unless both are there.

    Two that have nothing in them, and come from a base class, are left for a subclass to fill.
    """
    said: dict[str, tuple[str, Callable[..., Any]]] = {}
    seen: set[str] = set()
    for base in cls.__mro__[:-1]:
        for name, function in vars(base).items():
            if name in seen or name.startswith("_"):
                continue
            seen.add(name)
            told = set(words(name)) - _BESIDE
            if len(told) == 1 and _is_call(function):
                said.setdefault(told.pop(), (name, function))
    modes = ((True, _TRAIN), (False, _EVAL))
    found = {mode: said[first] for mode, known in modes if (first := next((w for w in known if w in said), ""))}
    if len(found) < 2:
        return {}
    inherited = not {name for name, _ in found.values()} & vars(cls).keys()
    if inherited and all(_is_empty(function) for _, function in found.values()):
        return {}
    return {mode: name for mode, (name, _) in found.items()}


def changed_by_method(place: Place, layer: Any, known: Container[str]) -> bool:
    """Tell whether a method of a layer's own, beside the `known` ones, changes the parameter in a place.

    What else it does then, nobody knows who writes there behind its back.
    """
    own = place.holder if hasattr(place.holder, "__dict__") or hasattr(place.holder, "__slots__") else layer
    for base in type(own).__mro__[:-1]:
        for name, function in vars(base).items():
            if name in known or not inspect.isfunction(function) or _MAKES.intersection(words(name)):
                continue
            if own is not place.holder:
                if _LEARNS.intersection(words(name)):
                    return True
            elif any(one.opname == "STORE_ATTR" and one.argval == place.key for one in dis.get_instructions(function)):
                return True
    return False


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
