"""Gradients of code that keeps none: an optimizer that records what it is given, and parameters before and after.

Code that updates its parameters inside backward is given a learning rate of bncheck's own, or an optimizer that
answers to any name and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bncheck.adapters.frameworks import is_array
from bncheck.adapters.words import Role, argument_role, aside, gradient_name, words

_EXPONENTS = {"float64": 60, "float32": 40, "float16": 6}
# Attributes of an optimizer that are numbers and not methods.
_NUMBERS = frozenset("lr rate alpha eta decay momentum beta beta1 beta2 eps epsilon rho t iterations weight".split())


class Note(NamedTuple):
    """What one call was given: a name, two arrays (the second None if it was one), and their values at that time."""

    name: str
    one: Any
    other: Any
    value: Any
    other_value: Any


@cache
def learning_rate(dtype: Any) -> float:
    """Return the learning rate for code that updates its parameters inside backward.

    A power of two, so that ``lr * g`` is exact. What is left is the rounding of ``p - lr * g``: at most
    ``u (|p| + lr |g|)``, and in ``g = (before - after) / lr`` twice ``u (|p| / lr + |g|)``. With lr far above any
    parameter's size the first term vanishes beside the second, which is no more than one rounding of g itself.
    """
    return 2.0 ** _EXPONENTS.get(str(np.dtype(dtype)), 0)


class Recorder:
    """An optimizer of any name: notes the parameters and gradients that it is given, and leaves them as they are.

    Copies of it share one record. ``update(w, grad)``, ``step(...)``, a plain call and any other method return the
    parameter unchanged; given a gradient alone they return it, so that the parameter that it is taken from shows whose
    it is.
    """

    def __init__(self, notes: list[Note] | None = None, rate: float = 1.0) -> None:
        self.notes: list[Note] = [] if notes is None else notes
        self._rate = rate

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Note a call; without arrays it is a class being instantiated."""
        found = [list(item) if isinstance(item, Iterator) else item for item in (*args, *named.values())]
        if not any(_holds_arrays(item) for item in found):
            return self
        return self._note(found)

    def __getattr__(self, name: str) -> Any:
        """Return a number for what reads as one, else a method that notes its calls."""
        if name.startswith("__"):
            raise AttributeError(name)
        if aside(name) == "lr":
            return self._rate
        if set(words(name)) & _NUMBERS:
            return 0.0
        return self

    def __copy__(self) -> Recorder:
        """Return one that shares the record."""
        return Recorder(self.notes, self._rate)

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorder:
        """Return one that shares the record."""
        return Recorder(self.notes, self._rate)

    def _note(self, found: list[Any]) -> Any:
        name = next((item for item in found if isinstance(item, str)), "")
        for label, pair in _pairs(name, [item for item in found if not isinstance(item, str | bool | int | float)]):
            self.notes.append(Note(label, *pair, *map(_copied, pair)))
        held = [item for item in found if is_array(item) or isinstance(item, Mapping | list | tuple)]
        return held[0].copy() if len(held) == 1 and is_array(held[0]) else held[0]


def _holds_arrays(item: Any) -> bool:
    """Tell an array, or a collection of such, from a number and from a shape: ``Update(optimizer, gamma.shape)``."""
    is_shape = isinstance(item, list | tuple) and bool(item) and all(isinstance(size, int) for size in item)
    return is_array(item) or (isinstance(item, Mapping | list | tuple) and not is_shape)


