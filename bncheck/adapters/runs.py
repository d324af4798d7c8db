"""A run: one forward and backward of user code by call plans, shared by function pairs and layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bncheck.adapters.frameworks import NUMPY, Framework, shape_of
from bncheck.adapters.places import parts_of
from bncheck.adapters.plans import Plan, mode_values
from bncheck.adapters.protocol import Parameters, Results
from bncheck.adapters.results import (
    Order,
    attribute_names,
    describe_gradients,
    read_gradients,
    split_forward,
)
from bncheck.adapters.words import Role, argument_role, output_like
from bncheck.model import GRADIENTS

_TRAIN = {**mode_values(True), "none": None}
_TEST = mode_values(False)
_RUNNING = (Role.RUNNING_MEAN, Role.RUNNING_VAR)


@dataclass(slots=True)
class Calling:
    """How the two functions are called, and how what they return is read.

    Attributes
    ----------
    forward, backward : Plan
        The call plans.
    order : dict
        The order of the gradients that the source names, by the number of things returned.
    cache : str
        What backward gets as its cache: "whole" (all that the forward returned beside y, bare if it is one thing),
        "last" or "first" of several things, or "named", at the place `cache_place` of the forward's result.
    dict_keys : dict
        Values of a fresh ``bn_param``, by key: what stands for "eps" and "momentum", and running statistics if asked.
    returned : tuple of str or None
        The names in the forward's return statement, where they can be read.
    framework : Framework
        The array library that the two are spoken to in.

    """

    forward: Plan
    backward: Plan
    order: Order = field(default_factory=dict)
    cache: str = "whole"
    cache_place: int = 0
    dict_keys: tuple[tuple[str, str], ...] = (("eps", "eps"), ("momentum", "momentum"))
    returned: tuple[str | None, ...] = ()
    framework: Framework = NUMPY

    def __post_init__(self) -> None:  # what the values need, worked out once
        keys = self.forward.keys | self.backward.keys
        self._running = bool(keys & {"running_mean", "running_var", "cache"}) or "running_mean" in dict(self.dict_keys)
        self._params = "params" in keys
        self._items = any(key.startswith(("item", "out")) for key in self.backward.keys)

    _running: bool = field(init=False, default=False)
    _params: bool = field(init=False, default=False)
    _items: bool = field(init=False, default=False)

    @property
    def given(self) -> frozenset[str]:
        """What the forward gets: keys of its arguments, and of the dict among them."""
        return self.forward.keys | (frozenset(key for _, key in self.dict_keys) if self._params else frozenset())

    @property
    def mode_switch(self) -> str:
        """How the forward is told whether this is training, "" if it is not told by what it is called with."""
        name = self.forward.mode_argument
        return f"argument {name}" if name else "key 'mode'" if self._params else ""

    def spelled(self, forward: str, backward: str) -> str:
        """Return both calls in one line, and the cache's origin."""
        options = f" with options {{{', '.join(name for name, _ in self.dict_keys)}}}" if self._params else ""
        how = {"whole": "all that the forward returned beside y", "named": "what the forward calls its cache"}
        cache = f", cache = {how.get(self.cache, f'the {self.cache} thing that it returned')}"
        said = f"{self.forward.spelled(forward)}{options}; {self.backward.spelled(backward)}"
        return f"{said}{cache if 'cache' in self.backward.keys else ''}; {self.framework.name} arrays"

    def values(self, parameters: Parameters) -> dict[str, Any]:
        """Return the values of a fresh run, by key."""
        eps, momentum = parameters.eps, parameters.momentum
        gamma, beta = self.framework.give(parameters.gamma), self.framework.give(parameters.beta)
        values = {**_TRAIN, "gamma": gamma, "beta": beta, "eps": eps, "momentum": momentum}
        if self._running:
            start = np.zeros_like(parameters.gamma), np.ones_like(parameters.gamma)
            values["running_mean"], values["running_var"] = map(self.framework.give, start)
            values["cache"] = (values["running_mean"], values["running_var"])
        if self._params:
            values["params"] = {"mode": "train"} | {name: values[key] for name, key in self.dict_keys}
        return values


