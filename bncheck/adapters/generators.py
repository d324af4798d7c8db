"""Generators: a function that yields y, is sent dy, and yields the gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any


def pulling(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a generator function as one that returns y and its backward, any other function as it is."""
    if not inspect.isgeneratorfunction(function):
        return function

    @wraps(function)
    def forward(*args: Any, **named: Any) -> Any:
        running = function(*args, **named)

        @wraps(function)  # whose source names what it yields
        def backward(dy: Any) -> Any:
            return running.send(dy)

        backward.__signature__ = _ONE  # type: ignore[attr-defined]
        return next(running), backward

    return forward


_ONE = inspect.Signature([inspect.Parameter("dy", inspect.Parameter.POSITIONAL_OR_KEYWORD)])
