"""Classes written like torch.autograd.Function without torch: static methods that are handed a context."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any

from bncheck.adapters.torch_parts import torch_base
from bncheck.adapters.words import words

_CONTEXT = frozenset({"ctx", "context"})
_METHODS = ("forward", "backward")


class Context(SimpleNamespace):
    """What a forward keeps its arrays in for its backward."""

    def save_for_backward(self, *arrays: Any) -> None:
        """Keep arrays."""
        self.saved_tensors = self.saved_values = arrays


def takes_context(cls: Any) -> bool:
    """Tell whether a class has a static forward and backward of which each is handed a context first."""
    if not inspect.isclass(cls) or torch_base(cls, "Function"):
        return False
    return all(
        isinstance(inspect.getattr_static(cls, name, None), staticmethod) and _first(getattr(cls, name))
        for name in _METHODS
    )


def _first(method: Callable[..., Any]) -> bool:
    first = next(iter(inspect.signature(method).parameters), "")
    return bool(_CONTEXT.intersection(words(first)))


def contextual(cls: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the forward of such a class, which returns its context beside y, and its backward, which takes it."""
    forward = cls.forward

    @wraps(forward)
    def with_context(*args: Any, **named: Any) -> tuple[Any, Context]:
        context = Context()
        return forward(context, *args, **named), context

    signature = inspect.signature(forward)
    with_context.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return with_context, cls.backward
