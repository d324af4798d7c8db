"""Looking for gamma and beta by what they do: change an array that a layer keeps, and see whether y follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bncheck.adapters.affine import names_in
from bncheck.adapters.frameworks import is_array
from bncheck.adapters.places import Parts, Place, doubtful, put
from bncheck.adapters.trails import Trail
from bncheck.adapters.twins import AFTER, BEFORE
from bncheck.adapters.words import STATISTICS, argument_role


def acts(forward: Callable[[], Any], parts: Parts, place: Place) -> bool:
    """Tell whether y follows a change of what is in a place."""
    before = np.array(forward())
    after = _with(forward, parts, place, place.get() + 1.0)
    return after.shape == before.shape and not np.allclose(before, after)


def acting(forward: Callable[[], Any], parts: Parts, known: set[Trail], channels: Callable[[Any], int]) -> str:
    """Change one array per channel after the other: one that y follows may be a gamma of another name.

    One that holds several values per channel may be gamma and beta together. What a forward computes anew has no
    effect, and running statistics have their own checks. `channels` tells how many values an array has per channel, 0
    where it has none.
    """
    for place in parts.places:
        own = place.get()
        running = argument_role(str(place.trail[-1])) in STATISTICS
        if running or place.trail in known or not is_array(own) or not channels(own):
            continue
        if acts(forward, parts, place):
            return place.spelled
    return ""


def proven(forward: Callable[[], Any], parts: Parts) -> tuple[Trail, ...]:
    """Return the places of a gamma or beta in a state or a cache that y depends on."""
    try:
        return tuple(place.trail for place in doubtful(parts) if acts(forward, parts, place))
    except Exception:  # a forward that wants more than the constructor made says nothing about its state
        return ()


def by_effect(forward: Callable[[], Any], parts: Parts, channels: Callable[[Any], int]) -> dict[str, Trail]:
    """Return where gamma and beta are by what they do, for layers whose names tell of neither; both or nothing.

    Gamma is what starts from ones and y follows in proportion, beta what starts from zeros and is added to y.
    """
    found: dict[str, list[Trail]] = {"gamma": [], "beta": []}
    try:
        before = np.array(forward())
        for place in parts.places:
            own = place.get()
            if argument_role(str(place.trail[-1])) in STATISTICS or not is_array(own) or channels(own) != 1:
                continue
            once, twice = (_with(forward, parts, place, own + by) - before for by in (1.0, 2.0))
            if np.allclose(once, 1.0) and np.all(own == 0):
                found["beta"].append(place.trail)
            elif np.all(own == 1) and not np.allclose(once, 0.0) and np.allclose(twice, 2 * once):
                found["gamma"].append(place.trail)
    except Exception:  # a forward that wants more than the constructor made says nothing
        return {}
    return {key: trails[0] for key, trails in found.items()} if all(len(t) == 1 for t in found.values()) else {}


def _with(forward: Callable[[], Any], parts: Parts, place: Place, value: Any) -> Any:
    """Return y with another value in a place, and put back what was there."""
    own = place.get()
    put(parts, place, value)
    try:
        return np.array(forward())
    finally:
        put(parts, place, own)


def with_effects(parts: Parts, effects: Mapping[str, Trail]) -> Parts:
    """Return what was found in a layer with gamma and beta in the places that are theirs by their effects."""
    for key, trail in effects.items():
        *above, name = map(str, trail)
        twins = _twins(name)
        for place in parts.places:
            *holders, last = map(str, place.trail)
            if place.trail == trail:
                parts.parameters.setdefault(key, place)
            elif holders == above and last in twins:
                parts.gradients.setdefault(f"d{key}", place)
    return parts


def _twins(name: str) -> set[str]:
    return {mark + name for mark in BEFORE} | {name + mark for mark in (*AFTER, "grad")}


def named_after(cls: type, effects: Mapping[str, Trail]) -> bool:
    """Tell whether the code of a class has gradients that are named after these, so that they can be read."""
    spoken = {name for name, _ in names_in((cls,))}
    return all(spoken & _twins(str(trail[-1])) for trail in effects.values())
