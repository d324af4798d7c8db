"""Global flags that say whether this is training: ``TRAINING``, ``config.train``, ``STATE["is_training"]``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from types import CodeType, ModuleType
from typing import Any

from bncheck import guard
from bncheck.adapters.frameworks import codes_of
from bncheck.adapters.mode_values import is_constant, reachable, texts_of, value_pair
from bncheck.adapters.modes import Switch
from bncheck.adapters.words import Role, argument_role


def global_switches(*things: Any) -> list[Switch]:
    """Return the flags of modules that the code of functions and classes reads: ``TRAINING``, ``config.train``."""
    found: dict[str, Switch] = {}
    for function in reachable(*things):
        scope = getattr(function, "__globals__", {})
        for code in codes_of(getattr(function, "__code__", None)):
            for name in code.co_names:
                if name not in scope:
                    continue
                value = scope[name]
                if is_constant(name, scope):
                    continue
                if argument_role(name) is Role.MODE and (pair := value_pair(name, value, function)):
                    found.setdefault(name, _held(name, scope, name, pair))
                elif _is_holder(value):
                    found |= {s.said: s for s in _within(name, value, code, function)}
    return list(found.values())


def _is_holder(value: Any) -> bool:
    """Tell what may hold settings: a dict, a module of the user's, an object or a class of his."""
    if isinstance(value, type) and issubclass(value, Enum):
        return False
    if isinstance(value, ModuleType):
        return guard.is_user_file(getattr(value, "__file__", None) or "<frozen>")
    return isinstance(value, dict) or (hasattr(value, "__dict__") and not inspect.isroutine(value))


def _within(name: str, holder: Any, code: CodeType, function: Any) -> Iterator[Switch]:
    """Yield the flags that code reads from an object that holds settings."""
    is_dict = isinstance(holder, dict)
    for inner in [*texts_of(code)] if is_dict else code.co_names:
        if argument_role(inner) is not Role.MODE:
            continue
        value = holder.get(inner) if is_dict else getattr(holder, inner, None)
        pair = value_pair(inner, value, function)
        if pair is not None and (is_dict or _settable(holder, inner, value)):
            yield _held(f"{name}[{inner!r}]" if is_dict else f"{name}.{inner}", holder, inner, pair)


def _settable(holder: Any, name: str, value: Any) -> bool:
    try:
        setattr(holder, name, value)
    except Exception:  # a flag that cannot be set is no switch
        return False
    return True


def _held(said: str, holder: Any, name: str, pair: tuple[Any, Any]) -> Switch:
    def turn(layer: Any, values: dict[str, Any], train: bool) -> None:
        if isinstance(holder, dict):
            holder[name] = pair[not train]
        else:
            setattr(holder, name, pair[not train])

    return Switch(f"global {said}", turn, lasting=True)
