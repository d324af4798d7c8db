"""Where a layer keeps gamma, beta and their gradients: attributes, entries of dicts and lists, objects with .data.

A layer is walked from its attributes downward. Every number or array on the way is a place, and the names on its trail
(``params``, ``gamma``, ``data``) say whose it is; in lists, where no name does, the position does. An array of two rows
that is called parameters is a list of two.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from bncheck.adapters.frameworks import is_array
from bncheck.adapters.leaves import is_leaf, is_own_array, is_plain_object
from bncheck.adapters.results import attribute_names
from bncheck.adapters.trails import (
    FILLER,
    GRADIENT,
    GRADIENTS,
    PARAMETERS,
    VALUE,
    Trail,
    all_in_one,
    is_foreign,
    is_gradients,
    is_parameters,
    lists_parameters,
)  # fmt: skip
from bncheck.adapters.twins import twins_in
from bncheck.adapters.words import Role, argument_role, clarity, gradient_name, words

_DEPTH = 3  # self.params["gamma"].data
_LONGEST = 16  # a list of more entries holds data, not parameters
_METHODS = GRADIENTS | PARAMETERS
_ORDER = ("gamma", "beta")


class Place(NamedTuple):
    """One number or array in a layer: what holds it, under which key, the names that lead there; or one row of it."""

    holder: Any
    key: Any
    trail: Trail
    row: int | None = None

    def get(self) -> Any:
        """Return what is there now."""
        if isinstance(self.holder, Mapping | list | tuple):
            value = self.holder[self.key]
        else:
            value = getattr(self.holder, self.key, None)
        return value if self.row is None or value is None else value[self.row]

    def put(self, value: Any) -> None:
        """Put something else there; a tuple or a property without a setter stays as it is."""
        try:
            if self.row is not None:
                whole = self._replace(row=None)
                if whole.get().dtype != value.dtype:
                    whole.put(whole.get().astype(value.dtype))
                self.get()[...] = value
            elif isinstance(self.holder, dict | list):
                self.holder[self.key] = value
            elif not isinstance(self.holder, Mapping | tuple):
                setattr(self.holder, self.key, value)
        except (AttributeError, TypeError):
            pass  # a holder that cannot be written to keeps what it has

    @property
    def spelled(self) -> str:
        """Return the place as the source would have it: ``params['gamma']``, ``gamma.data``, ``params[0]``."""
        first, *rest = self.trail
        inner = [f".{p}" if p in VALUE | GRADIENT else f"[{p!r}]" for p in rest]
        if rest:
            keyed = self.row is not None or isinstance(self.holder, Mapping | list | tuple)
            inner[-1] = f"[{rest[-1]!r}]" if keyed else f".{rest[-1]}"
        return f"{first}{''.join(inner)}"


class Parts(NamedTuple):
    """What was found in a layer: the places of gamma and beta, those of their gradients, and every place."""

    parameters: dict[str, Place]
    gradients: dict[str, Place]
    places: list[Place]


def parts_of(
    layer: Any,
    given: Mapping[str, Any] | None = None,
    proven: Collection[Trail] = (),
    known: Mapping[str, Place] | None = None,
    channels: int = 0,
) -> Parts:
    """Return where a layer keeps gamma, beta and their gradients; names decide, and positions where there are none.

    `given` holds the arrays that stand for gamma and beta, once the layer has them: in a list of gradients the order is
    that of the list which holds these. `proven` are trails that were seen to be those of parameters, though what holds
    them is called otherwise, and `known` the places where gamma and beta were put. Where one array of two rows of
    `channels` is all that is called like a parameter, both are in it.
    """
    places = list(_places(layer))
    trails, bare = tuple(place.trail for place in places), tuple(map(_bare, places))
    named = _by_name(trails, bare, (*proven,))
    parameters, gradients = ({of: places[at] for of, at in found.items()} for found in named)
    if len(parameters) == 1 and _in_two_rows(next(iter(parameters.values())), channels):
        return _packed(parameters, gradients, places, known or {})
    if not parameters:
        places += [row for place in places for row in _rows(place)]
    positions = [(place, *found) for place in places if (found := _position(place)) is not None]
    listed = [(place, own) for place, name, own, gradient in positions if not gradient and lists_parameters(name)]
    if len(parameters) < len(_ORDER):
        for key, place in zip(_ORDER, _ordered([place for place, _ in listed]), strict=False):
            parameters.setdefault(key, place)
    for position, key in enumerate(_ORDER):
        value = (given or {}).get(key)
        index: int | None = next((own for p, own in listed if value is not None and p.get() is value), position)
        if known and key in known and known[key].row is not None:
            index = known[key].row
        for place, name, own, gradient in positions:
            if own == index and (gradient or is_gradients(name)):
                gradients.setdefault(f"d{key}", place)
    return Parts(parameters, gradients, places)


def doubtful(parts: Parts) -> list[Place]:
    """Return the places that are called gamma or beta, in what is called a state or a cache: it may hold copies."""
    found = []
    for place in parts.places:
        *above, name = _bare(place)[0]
        role = argument_role(name) if isinstance(name, str) and gradient_name(name) is None else None
        if role in (Role.GAMMA, Role.BETA) and role.value not in parts.parameters and any(map(all_in_one, above)):
            found.append(place)
    return found


def put(parts: Parts, place: Place, value: Any) -> None:
    """Put a value in a place, and wherever else the very same array is kept."""
    old = place.get()
    place.put(value)
    if is_array(old):
        for other in parts.places:
            if other.get() is old:
                other.put(value)


# ----------------------------------------------------------------------------------------------------- walking a layer


def _places(layer: Any) -> Iterator[Place]:
    seen = {id(layer)}
    # What is kept under two names is known by the telling one: ``grads`` before ``cached_grad``.
    for name in sorted(dict.fromkeys(attribute_names(layer)), key=lambda name: not is_gradients(name)):
        yield from _below(layer, name, (name,), seen)
    for name in _listing_methods(type(layer)):  # type: ignore[arg-type]  # classes are hashable
        try:
            listed = getattr(layer, name)()
        except Exception:  # a method of that name that wants something else lists nothing
            continue
        yield from _within(list(listed) if inspect.isgenerator(listed) else listed, (f"{name}()",), seen)


@lru_cache(maxsize=256)
def _listing_methods(cls: type) -> list[str]:
    """Return the methods that list parameters or gradients by their names: ``params()``, ``get_gradients()``."""
    names = []
    for base in cls.__mro__[:-1]:
        for name, thing in vars(base).items():
            said = set(words(name)) - FILLER
            if inspect.isfunction(thing) and said and said <= _METHODS and thing.__code__.co_argcount == 1:
                names.append(name)
    return list(dict.fromkeys(names))


def _below(holder: Any, key: Any, trail: Trail, seen: set[int]) -> Iterator[Place]:
    """Yield the place at a key of a holder, or those within what is there."""
    place = Place(holder, key, trail)
    try:
        value = place.get()
    except Exception:  # a property that needs a forward first
        return
    if is_leaf(value):
        yield place
        if is_own_array(value):
            for name in (n for n in vars(value) if n in GRADIENT or is_gradients(n)):
                yield from _below(value, name, (*trail, name), seen)
    elif len(trail) <= _DEPTH:
        yield from _within(value, trail, seen)


def _within(value: Any, trail: Trail, seen: set[int]) -> Iterator[Place]:
    if id(value) in seen:
        return
    if isinstance(value, Mapping):
        keys: Iterable[Any] = [key for key in value if isinstance(key, str)]
    elif isinstance(value, list | tuple):
        keys = range(len(value)) if len(value) <= _LONGEST else ()
    elif is_plain_object(value):
        keys = [*vars(value)] if hasattr(value, "__dict__") else attribute_names(value)
    else:
        return
    if not isinstance(value, tuple) and not str(trail[0]).endswith("()"):
        seen.add(id(value))
    for key in keys:
        yield from _below(value, key, (*trail, key), seen)


# ---------------------------------------------------------------------------------------------------- reading the trail


def _beside(place: Place, name: str) -> bool:
    """Tell whether what holds a place has another one of that name."""
    return name in (place.holder if isinstance(place.holder, Mapping) else attribute_names(place.holder))


def _bare(place: Place) -> tuple[Trail, bool]:
    """Return a trail without a last ``.data`` or ``.grad``, and whether that said "gradient".

    An object that is called gamma, or stands in a list, may hold its value as ``.params`` and its gradient as
    ``.grads``. A ``g`` beside a ``b`` is a gamma.
    """
    trail = place.trail
    if len(trail) == 1 or (trail[-1] == "g" and _beside(place, "b")):
        return trail, False
    return _stripped(trail)


# Trails are read at every step of a layer, and are always the same few: what was read is kept.
@lru_cache(maxsize=4096)
def _stripped(trail: Trail) -> tuple[Trail, bool]:
    above, last = trail[:-1], trail[-1]
    held = isinstance(above[-1], int) or argument_role(above[-1]) in (Role.GAMMA, Role.BETA)
    if last in VALUE or (held and is_parameters(last)):
        return above, False
    if (last in GRADIENT and not is_gradients(above[-1])) or (held and is_gradients(last)):
        return above, True
    return trail, False


@lru_cache(maxsize=1024)
def _by_name(
    trails: tuple[Trail, ...], bare: tuple[tuple[Trail, bool], ...], proven: tuple[Trail, ...]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return which places have names that say gamma or beta, and which have names that say their gradients.

    `bare` are the trails without what :func:`_bare` takes off.
    """
    best: dict[str, tuple[int, int, int]] = {}
    doubted: dict[str, int] = {}
    named: dict[str, set[str]] = {"gamma": set(), "beta": set()}
    twin = twins_in(trails, [trail for trail in trails if not any(map(is_foreign, trail[:-1]))])
    for at, (trail, gradient) in enumerate(bare):
        *above, name = trail
        if isinstance(name, int):
            continue
        foreign = [part for part in above if is_foreign(part) and part not in twin.values()]
        if foreign and trails[at] not in proven:
            marked = gradient_name(name) if all(map(all_in_one, foreign)) else None
            if marked is not None:
                doubted.setdefault(marked.of, at)
            continue
        gradient = gradient or any(is_gradients(part) or part in twin for part in above)
        read = gradient_name(name, marked=not gradient)
        role = None if read else argument_role(name)
        if read is not None:
            of, how = read
        elif role in (Role.GAMMA, Role.BETA):
            of, how = role.value, clarity(name)
        else:
            continue
        rank = (how, -len(trails[at]))
        named.get(of, set()).add(str(name).strip("_").lower())
        if of not in best or rank > best[of][:2]:
            best[of] = (*rank, at)
    # Beside a W that is not the gamma, dW belongs to W.
    for key in named:
        if key in best and f"d{key}" in best and best[f"d{key}"][0] < best[key][0]:
            said = str(trails[best[f"d{key}"][2]][-1]).strip("_").lower()
            if any(said.endswith(name) for name in named[key]):
                del best[f"d{key}"]
    found = doubted | {of: at for of, (_, _, at) in best.items()}
    gradients = ("dx", "dgamma", "dbeta")
    return {of: found[of] for of in _ORDER if of in found}, {of: found[of] for of in gradients if of in found}


