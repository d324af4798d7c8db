"""Tensor classes of the user's own: objects that hold an array and a gradient, and know how to go backward.

Such a class is recognised by trying: made of an array it holds it under some name, and it has a method that reads as a
backward. How a gradient is handed to that method (as its argument, set as ``y.grad`` before, or through a loss
``(y * dy).sum()``) is found by trying, too: of a zero gradient every way that works makes zeros.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from bncheck import guard
from bncheck.adapters.frameworks import Pull, functions_of
from bncheck.adapters.plans import arguments
from bncheck.adapters.trails import GRADIENT, VALUE
from bncheck.adapters.words import Kind, clears_gradients, kind, stem, upstream_like, words

_WAYS = ("argument", "argument as tensor", "set before", "set before as tensor", "loss")
_SAID = {
    "argument": "y.{0}(dy)", "argument as tensor": "y.{0}(dy)", "set before": "y.{1} = dy, y.{0}()",
    "set before as tensor": "y.{1} = dy, y.{0}()", "loss": "(y * dy).sum().{0}()",
}  # fmt: skip
_MOST_CLASSES = 60


class Tape:
    """One class of tensors; a framework whose arrays these are.

    `dtype` is the one that they hold whatever they are made of, "" if they hold what they are given.
    """

    name = "numpy"

    def __init__(self, cls: type, value: str, gradient: str, backward: str, dtype: str = "") -> None:
        self.dtype = dtype
        self.cls, self._value, self._gradient, self._backward = cls, value, gradient, backward
        self._named = {"requires_grad": True} if _accepts(cls, "requires_grad") else {}
        self._empty = getattr(cls(np.ones(1), **self._named), gradient, None)
        self._clearing = next((name for name in dir(cls) if clears_gradients(name)), "")
        self.way: str | None = None
        self.said = f"{cls.__name__} objects"

    def give(self, array: Any) -> Any:
        """Return a tensor of an array."""
        return array if isinstance(array, self.cls) else self.cls(array, **self._named)

    def give_statistics(self, array: Any) -> Any:
        """Return running statistics as they are kept: bare arrays, which need no gradient."""
        return array

    def take(self, value: Any) -> Any:
        """Return the array that a tensor holds; anything else as it came."""
        while isinstance(value, self.cls):
            value = getattr(value, self._value)
        return value

    def assign(self, own: Any, given: Any) -> None:
        """Write the values of `given` into `own`."""
        self.take(own)[...] = self.take(given)

    def put(self, tensor: Any, array: Any) -> None:
        """Let a tensor hold another array."""
        setattr(tensor, self._value, array)

    def differentiate(self, function: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Any, Pull] | None:
        """Gradients are left in the tensors."""
        return None

    def gradient(self, tensor: Any) -> Any:
        """Return the gradient that a tensor holds, as an array; None if it has none."""
        return self.take(getattr(tensor, self._gradient, None))

    def clear(self, tensor: Any) -> None:
        """Set the gradient of a tensor to what a fresh one has; one that refuses that is cleared, or given zeros."""
        zeros = np.zeros_like(self.take(tensor))
        try:
            setattr(tensor, self._gradient, None if self._empty is None else zeros)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            if self._clearing:
                getattr(tensor, self._clearing)()
            else:
                setattr(tensor, self._gradient, self.give(zeros))

    def back(self, y: Any, dy: Any, way: str) -> None:
        """Go backward from y with an upstream gradient."""
        method = getattr(y, self._backward)
        if way.startswith("argument"):
            method(self.give(dy) if way.endswith("tensor") else dy)
        elif way.startswith("set"):
            setattr(y, self._gradient, self.give(dy) if way.endswith("tensor") else dy)
            method()
        else:
            product = y * self.give(dy)
            total = product.sum() if hasattr(product, "sum") else product
            getattr(total, self._backward)()

    def ways(self) -> list[str]:
        """Return how a gradient may be handed over, likeliest first, by the signature of backward."""
        found = arguments(getattr(self.cls(np.ones(1), **self._named), self._backward))
        takes = found is not None and any(upstream_like(a.name) or a.required for a in found[:1])
        return list(_WAYS if takes or found is None else [w for w in _WAYS if not w.startswith("argument")])

    def spelled(self) -> str:
        """Return in words how backward is called."""
        return _SAID[self.way or "argument"].format(self._backward, self._gradient)


def tapes_in(things: Iterable[Any], module: ModuleType | None = None) -> list[Tape]:
    """Return the tensor classes that functions and classes, and their module, have at hand."""
    found: dict[type, Tape] = {}
    for cls in _classes(things, module):
        if cls not in found and not any(issubclass(cls, known) for known in found):
            tape = _tape_of(cls)
            if tape is not None:
                found = {c: t for c, t in found.items() if not issubclass(c, cls)} | {cls: tape}
    return list(found.values())


def _classes(things: Iterable[Any], module: ModuleType | None) -> Iterator[type]:
    """Yield the classes in files of the user's own that code may speak to."""
    scopes = [vars(module)] if module is not None else []
    scopes += [getattr(f, "__globals__", {}) for thing in things for f in functions_of(thing)]
    seen: dict[int, type] = {}
    for scope in {id(scope): scope for scope in scopes}.values():
        for value in list(scope.values()):
            inner = vars(value).values() if isinstance(value, ModuleType) and _is_own(value) else (value,)
            seen |= {id(cls): cls for cls in inner if inspect.isclass(cls)}
    for cls in list(seen.values())[:_MOST_CLASSES]:
        if _is_own(sys.modules.get(cls.__module__)) and kind(cls.__name__) is not Kind.BN:
            yield cls


def _is_own(module: ModuleType | None) -> bool:
    return guard.is_user_file(getattr(module, "__file__", None) or "<frozen>")


def _tape_of(cls: type) -> Tape | None:
    """Return the tape of a class whose objects hold an array, a gradient and a way back; None for any other."""
    backwards = [
        n for base in cls.__mro__[:-1] for n, f in vars(base).items() if inspect.isfunction(f) and _goes_back(n)
    ]
    if not backwards:
        return None
    array = np.arange(6.0).reshape(2, 3)
    try:
        tensor = cls(array.copy(), **({"requires_grad": True} if _accepts(cls, "requires_grad") else {}))
        names = [*getattr(tensor, "__dict__", ()), *_slots(cls)]
        held = [n for n in names if np.array_equal(_array(getattr(tensor, n, None)), array)]
        value = next((n for n in held if set(words(n)) & VALUE), held[0] if held else None)
        gradients = [n for n in [*names, *_properties(cls)] if set(words(n)) & GRADIENT and n != value]
        if value is None or not gradients:
            return None
        dtype = _array(getattr(tensor, value)).dtype
        return Tape(
            cls, value, min(gradients, key=len), min(backwards, key=len), "" if dtype == array.dtype else dtype.name
        )
    except KeyboardInterrupt:
        raise
    except BaseException:  # a class of anyone, made from a number: whatever it raises, it is no tape
        return None


def _goes_back(name: str) -> bool:
    return not name.startswith("_") and stem(name).direction == "backward" and not set(words(name)) & {"grad", "zero"}


def _array(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else None


def _slots(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        yield from [slots] if isinstance(slots, str) else slots


def _properties(cls: type) -> list[str]:
    return [name for base in cls.__mro__ for name, thing in vars(base).items() if isinstance(thing, property)]


def _accepts(cls: type, name: str) -> bool:
    try:
        return name in inspect.signature(cls).parameters
    except (TypeError, ValueError):
        return False
