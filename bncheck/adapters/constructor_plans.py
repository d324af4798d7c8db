"""Call plans for constructors: sizes and shapes, gamma and beta, what they want beside these."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from bncheck.adapters.plans import AXES, Argument, Plan, arguments, as_statistic, build, is_axis, known_keys
from bncheck.adapters.protocol import ArityError
from bncheck.adapters.words import Role, aside, size_like, words

# What a required argument that nothing is known about may want in a constructor, likeliest first.
_SHAPES, _SIZES = ("inner", "sizes", "size", "shape", "row"), ("size", "sizes", "inner")
_MOST_UNKNOWN = 2
_TENSORS = frozenset("tensors inputs parents operands xs arrays".split())


def constructor_plans(cls: Callable[..., Any], *, optimizer: bool = False, data: bool = False) -> Iterator[Plan]:
    """Yield the ways of constructing a layer, most likely first; raise ArityError if required arguments remain.

    With `optimizer` an optimizer that may be left out is given all the same; with `data` the constructor is to take x.
    """
    found = arguments(cls)
    if found is None:
        yield from (Plan(), Plan(("size",)), Plan(("gamma", "beta")))
        return
    found = [a if data and a.role is Role.X and a.required else _as_constructor(a) for a in found]
    keys = known_keys(found)
    if optimizer:
        keys |= {a.name: "optimizer" for a in found if _is_optimizer(a)}
    unknown = [a for a in found if a.name not in keys and a.required]
    unknown += [a for a in found if not a.required and a.name not in keys and a.default is None and size_like(a.name)]
    if sum(a.required for a in unknown) > _MOST_UNKNOWN:
        raise ArityError
    tail = [_choices(a, i) for i, a in enumerate(unknown) if a.required or i == 0]
    # A name that may be left out is given where all else has failed: without one code may ask a library for one.
    labels = {a.name: "label" for a in found if a.name not in keys and a.default in ("", None) and _is_label(a)}
    for more, choice in product([{}, labels] if labels else [{}], product(*tail)):
        chosen = {a.name: k for a, k in zip(unknown, choice, strict=False) if k != "default"}
        yield build(found, keys | chosen | more)


def constructor_per_call(cls: type, forward: Plan) -> Plan | None:
    """Return how an object is made that stands for one call: of all that its forward takes, as `forward` has it.

    So are function objects of engines, ``def __init__(self, *tensors)``, which their class method `apply` makes and
    calls. None for a class that makes layers.
    """
    taken = tuple(key for _, key in forward.bound if key in ("x", "gamma", "beta"))
    try:
        parameters = list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):  # written in C: it does not tell
        return None
    first = next((p for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    if first is None or not {"x", "gamma"} <= {*taken}:
        return None
    applied = isinstance(inspect.getattr_static(cls, "apply", None), classmethod | staticmethod)
    if not applied and first.name not in _TENSORS:
        return None
    before = parameters[: parameters.index(first)]
    return Plan((*["none"] * len(before), *taken))


def _is_label(argument: Argument) -> bool:
    return argument.role is None and not argument.required and aside(argument.name) == "label"


def _as_constructor(argument: Argument) -> Argument:
    """Read an argument as a constructor's: there is no batch yet, so that a mean and a variance are running ones."""
    argument = as_statistic(argument)
    return argument._replace(role=None) if argument.role in (Role.X, Role.CACHE, Role.DY) else argument


def _is_optimizer(argument: Argument) -> bool:
    return argument.name == "opt" or (argument.role is None and aside(argument.name) == "optimizer")


def _choices(argument: Argument, place: int) -> tuple[str, ...]:
    """Return what an argument of a constructor that has no role may want; `place` counts such arguments."""
    if is_axis(argument):
        return AXES
    if place:
        return ("size", "none") if argument.required else ("none",)
    found = _SHAPES if "shape" in words(argument.name) else _SIZES
    return found if argument.required else (*found[:3], "default")
