"""Running statistics that a forward hands back inside its cache, for whoever calls it to hand to the next forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bncheck.adapters.words import Role, argument_role

_RUNNING = (Role.RUNNING_MEAN, Role.RUNNING_VAR)


def statistics_inside(rest: tuple[Any, ...], held: tuple[str, ...]) -> Iterator[tuple[Role, Any]]:
    """Yield the running statistics in the dicts that a forward returned beside y, and in the one tuple, by role.

    `held` are the names in that tuple, as the source has them.
    """
    found: list[tuple[Any, Any]] = [pair for item in rest if isinstance(item, Mapping) for pair in item.items()]
    inner = rest[0] if len(rest) == 1 else None
    if isinstance(inner, tuple | list) and len(inner) == len(held):
        found += zip(held, inner, strict=True)
    for name, value in found:
        role = argument_role(name) if isinstance(name, str) and name else None
        if role in _RUNNING and value is not None:
            yield role, value


def is_pair(value: Any) -> bool:
    """Tell a returned pair of statistics from a cache of that name."""
    return isinstance(value, tuple | list) and len(value) == len(_RUNNING)
