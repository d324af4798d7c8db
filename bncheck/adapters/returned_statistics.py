"""Running statistics that a forward hands back, for whoever calls it to hand to the next forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bncheck.adapters.containers import contents
from bncheck.adapters.words import Role, argument_role

_RUNNING = (Role.RUNNING_MEAN, Role.RUNNING_VAR)


def handed_back(
    rest: tuple[Any, ...], place: int, returned: tuple[str | None, ...], held: tuple[str, ...], pairs: Mapping[str, str]
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
    pairs : dict of str
        The arguments that take both statistics in one, and how, by name.

    """
    for at, name in enumerate(returned):
        at -= at > place
        if not name or at >= len(rest):
            continue
        if name in pairs:
            yield from ((Role(part), value) for part, value in contents(pairs[name], rest[at]).items())
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
