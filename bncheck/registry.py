"""One small generic registry: names to things, with an answer that helps when the name is wrong."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from bncheck.errors import UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Things of one kind by name, in order of registration.

    Parameters
    ----------
    kind : str
        What is registered, in the singular, as error messages say it ("check", "reporter").
    package : str
        The package whose modules register things when they are imported. They are imported at the first look-up, so
        that naming a registry costs nothing.

    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._items: dict[str, T] = {}
        self._loaded = False

    def add(self, name: str, item: T) -> T:
        """Register `item` under `name`; raise ValueError if the name is taken."""
        if name in self._items:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._items[name] = item
        return item

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers what it decorates under `name`."""
        return lambda item: self.add(name, item)

    def get(self, name: str) -> T:
        """Return the thing of that name; raise UsageError with the nearest names if there is none."""
        self._load()
        if name not in self._items:
            raise UsageError(f"no {self.kind} is called {name!r}. {did_you_mean(name, self._items)}")
        return self._items[name]

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield (name, thing), sorted by name."""
        self._load()
        yield from sorted(self._items.items())

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return [name for name, _ in self.items()]

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            import_modules(self._package)


def import_modules(package: str) -> None:
    """Import every module of `package`, so that what they register is there."""
    path = importlib.import_module(package).__path__
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")


# What is so much less like a name than the nearest one is was not meant.
_FURTHER = 0.2


def did_you_mean(name: str, known: object, least: float = 0.5) -> str:
    """Return a sentence that names the nearest known names, or all of them when none is near: `least` of it alike."""
    names = [str(n) for n in known]  # type: ignore[attr-defined]
    if near := difflib.get_close_matches(name, names, n=3, cutoff=least):
        alike = [difflib.SequenceMatcher(None, other, name).ratio() for other in near]
        meant = [other for other, ratio in zip(near, alike, strict=True) if ratio > alike[0] - _FURTHER]
        return f"Did you mean {' or '.join(meant)}?"
    return f"Known: {', '.join(sorted(names))}."
