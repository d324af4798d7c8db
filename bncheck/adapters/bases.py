"""Classes that are there to be derived from: what none of their own objects does, those of the derived classes do."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any


def only_bases(failed: Collection[str], bound: Collection[str], things: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return those of the classes that failed of which others derive that were bound, with the names of these.

    Parameters
    ----------
    failed, bound : collection of str
        The names of candidates, as of ``Norm`` or ``Norm.bn_backward``.
    things : dict
        The functions and classes of their file.

    """
    derived: dict[str, list[str]] = {}
    for name in failed:
        base = things.get(name.partition(".")[0])
        own = [
            other for other in bound if inspect.isclass(base) and _derives(things.get(other.partition(".")[0]), base)
        ]
        if own:
            derived[name] = own
    return derived


def note_of_base(name: str, derived: Collection[str]) -> str:
    """Return what a report says of such a class."""
    verb = "derives" if len(derived) == 1 else "derive"
    return f"{name} is left out: it runs in no way by itself, and {' and '.join(derived)} {verb} from it"


def _owner(name: str, things: Mapping[str, Any]) -> Any:
    return things.get(name.partition(".")[0])


def _derives(thing: Any, base: Any) -> bool:
    return inspect.isclass(thing) and inspect.isclass(base) and thing is not base and issubclass(thing, base)
