"""A class of its own for inference: ``class InferenceBatchNorm(TrainBatchNorm)``, or one beside it with the same base.

A layer that trained becomes one of that class, and keeps what it has. That this is its eval mode numbers prove
(:mod:`bncheck.adapters.mode_proof`); where it is only said by its name, the class is left alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from bncheck.adapters.inference import INFERRING
from bncheck.adapters.modes import Switch
from bncheck.adapters.words import words

_PREFIX = "class "


def inferring_switches(layer: Any, forward: str) -> list[Switch]:
    """Return the switches that make a layer one of a class with another forward, derived from its own or beside it."""
    own = type(layer)
    return [_switch(own, other) for other in _kin(own) if getattr(other, forward, None) is not getattr(own, forward)]


def _kin(own: type) -> Iterator[type]:
    """Yield the classes that derive from a class, then those that share a base with it, and are named for inference."""
    derived = list(_derived(own))
    yield from derived
    for base in _bases(own):
        others = [cls for cls in _derived(base) if cls not in (own, *derived)]
        yield from filter(_says_inference, others)


def _derived(cls: type) -> Iterator[type]:
    found: list[type] = type.__subclasses__(cls)
    for one in found:
        if one.__module__ == cls.__module__:
            yield one
            yield from _derived(one)


def _bases(cls: type) -> list[type]:
    """Return the bases of a class that its own module defines."""
    return [base for base in cls.__mro__[1:] if base.__module__ == cls.__module__]


def _switch(own: type, other: type) -> Switch:
    def turn(layer: Any, values: dict[str, Any], train: bool) -> None:
        layer.__class__ = own if train else other

    return Switch(f"{_PREFIX}{other.__name__}", turn)


def class_named(said: str) -> str:
    """Return the class that a switch in words makes a layer one of, "" for another switch."""
    return said.removeprefix(_PREFIX) if said.startswith(_PREFIX) else ""


def _says_inference(cls: type) -> bool:
    return bool(INFERRING.intersection(words(cls.__name__)))


def named_for_inference(name: str, things: Mapping[str, Any], beside: set[str]) -> bool:
    """Tell whether a class is named for the inference of another one of `beside`, by what both derive from."""
    cls = things.get(name.partition(".")[0])
    if not inspect.isclass(cls) or not {"inference", "inferring"}.intersection(words(cls.__name__)):
        return False
    others = [things.get(other.partition(".")[0]) for other in beside]
    kin = (one for one in others if inspect.isclass(one) and one is not cls and not _says_inference(one))
    return any(one in _bases(cls) or {*_bases(one)} & {*_bases(cls)} for one in kin)
