"""Arguments that take several values in one: a tuple, a list whose items are changed, or a dict.

The key of a call plan says which: ``(x,gamma,beta)``, ``[running_mean,running_var]``, ``{mean=running_mean,...}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bncheck.adapters.sources import indexed, items_averaged, items_made_of, items_set, keys_of
from bncheck.adapters.words import STATISTICS, argument_role


def parts_of_key(key: str) -> tuple[str, ...]:
    """Return the keys in one that stands for several values, nothing for any other."""
    if key.startswith("{"):
        return tuple(part.partition("=")[2] for part in key[1:-1].split(","))
    return tuple(key[1:-1].split(",")) if key.startswith(("(", "[")) else ()


def packed(key: str, values: Mapping[str, Any]) -> Any:
    """Return the values that such a key stands for, in what the code takes them in."""
    items = [values.get(part) for part in parts_of_key(key)]
    if key.startswith("{"):
        return dict(zip(_names(key), items, strict=True))
    return items if key.startswith("[") else tuple(items)


def contents(key: str, held: Any) -> dict[str, Any]:
    """Return what such a container holds, by the keys of its parts; nothing if it is another one."""
    parts = parts_of_key(key)
    if key.startswith("{"):
        there = isinstance(held, Mapping) and all(name in held for name in _names(key))
        return {part: held[name] for part, name in zip(parts, _names(key), strict=True)} if there else {}
    fits = isinstance(held, tuple | list) and len(held) == len(parts)
    return dict(zip(parts, held, strict=True)) if fits else {}


def changed(keys: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the lists and dicts with these keys hold after a call, by the keys of their parts."""
    return {part: item for key in keys if key[0] in "[{" for part, item in contents(key, values[key]).items()}


def is_statistics(key: str) -> bool:
    """Tell whether a key stands for both running statistics."""
    return set(parts_of_key(key)) == {role.value for role in STATISTICS}


def statistics_key(function: Callable[..., Any], name: str, unpacked: list[str]) -> str | None:
    """Return the key of an argument that is taken apart into a mean and a variance; None for any other."""
    roles = [argument_role(f"running_{inner}") for inner in unpacked]
    if set(roles) != set(STATISTICS):
        return None
    said = ",".join(str(role) for role in roles)
    return f"[{said}]" if items_set(function, name) else f"({said})"


def indexed_statistics(function: Callable[..., Any], name: str) -> str | None:
    """Return the key of an argument that is a list of a mean and a variance, ``running[0] = ... * mu``; else None.

    What is set says which is which. What is set by what it was is an average, and no cache. A third item that is read
    alone is the momentum.
    """
    roles: dict[int, set[Any]] = {}
    for place, names in items_made_of(function, name):
        roles.setdefault(place, set()).update(argument_role(f"running_{one}") for one in names)
    told = {place: found & {*STATISTICS} for place, found in roles.items()}
    if sorted(told) != [0, 1] or any(len(found) != 1 for found in told.values()) or told[0] == told[1]:
        return None
    if not items_averaged(function, name) >= {0, 1}:
        return None
    said = [str(*told[0]), str(*told[1])]
    places = indexed(function, name)
    return f"[{','.join([*said, *(['momentum'] if 2 in places else [])])}]" if places <= {0, 1, 2} else None


def keyed_statistics(function: Callable[..., Any], name: str) -> str | None:
    """Return the key of an argument that is a dict of a mean and a variance, ``running["mean"]``; None for any other.

    A dict whose keys themselves say that the statistics are running ones is a dict of options.
    """
    roles = {key: argument_role(f"running_{key}") for key in keys_of(function, name)}
    if sorted(map(str, roles.values())) != sorted(STATISTICS) or any(argument_role(key) in STATISTICS for key in roles):
        return None
    return f"{{{','.join(f'{key}={role}' for key, role in roles.items())}}}"


def _names(key: str) -> list[str]:
    return [part.partition("=")[0] for part in key[1:-1].split(",")]