def _pairs(name: str, items: list[Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Yield (name, two arrays) of what one call was given, the second None if it was one; lists are taken apart."""
    arrays = [item for item in items if is_array(item)]
    if arrays:
        first, *rest = arrays
        yield name, (first, rest[0]) if rest else (first, None)
        return
    held = [item for item in items if isinstance(item, Mapping | list | tuple)]
    if len(held) == 1 and isinstance(held[0], list | tuple):
        for inner in held[0]:
            yield from _pairs(name, list(inner) if isinstance(inner, list | tuple) else [inner])
    elif len(held) == 1 and isinstance(held[0], Mapping):
        for key, value in held[0].items():
            yield from _pairs(str(key), [value])
    elif held and isinstance(held[0], Mapping) and isinstance(held[1], Mapping):
        for key, value in held[1].items():
            yield from _pairs(str(key), [held[0].get(key), value])
    elif held:
        for two in zip(held[0], held[1], strict=False):
            yield from _pairs(name, list(two))


class Ledger:
    """Gamma and beta before a backward, to recover their gradients from what became of them, and to put them back."""

    def __init__(self, places: Mapping[str, Any], recorder: Recorder | None, rate: float) -> None:
        self._places, self._recorder, self._rate = places, recorder, rate
        self._before = {key: (place.get(), _copied(place.get())) for key, place in places.items()}
        self._first = len(recorder.notes) if recorder is not None else 0
        self.changed = False

    def gradients(self) -> dict[str, tuple[Any, str]]:
        """Return (gradient, where it was found) by "dgamma" and "dbeta", as far as they can be told."""
        notes = self._recorder.notes[self._first :] if self._recorder is not None else []
        changed = {key: change for key in self._places if (change := self._change(key)) is not None}
        found: dict[str, tuple[Any, str]] = {}
        for note in notes:
            key, gradient = self._owner(note, changed)
            if key is not None:
                found.setdefault(f"d{key}", (gradient, "what an optimizer is given"))
        if not found and len(notes) == len(self._places):  # nothing says whose they are: gamma comes first
            last = [note.value if note.other is None else note.other_value for note in notes]
            found = {f"d{k}": (g, "what an optimizer is given") for k, g in zip(self._places, last, strict=True)}
        if not notes:
            self.changed = bool(changed)
            found = {f"d{k}": (v / self._rate, f"the change of {k} over the rate") for k, v in changed.items()}
        return found

    def unchanged(self) -> dict[str, tuple[Any, str]]:
        """Return gradients of zero for parameters that are what they were, of code that was seen to change them."""
        still = [key for key in self._places if self._change(key) is None]
        return {f"d{k}": (np.zeros_like(self._before[k][1]), f"the change of {k} over the rate") for k in still}

    def restore(self) -> None:
        """Put gamma and beta back, into the very arrays that they were in."""
        for key, place in self._places.items():
            held, values = self._before[key]
            if isinstance(held, np.ndarray) and held.flags.writeable and not np.array_equal(held, values):
                held[...] = values
            if place.get() is not held:
                place.put(held)

    def _change(self, key: str) -> Any:
        """Return how much a parameter has gone down, None if it is what it was."""
        before, now = self._before[key][1], self._places[key].get()
        if not (is_array(before) and is_array(now)) or before.shape != now.shape or np.array_equal(before, now):
            return None
        return before - now

    def _owner(self, note: Note, changed: Mapping[str, Any]) -> tuple[str | None, Any]:
        """Return whose gradient an optimizer was given, and the gradient.

        The name that it was given says so, or the array beside the gradient, or its values, or what changed.
        """
        name, one, other, value, other_value = note
        for parameter, gradient in ((one, other_value), (other, value)) if other is not None else ():
            key = self._key_of(parameter)
            if key is not None:
                return key, gradient
        gradient = value if other is None else other_value
        read = gradient_name(name, marked=False) if name else None
        if read is not None and read.of != "dx":
            return read.of[1:], gradient
        if argument_role(name) in (Role.GAMMA, Role.BETA):
            return str(argument_role(name)), gradient
        alike = [key for key, change in changed.items() if _are_alike(change, gradient)]
        return (alike[0] if alike else None), gradient

    def _key_of(self, array: Any) -> str | None:
        """Return which parameter an array is: the very one, or one of its values."""
        for key, (held, _) in self._before.items():
            if array is held or array is self._places[key].get():
                return key
        return next((k for k, (_, values) in self._before.items() if _same(array, values)), None)


def _same(one: Any, other: Any) -> bool:
    return bool(np.shape(one) == np.shape(other) and np.array_equal(one, other))


def _are_alike(change: Any, gradient: Any) -> bool:
    """Tell whether a parameter changed by its gradient, up or down."""
    return bool(np.size(change) == np.size(gradient)) and np.allclose(
        np.abs(np.ravel(change)), np.abs(np.ravel(gradient))
    )


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value