class CallRun:
    """One run of a forward and a backward; `layer` is the object whose methods they are, if they are."""

    __slots__ = (
        "_attributes",
        "_backward",
        "_calling",
        "_forward",
        "_layer",
        "_place",
        "_rest",
        "_result",
        "_shape",
        "_train",
        "_values",
    )

    def __init__(
        self,
        calling: Calling,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        values: dict[str, Any],
        layer: Any = None,
    ) -> None:
        self._calling, self._forward, self._backward = calling, forward, backward
        self._values, self._layer = values, layer
        self._train = True
        self._result: Any = None
        self._attributes: dict[str, str] = {}
        self._rest: tuple[Any, ...] = ()
        self._place = 0
        self._shape: tuple[int, ...] = ()

    @property
    def gamma(self) -> Any:
        """The array that user code was given for gamma."""
        return self._calling.framework.take(self._values["gamma"])

    @property
    def beta(self) -> Any:
        """The array that user code was given for beta."""
        return self._calling.framework.take(self._values["beta"])

    @property
    def missing(self) -> tuple[str, ...]:
        """Gamma or beta, if no way was found to give it to the code."""
        given = self._calling.given
        return tuple(key for key in ("gamma", "beta") if key not in given)

    def acting(self, x: Any) -> str:
        """Functions have no state that could be looked at."""
        return ""

    def forward(self, x: Any, train: bool) -> Any:
        """Call the user's forward; return what looks like y, None if nothing does."""
        values, take = self._values, self._calling.framework.take
        values["x"] = self._calling.framework.give(x)
        self._shape = x.shape
        if train is not self._train:
            self._set_mode(train)
        y, self._rest, self._place = split_forward(self._calling.forward.call(self._forward, values), x.shape)
        self._keep_running()
        return take(self._output(x.shape) if y is None and self._layer is not None else y)

    def backward(self, dy: Any) -> Results:
        """Call the user's backward after a forward."""
        calling, values, layer = self._calling, self._values, self._layer
        take = calling.framework.take
        values["dy"] = calling.framework.give(dy)
        values["cache"] = self._cache()
        if calling._items:
            self._spread(values)
        self._attributes = {}
        result = self._result = calling.backward.call(self._backward, values)
        found = read_gradients(result, calling.order, self._shape)
        if layer is not None and len(found) < len(GRADIENTS):
            for of, place in parts_of(layer, values).gradients.items():
                if of not in found and (value := place.get()) is not None:
                    found[of] = value
                    self._attributes[of] = place.spelled
        return Results(take(found.get("dx")), take(found.get("dgamma")), take(found.get("dbeta")))

    @property
    def returns(self) -> str:
        """How backward handed its gradients over, in words; "" before a backward."""
        return describe_gradients(self._result, self._calling.order, self._shape, self._attributes)

    def running(self) -> tuple[Any, Any] | None:
        """Return the running statistics: given to the forward, kept in its options, or in the layer."""
        take = self._calling.framework.take
        found = {role: take(value) for role, value in self._statistics().items() if value is not None}
        both = found.get(Role.RUNNING_MEAN), found.get(Role.RUNNING_VAR)
        return None if both[0] is None or both[1] is None else both

    def _statistics(self) -> dict[Role, Any]:
        values, keys = self._values, self._calling.forward.keys
        options = values["params"] if "params" in keys else {}
        found = {role: value for name, value in options.items() if (role := argument_role(name)) in _RUNNING}
        if "running_mean" in keys:
            found |= {role: values[role.value] for role in _RUNNING}
        if self._layer is not None and not found:
            for name in attribute_names(self._layer):
                role = argument_role(name)
                if role in _RUNNING and role not in found:
                    found[role] = getattr(self._layer, name, None)
        return found

    def _keep_running(self) -> None:
        """Hand running statistics that a forward returned to the next one."""
        for place, name in enumerate(self._calling.returned):
            role = argument_role(name) if name else None
            at = place - (place > self._place)
            if role in _RUNNING and role.value in self._calling.forward.keys and at < len(self._rest):
                self._values[role.value] = self._rest[at]

    def _cache(self) -> Any:
        rest, how = self._rest, self._calling.cache
        if how == "named":
            place = self._calling.cache_place
            return rest[place - (place > self._place)] if place <= len(rest) else rest
        if len(rest) == 1 or (rest and how == "first"):
            return rest[0]
        return rest[-1] if rest and how == "last" else rest

    def _spread(self, values: dict[str, Any]) -> None:
        """Put single things that the forward returned where a backward asks for them."""
        rest = self._rest
        for i, item in enumerate(rest):
            values[f"out{i + (i >= self._place)}"] = item
        if len(rest) == 1 and isinstance(rest[0], tuple | list):
            rest = tuple(rest[0])
        for i, item in enumerate(rest):
            values[f"item{i}"] = item

    def _output(self, shape: tuple[int, ...]) -> Any:
        """Return the attribute that holds the output of a forward that returns nothing."""
        for name in attribute_names(self._layer):
            value = getattr(self._layer, name, None) if output_like(name) else None
            if shape_of(value) == shape:
                return value
        return None

    def _set_mode(self, train: bool) -> None:
        self._train = train
        self._values.update(_TRAIN if train else _TEST)
        if "params" in self._values:
            self._values["params"]["mode"] = "train" if train else "test"
