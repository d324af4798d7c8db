"""A run: one forward and backward of user code by call plans, shared by function pairs and layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bncheck.adapters.containers import changed, is_statistics, packed
from bncheck.adapters.frameworks import NUMPY, Framework
from bncheck.adapters.inference import Inference
from bncheck.adapters.mode_values import is_mode_key, mode_values, turn_arguments, turn_options
from bncheck.adapters.modes import Switch
from bncheck.adapters.named_caches import entry_values, is_entry
from bncheck.adapters.plans import Plan
from bncheck.adapters.protocol import Parameters, Results
from bncheck.adapters.pulls import pull_back
from bncheck.adapters.recording import learning_rate
from bncheck.adapters.records import Record
from bncheck.adapters.results import Order, describe_gradients, read_gradients, split_forward
from bncheck.adapters.returned_statistics import handed_back
from bncheck.adapters.saved import saved_among
from bncheck.adapters.words import STATISTICS, Role, argument_role
from bncheck.session import SavedStatistic

_MODE_OPTION = [("mode", "mode:train")]
# Values of arguments that have nothing to do with Batch Normalization, by key.
_BESIDE = {
    "none": None, "yes": True, "step": 1, "zero": 0.0, "seed": 0, "label": "bn", "axis0": 0, "axis1": 1, "axis-1": -1,
}  # fmt: skip


@dataclass(slots=True)
class Calling:
    """How the two functions are called, and how what they return is read.

    Attributes
    ----------
    forward, backward : Plan
        How each is called.
    order : dict
        The order of the gradients that the source names, by the number of things returned.
    cache : str
        What backward gets as its cache: "whole" (all that the forward returned beside y, bare if it is one thing),
        "last" or "first" of several things, or "named", at the place `cache_place` of the forward's result.
    dict_keys : dict
        Values of a fresh ``bn_param``, by key: what stands for "eps" and "momentum", and running statistics if asked.
    returned : tuple of str or None
        The names in the forward's return statement, where they can be read.
    held : tuple of str
        The names in the tuple that it returns beside y.
    framework : Framework
        The array library that the two are spoken to in.
    pulls : bool
        Whether the forward returns its backward: a function, or an object with one, beside y.
    switches : tuple of Switch
        Global flags that say whether this is training.
    inference : Inference or None
        What is called instead of the forward where this is not training.
    record : bool
        Whether the options are an object, whose attributes are read.
    renewed : dict or None
        Where new running statistics are among what it returns beside y, if no name says so; None: not tried.
    """

    forward: Plan
    backward: Plan
    order: Order = field(default_factory=dict)
    cache: str = "whole"
    cache_place: int = 0
    dict_keys: tuple[tuple[str, str], ...] = (("eps", "eps"), ("momentum", "momentum"))
    returned: tuple[str | None, ...] = ()
    framework: Framework = NUMPY
    pulls: bool = False
    switches: tuple[Switch, ...] = ()
    inference: Inference | None = None
    held: tuple[str, ...] = ()
    record: bool = False
    renewed: dict[str, tuple[Any, ...]] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:  # what the values need, worked out once
        self.backward = self.backward.like(self.forward)
        keys = self.forward.keys | self.backward.keys
        self._params = "params" in keys
        self._packed = tuple({*self.forward.packed, *self.backward.packed})
        self._items = any(key.startswith(("item", "out")) or is_entry(key) for key in self.backward.keys)

    _params: bool = field(init=False, default=False)
    _packed: tuple[str, ...] = field(init=False, default=())
    _items: bool = field(init=False, default=False)

    @property
    def given(self) -> frozenset[str]:
        """What the forward gets: keys of its arguments, and of the dict among them."""
        return self.forward.keys | (frozenset(key for _, key in self.dict_keys) if self._params else frozenset())

    @property
    def mode_switch(self) -> str:
        """How the forward is told whether this is training, "" if it is not told by what it is called with."""
        return next((switch.said for switch in self.all_switches()), "")

    @property
    def guess(self) -> str:
        """Which arguments of the backward are filled by their position alone; "" if one at most."""
        known = {*self.returned, *(name for name, _ in self.forward.bound)}
        unclear = [
            name
            for name, key in self.backward.bound
            if key.startswith(("cache", "item")) and argument_role(name) is not Role.CACHE and name not in known
        ]
        unclear = unclear if len(unclear) > 1 else []
        unclear += [name for name, key in self.backward.bound if key == "none"]
        return f"what {' and '.join(unclear)} should be" if unclear else ""

    def all_switches(self) -> list[Switch]:
        """Return every way in which what the two are called with, or a global flag, says whether this is training."""
        found = []
        name = self.forward.mode_argument
        if name:
            found.append(Switch(f"argument {name}", turn_arguments))
        if self._params:
            named = any(is_mode_key(key) for _, key in self.dict_keys)
            found += [Switch(f"key {n!r}", turn_options(n, key), named=named) for n, key in self.option_modes]
        own = [self.inference.switch] if self.inference is not None and not found and not self.switches else []
        return [*found, *self.switches, *own]

    @property
    def option_modes(self) -> list[tuple[str, str]]:
        """The keys of the dict of options that say the mode, as (name, key of the value)."""
        return [(name, key) for name, key in self.dict_keys if is_mode_key(key)] or _MODE_OPTION

    def spelled(self, forward: str, backward: str) -> str:
        """Return both calls in one line, and the cache's origin."""
        options = f" with options {{{', '.join(name for name, _ in self.dict_keys)}}}" if self._params else ""
        how = {"whole": "all that the forward returned beside y", "named": "what the forward calls its cache"}
        cache = f", cache = {how.get(self.cache, f'the {self.cache} thing that it returned')}"
        own = self.backward.spelled(backward) if backward else "no backward"
        said = f"{self.forward.spelled(forward)}{options}; {'the backward that it returns' if self.pulls else own}"
        arrays = getattr(self.framework, "said", f"{self.framework.name} arrays")
        return f"{said}{cache if 'cache' in self.backward.keys else ''}; {arrays}"

    def values(self, parameters: Parameters) -> dict[str, Any]:
        """Return the values of a fresh run, by key."""
        eps, momentum = parameters.eps, parameters.momentum
        gamma, beta = self.framework.give(parameters.gamma), self.framework.give(parameters.beta)
        dtype = parameters.gamma.dtype
        values = {**mode_values(True), **_BESIDE, "gamma": gamma, "beta": beta, "eps": eps, "momentum": momentum}
        values |= {"lr": learning_rate(dtype), "dtype": dtype, "channels": parameters.gamma.size}
        start = parameters.running or (np.zeros_like(parameters.gamma), np.ones_like(parameters.gamma))
        give = getattr(self.framework, "give_statistics", self.framework.give)
        values["running_mean"], values["running_var"] = map(give, start)
        if self._params:
            modes = {name: values[key] for name, key in self.option_modes}
            options = modes | {name: values[key] for name, key in self.dict_keys}
            values["params"] = Record(options) if self.record else options
        return values


