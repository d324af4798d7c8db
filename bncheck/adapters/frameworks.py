"""The array libraries that user code is written in: how their arrays are made and read, and how they differentiate.

Each lives in the file of its adapter and registers itself in :data:`FRAMEWORKS` under the name of its root module; the
library is imported only inside the functions that need it. Sessions speak NumPy arrays; runs of user code hand them
over with `give` and read what comes back with `take`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any, Protocol

import numpy as np

from bncheck.registry import Registry

Pull = Callable[[Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Differential:
    """A pull of a library that differentiates more than once, and forwards. All arrays are NumPy's.

    Attributes
    ----------
    gradients : callable
        Maps dy to the gradients of the inputs.
    second : callable
        ``second(dy, v)`` returns the gradient of ``sum(v * dx)`` with respect to x, the first input.
    tangent : callable
        ``tangent(v)`` returns the derivative of y along v in x, by forward mode.
    alone : callable or None
        ``alone(dy, at)`` returns y and the gradient of the input at that place, from a forward in which no other one is
        wanted; None where a library is not told which are wanted.

    """

    gradients: Pull
    second: Callable[[Any, Any], Any]
    tangent: Callable[[Any], Any]
    alone: Callable[[Any, int], tuple[Any, Any]] | None = None

    def __call__(self, dy: Any) -> tuple[Any, ...]:
        """Return the gradients of the inputs."""
        return self.gradients(dy)


class Framework(Protocol):
    """One array library, on one device."""

    name: str

    def give(self, array: Any) -> Any:
        """Return the library's array of a NumPy array, in its memory layout, sharing its memory where that can be."""

    def take(self, value: Any) -> Any:
        """Return the NumPy array of one of the library's arrays; anything else as it came."""

    def assign(self, own: Any, given: Any) -> None:
        """Write the values of one of the library's arrays into another one of the same shape, in place."""

    def differentiate(self, function: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Any, Pull] | None:
        """Return ``function(*inputs)`` on NumPy inputs, and what maps dy to the gradients of the inputs, all NumPy.

        A gradient that the result does not depend on is None. Return None if the library does not differentiate.
        """


class NumPy:
    """NumPy's own arrays."""

    name = "numpy"

    def give(self, array: Any) -> Any:
        """Return the array itself."""
        return array

    def take(self, value: Any) -> Any:
        """Return the value itself."""
        return value

    def assign(self, own: Any, given: Any) -> None:
        """Write the values of `given` into `own`."""
        own[...] = given

    def differentiate(self, function: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Any, Pull] | None:
        """NumPy does not differentiate."""
        return None


NUMPY = NumPy()
# Factories by root module; each takes the name of a device.
FRAMEWORKS: Registry[Callable[[str], Framework]] = Registry("framework", "bncheck.adapters")


def spoken_by(things: Iterable[Any], device: str) -> list[Framework]:
    """Return the array libraries that the code of functions and classes may want to be spoken to in, likeliest first.

    That is a library whose names the code uses, before NumPy; and one that its module imports, after NumPy.
    """
    names = FRAMEWORKS.names()
    used, nearby = set(), set()
    for function in (f for thing in things for f in functions_of(thing)):
        scope = getattr(function, "__globals__", {})
        nearby |= {_root(value) for value in scope.values() if isinstance(value, ModuleType)}
        used |= {_root(scope.get(name)) for name in _global_names(getattr(function, "__code__", None))}
    first = [name for name in names if name in used]
    last = [name for name in names if name in nearby and name not in used]
    return [*(FRAMEWORKS.get(name)(device) for name in first), NUMPY, *(FRAMEWORKS.get(name)(device) for name in last)]


def _root(value: Any) -> str:
    """Return the root module that a value comes from."""
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return name.split(".")[0] if isinstance(name, str) else ""


def functions_of(thing: Any) -> list[Any]:
    """Return the functions that make up a function or a class, unwrapped."""
    if not inspect.isclass(thing):
        return [inspect.unwrap(getattr(thing, "func", thing))]
    members = [member for base in thing.__mro__[:-1] for member in vars(base).values()]
    plain = [getattr(member, "fget", None) or getattr(member, "__func__", member) for member in members]
    return [inspect.unwrap(member) for member in plain if callable(member)]


def codes_of(code: CodeType | None) -> Iterator[CodeType]:
    """Yield a code object and those of the functions inside it."""
    codes = [code] if code is not None else []
    while codes:
        found = codes.pop()
        yield found
        codes += [constant for constant in found.co_consts if isinstance(constant, CodeType)]


def _global_names(code: CodeType | None) -> set[str]:
    return {name for found in codes_of(code) for name in found.co_names}


def shape_of(value: Any) -> tuple[int, ...] | None:
    """Return the shape of an array of any library, None of what has none."""
    shape = getattr(value, "shape", None)
    # Some object's own "shape" may be a number: it is no array.
    return tuple(shape) if shape is not None and not callable(shape) and hasattr(shape, "__iter__") else None


def is_array(value: Any) -> bool:
    """Tell an array of any library from numbers, lists and what is none."""
    return isinstance(value, np.ndarray) or (shape_of(value) is not None and hasattr(value, "dtype"))
