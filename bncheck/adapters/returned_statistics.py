"""Running statistics that a forward hands back, for whoever calls it to hand to the next forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from bncheck.adapters.containers import contents
from bncheck.adapters.words import STATISTICS, Role, argument_role


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
        if (role := argument_role(name)) in STATISTICS:
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
        if role in STATISTICS and value is not None:
            yield role, value


# ------------------------------------------------------------------------------------------- where no name says so

Path = tuple[Any, ...]
_KEYS = tuple(role.value for role in STATISTICS)


def arrays_per_channel(item: Any, size: int, take: Callable[[Any], Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the arrays of so many elements in what was returned, with the keys and indices that lead to them."""
    if isinstance(item, Mapping | tuple | list):
        inner = item.items() if isinstance(item, Mapping) else enumerate(item)
        for key, value in inner:
            yield from arrays_per_channel(value, size, take, (*path, key))
        return
    array = take(item)
    if isinstance(array, np.ndarray) and array.size == size:
        yield path, np.array(array)


def at_path(item: Any, path: Path) -> Any:
    """Return what lies at the end of a path, None if nothing does."""
    for key in path:
        if isinstance(item, Mapping):
            item = item.get(key)
        elif isinstance(item, tuple | list) and isinstance(key, int) and key < len(item):
            item = item[key]
        else:
            return None
    return item


def renewed_statistics(call: Callable[[str], Mapping[Path, Any]]) -> dict[str, Path]:
    """Return where the new running statistics are among what a forward of training returns; nothing if not both are.

    The new mean follows the old one and the batch. What follows neither of the old ones is no average: of two arrays
    side by side, one of which is a statistic, the other is the other one all the same.

    Parameters
    ----------
    call : callable
        Calls the forward with one thing changed ("x", "running_mean", "running_var" or "" for nothing), and returns
        the arrays per channel beside y by their paths.

    """
    base = call("")
    again, batch, *old = (call(key) for key in ("", "x", *_KEYS))

    def moved(other: Mapping[Path, Any]) -> set[Path]:
        return {p for p in base if p not in other or not np.array_equal(base[p], other[p], equal_nan=True)}

    if moved(again):
        return {}
    new = moved(batch)
    mean, var = ([p for p in base if p in new and p in moved(one)] for one in old)
    found = dict.fromkeys(p for p in base if p in mean or p in var)
    if len(found) == 1:
        (one,) = found
        found |= dict.fromkeys(p for p in base if p[:-1] == one[:-1])
    if len(found) != len(_KEYS):
        return {}
    first, second = (p for p in base if p in found)
    # In the order of the arguments, unless both follow what belongs to the other one.
    turned = first not in mean and second not in var
    return dict(zip(_KEYS, (second, first) if turned else (first, second), strict=True))