class CallRun:
    """One run of a forward and a backward."""

    __slots__ = (
        "_attributes", "_backward", "_calling", "_flags", "_forward", "_place", "_raw", "_rest", "_result", "_shape",
        "_train", "_values",
    )  # fmt: skip

    def __init__(
        self, calling: Calling, forward: Callable[..., Any], backward: Callable[..., Any], values: dict[str, Any]
    ) -> None:
        self._calling, self._forward, self._backward = calling, forward, backward
        self._values = values
        self._train = self._flags = True
        self._result: Any = None
        self._attributes: dict[str, str] = {}
        self._rest: tuple[Any, ...] = ()
        self._raw: Any = None
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
        calling, values, take = self._calling, self._values, self._calling.framework.take
        values["x"] = calling.framework.give(x)
        self._shape = x.shape
        if train is not self._train or not train:  # a layer may fall back into training after each forward
            self._set_mode(train)
        self._set_flags()
        if "cache" in calling.forward.keys:  # before the first backward there is nothing else to keep in one
            values["cache"] = (values["running_mean"], values["running_var"])
        self._pack()
        out = values["outputs"] = self._called(values)
        y, self._rest, self._place = split_forward(out, x.shape, calling.returned)
        self._keep_running()
        self._raw = y
        return take(self._output(x.shape) if y is None else y)

    def backward(self, dy: Any) -> Results:
        """Call the user's backward after a forward."""
        calling, values, take = self._calling, self._values, self._calling.framework.take
        values["dy"] = calling.framework.give(dy)
        self._set_flags()
        self._attributes = {}
        if calling.pulls:
            result, order = pull_back(self._rest, values, calling.order)
        else:
            values["cache"] = self._cache()
            if calling._items:
                self._spread(values)
            self._pack()
            result, order = calling.backward.call(self._backward, values), calling.order
        self._result = result, order
        found = self._left_behind(read_gradients(result, order, self._shape))
        return Results(take(found.get("dx")), take(found.get("dgamma")), take(found.get("dbeta")))

    def _called(self, values: dict[str, Any]) -> Any:
        inference = self._calling.inference
        if inference is not None and values.get("inferring"):
            return inference.call(getattr(self, "_layer", None), values)
        return self._calling.forward.call(self._forward, values)

    @property
    def rest(self) -> tuple[Any, ...]:
        """What the forward returned beside y."""
        return self._rest

    def turn(self, switch: Switch, train: bool) -> None:
        """Turn one switch alone."""
        if switch.lasting:
            self._flags = train
        else:
            switch.turn(None, self._values, train)

    def _pack(self) -> None:
        """Put values together where the code takes several in one."""
        for key in self._calling._packed:
            self._values[key] = packed(key, self._values)

    def _set_flags(self) -> None:
        """Set global flags, which another run may have changed."""
        for switch in self._calling.switches:
            switch.turn(None, self._values, self._flags)

    def _left_behind(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the gradients that were returned, and those that an object keeps; functions have none."""
        return found

    def _output(self, shape: tuple[int, ...]) -> Any:
        """Return the output of a forward that returns nothing; functions keep none."""
        return None

    @property
    def returns(self) -> str:
        """How backward handed its gradients over, in words; "" before a backward."""
        result, order = self._result or (None, {})
        return describe_gradients(result, order, self._shape, self._attributes)

    def running(self) -> tuple[Any, Any] | None:
        """Return the running statistics: given to the forward, kept in its options, or in the layer."""
        take = self._calling.framework.take
        found = {role: take(value) for role, value in self._statistics().items() if value is not None}
        mean, var = found.get(Role.RUNNING_MEAN), found.get(Role.RUNNING_VAR)
        return None if mean is None or var is None else (mean, var)

    def saved(self) -> list[SavedStatistic]:
        """Return the statistics of the batch that the forward returned beside y."""
        return saved_among(self._values.get("outputs"), self._place, self._calling)

    def keeping(self) -> dict[str, Any]:
        """Return the entries of the options that the forward is given."""
        options = self._values["params"] if "params" in self._calling.forward.keys else {}
        return {f"options[{name!r}]": self._calling.framework.take(value) for name, value in options.items()}

    def _statistics(self) -> dict[Role, Any]:
        values, keys = self._values, self._calling.forward.keys
        options = values["params"] if "params" in keys else {}
        found = {role: value for name, value in options.items() if (role := argument_role(name)) in STATISTICS}
        if "running_mean" in keys or self._keeps_pair:
            found |= {role: values[role.value] for role in STATISTICS}
        return found

    @property
    def _keeps_pair(self) -> bool:
        """Whether the pair of running statistics goes to the forward in a tuple, or to a function for inference."""
        inference = self._calling.inference
        kept = inference is not None and inference.function is not None
        return kept or any(key == "cache" or is_statistics(key) for _, key in self._calling.forward.bound)

    @property
    def _pairs(self) -> dict[str, str]:
        """The arguments that take the pair of running statistics, and their keys."""
        return {name: key for name, key in self._calling.forward.bound if is_statistics(key)}

    def _keep_running(self) -> None:
        """Hand running statistics that a forward changed or returned to the next one."""
        self._values |= changed(self._calling.forward.packed, self._values)
        if not self._rest:
            return
        taken = self._calling.forward.keys | ({role.value for role in STATISTICS} if self._keeps_pair else set())
        options = {key: name for name, key in self._calling.dict_keys} if "params" in taken else {}
        returned, held = self._calling.returned, self._calling.held
        for role, value in handed_back(self._rest, self._place, returned, held, self._pairs):
            if role.value in taken:
                self._values[role.value] = value
            if role.value in options:
                self._values["params"][options[role.value]] = value

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
        values |= {f"out{i + (i >= self._place)}": item for i, item in enumerate(rest)} | entry_values(rest)
        inner = rest[0] if len(rest) == 1 and isinstance(rest[0], tuple | list) else rest
        values |= {f"item{i}": item for i, item in enumerate(inner)}

    def _set_mode(self, train: bool) -> None:
        self._train = self._flags = train
        for switch in self._calling.all_switches():
            switch.turn(None, self._values, train)
        self._values.update(mode_values(train))
