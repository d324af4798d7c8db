"""Looking for gamma and beta by what they do: change an array that a layer keeps, and see whether y follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bncheck.adapters.frameworks import is_array
from bncheck.adapters.places import Parts, Place, doubtful, put
from bncheck.adapters.trails import Trail
from bncheck.adapters.words import Role, argument_role

_RUNNING = (Role.RUNNING_MEAN, Role.RUNNING_VAR)


def acts(forward: Callable[[], Any], parts: Parts, place: Place) -> bool:
    """Tell whether y follows a change of what is in a place."""
    own = place.get()
    before = np.array(forward())
    put(parts, place, own + 1.0)
    try:
        after = np.asarray(forward())
    finally:
        put(parts, place, own)
    return after.shape == before.shape and not np.allclose(before, after)


def acting(forward: Callable[[], Any], parts: Parts, known: set[Trail], channels: Callable[[Any], int]) -> str:
    """Change one array per channel after the other: one that y follows may be a gamma of another name.

    One that holds several values per channel may be gamma and beta together. What a forward computes anew has no
    effect, and running statistics have their own checks. `channels` tells how many values an array has per channel, 0
    where it has none.
    """
    for place in parts.places:
        own = place.get()
        running = argument_role(str(place.trail[-1])) in _RUNNING
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
