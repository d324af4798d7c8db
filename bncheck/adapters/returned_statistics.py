"""Running statistics that a forward hands back, for whoever calls it to hand to the next forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bncheck.adapters.words import Role, argument_role

_RUNNING = (Role.RUNNING_MEAN, Role.RUNNING_VAR)


def handed_back(
    rest: tuple[Any, ...], place: int, returned: tuple[str | None, ...], held: tuple[str, ...], pairs: list[str]
) -> Iterator[tuple[Role, Any]]:
    """Yield the running statistics that a forward returned beside y, by role.

    Parameters
    ----------
    rest : tuple
        What it returned beside y.
    place : int
        Where y stands among all that it returned.
    returned, held : tuple of str
        The names in its return statement, and in the tuple there, as the source has them.
    pairs : list of str
        The arguments that take both statistics in a tuple.

    """
    for at, name in enumerate(returned):
        at -= at > place
        if not name or at >= len(rest):
            continue
        if name in pairs and is_pair(rest[at]):
            yield from zip(_RUNNING, rest[at], strict=True)
        if (role := argument_role(name)) in _RUNNING:
            yield role, rest[at]
    yield from statistics_inside(rest, held)


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
