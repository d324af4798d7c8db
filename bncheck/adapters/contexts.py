"""Classes written like torch.autograd.Function without torch: static methods that are handed a context."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import wraps
from types import SimpleNamespace
from typing import Any

from bncheck.adapters.sources import attributes_of
from bncheck.adapters.torch_parts import torch_base
from bncheck.adapters.words import words

_CONTEXT = frozenset({"ctx", "context"})
_METHODS = ("forward", "backward")
_SAVE = "save_for_backward"
# What the name of an attribute says that holds what was saved, where that is no slip of torch's own name for it.
_SAVED = frozenset("saved save stored tensor tensors values arrays data cache".split())
_OF_TORCH, _SLIP = ("saved_tensors", "saved_values"), 0.85


class Context(SimpleNamespace):
    """What a forward keeps its arrays in for its backward, where the code has no class for that.

    `_names` are other names by which the backward asks for what was saved, and which say so.
    """

    def save_for_backward(self, *arrays: Any) -> None:
        """Keep arrays."""
        self.saved_tensors = self.saved_values = arrays
        for name in getattr(self, "_names", ()):
            setattr(self, name, arrays)


def takes_context(cls: Any) -> bool:
    """Tell whether a class has a static forward and backward of which each is handed a context first."""
    if not inspect.isclass(cls) or torch_base(cls, "Function"):
        return False
    return all(
        isinstance(inspect.getattr_static(cls, name, None), staticmethod) and _first(getattr(cls, name))
        for name in _METHODS
    )


def _first(method: Callable[..., Any]) -> bool:
    return bool(_CONTEXT.intersection(words(_name_of_first(method))))


def _name_of_first(method: Callable[..., Any]) -> str:
    return next(iter(inspect.signature(method).parameters), "")


def contextual(cls: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the forward of such a class, which returns its context beside y, and its backward, which takes it."""
    forward, classes = cls.forward, list(_classes(cls))

    @wraps(forward)
    def with_context(*args: Any, **named: Any) -> tuple[Any, Any]:
        context = _context(cls, classes, args)
        return forward(context, *args, **named), context

    signature = inspect.signature(forward)
    with_context.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return with_context, cls.backward


def _context(cls: Any, classes: list[Any], given: tuple[Any, ...]) -> Any:
    """Return a fresh context: an object of the class that the code has for it, else one of bncheck's own."""
    context = next(_made(classes, given), None)
    if context is None:
        asked, kept = (attributes_of(method, _name_of_first(method)) for method in (cls.backward, cls.forward))
        context = Context(_names=[name for name in asked if name not in kept and _says_saved(name)])
    try:
        if not hasattr(context, "needs_input_grad"):
            context.needs_input_grad = (True,) * len(given)
    except AttributeError:  # a class with slots of its own
        pass
    return context


def _says_saved(name: str) -> bool:
    return bool(_SAVED.intersection(words(name))) and not get_close_matches(name, _OF_TORCH, cutoff=_SLIP)


def _made(classes: list[Any], given: tuple[Any, ...]) -> Iterator[Any]:
    """Yield objects of the classes that may be the context's, made of nothing or of what the forward is given."""
    for kept_in in classes:
        for args in ((), given):
            try:
                context = kept_in(*args)
            except Exception:  # it is made in another way, which only its caller knows
                continue
            yield context


def _classes(cls: Any) -> Iterator[Any]:
    """Yield the classes with a method that saves for the backward: the op's own, then those that its code can see."""
    around = getattr(inspect.unwrap(cls.forward), "__globals__", {})
    said = next(iter(inspect.signature(cls.forward).parameters.values())).annotation
    said = around.get(said) if isinstance(said, str) else said
    behind = [vars(sys.modules[base.__module__]) for base in cls.__mro__[1:-1] if base.__module__ in sys.modules]
    seen = [thing for names in (around, *behind) for thing in [*names.values()] if inspect.isclass(thing)]
    for thing in (said, cls, *(other for other in seen if not issubclass(other, cls) and not takes_context(other))):
        own = inspect.isclass(thing) and thing.__module__.partition(".")[0] not in ("torch", "bncheck")
        if own and inspect.isfunction(inspect.getattr_static(thing, _SAVE, None)):
            yield thing