def _position(place: Place) -> tuple[str | int, int, bool] | None:
    """Return the name of the list that a trail goes through, the index in it, and whether ``.grad`` follows."""
    bare, gradient = _bare(place)
    if len(bare) > 1 and isinstance(bare[-1], int):
        return bare[-2], bare[-1], gradient
    return None


def _rows(place: Place) -> list[Place]:
    """Return the two rows of an array that is called parameters or gradients, nothing for any other."""
    name, value = place.trail[-1], place.get()
    if not (is_parameters(name) or is_gradients(name)) or not isinstance(value, np.ndarray):
        return []
    two = value.ndim > 1 and len(value) == len(_ORDER)
    return [place._replace(trail=(*place.trail, row), row=row) for row in range(len(_ORDER)) if two]


def _in_two_rows(place: Place, channels: int) -> bool:
    value = place.get()
    return isinstance(value, np.ndarray) and value.ndim == 2 and value.shape == (len(_ORDER), channels)


def _packed(
    parameters: dict[str, Place], gradients: dict[str, Place], places: list[Place], known: Mapping[str, Place]
) -> Parts:
    """Return gamma and beta as the rows of the one array that is called like either, and their gradients likewise."""

    def rows(place: Place) -> list[Place]:
        return [place._replace(trail=(*place.trail, row), row=row) for row in range(len(_ORDER))]

    ((key, whole),) = parameters.items()
    found = dict(zip(_ORDER, _ordered(rows(whole)), strict=True))
    found |= {of: place for of, place in known.items() if place.row is not None}
    both = gradients.pop(f"d{key}", None)
    if both is not None:
        gradients |= {f"d{of}": rows(both)[place.row or 0] for of, place in found.items()}
    return Parts(found, gradients, places)


def _ordered(listed: list[Place]) -> list[Place]:
    """Return gamma's place and beta's: the first two of a list, swapped if only the first is made of zeros."""
    listed = [place for place in listed if place.trail[0] == listed[0].trail[0]][:2]
    zero = [place.get() is not None and not np.any(place.get()) for place in listed]
    return listed[::-1] if zero == [True, False] else listed
