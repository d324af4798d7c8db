"""What is said of a signature in which a Batch Normalization finds no place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bncheck.adapters.plans import Argument, arguments, key_of, spelled
from bncheck.adapters.protocol import ArityError


def refused(name: str, function: Callable[..., Any], expected: str) -> ArityError:
    """Return the error for a signature; its trace tells what each argument was taken for."""
    found = arguments(function)
    told = ["  it does not tell its arguments"] if found is None else [f"  {_told(argument)}" for argument in found]
    trace = (f"  {name}{spelled(function)}", *(f"  {line}" for line in told), "  dropped: no way of calling it")
    return ArityError(f"{name}{spelled(function)}: expected {expected}.", trace)


def _told(argument: Argument) -> str:
    key = argument.role.value if argument.role is not None else key_of(argument)
    need = "is required" if argument.required else "may be left out"
    return f"{argument.name}: {f'reads as {key}' if key else 'reads as nothing known'}; {need}"
