"""Adapter for a class with a forward and a backward method; gradients are returned, or kept as attributes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from itertools import product
from types import MethodType
from typing import Any

import numpy as np

from bncheck.adapters.affine import AffineRun, mentioned
from bncheck.adapters.frameworks import is_array, shape_of, spoken_by
from bncheck.adapters.function_pair import cache_choices, dict_keys, eps_argument
from bncheck.adapters.places import Parts, Place, parts_of, put
from bncheck.adapters.plans import Plan, backward_plans, constructor_plans, forward_plans, spelled
from bncheck.adapters.protocol import (
    ADAPTERS,
    ArityError,
    Candidate,
    EpsPlace,
    Namespace,
    Parameters,
    Reading,
    Run,
)
from bncheck.adapters.results import attribute_names, declared_order, gradient_order, returned_names
from bncheck.adapters.runs import Calling, CallRun
from bncheck.adapters.stems import match
from bncheck.adapters.words import Role, argument_role, composite, kind, train_is_true, words
from bncheck.model import Declared

NAME = "layer-class"
# Methods that only mention gradients ("zero_grad") are no backward where one of these is there.
_BACKWARD = frozenset("backward backwards bwd bprop backprop backpropagation backpropagate".split())


class LayerRun(CallRun):
    """One fresh layer. Its parameters are set before the first forward, or after it where it creates them.

    `how` is "given" where the user's code takes gamma and beta as arguments, "set" or "in place" where bncheck puts
    them into the layer; `absent` are those that the layer does without.
    """

    __slots__ = ("_absent", "_furnished", "_in_place", "_missing")

    def __init__(
        self,
        calling: Calling,
        layer: Any,
        names: tuple[str, str],
        values: dict[str, Any],
        how: str,
        absent: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(calling, getattr(layer, names[0]), getattr(layer, names[1]), values, layer)
        self._in_place, self._absent = how == "in place", absent
        self._missing: tuple[str, ...] = ()
        self._furnished = how == "given" or self._furnish()

    @property
    def missing(self) -> tuple[str, ...]:
        """Gamma or beta, if no place was found for it."""
        return self._missing

    def forward(self, x: Any, train: bool) -> Any:
        """Call the layer's forward, after a first one if that creates the parameters."""
        if not self._furnished:
            if callable(build := getattr(self._layer, "build", None)):
                build(x.shape)
            if not self._furnish():
                super().forward(x.copy(), train)
                self._furnish()
            self._furnished = True
        return super().forward(x, train)

    def acting(self, x: Any) -> str:
        """Change one array per channel after the other, and see whether y follows: it may be a gamma of another name.

        What a forward computes anew has no effect, and running statistics have their own checks.
        """
        parts = parts_of(self._layer)
        known = {place.trail for place in parts.parameters.values()}
        for place in parts.places:
            own = place.get()
            running = argument_role(str(place.trail[-1])) in (Role.RUNNING_MEAN, Role.RUNNING_VAR)
            if running or place.trail in known or not is_array(own) or np.size(self._taken(own)) != np.size(self.gamma):
                continue
            before = np.array(super().forward(x.copy(), True))
            put(parts, place, place.get() + 1.0)
            after = np.asarray(super().forward(x.copy(), True))
            put(parts, place, own)
            if after.shape == before.shape and not np.allclose(before, after):
                return place.spelled
        return ""

    def _furnish(self) -> bool:
        """Put gamma and beta where the layer keeps them; tell whether both have their places."""
        parts = parts_of(self._layer)
        for key, place in parts.parameters.items():
            if key not in self._absent:
                self._values[key] = self._put(parts, place, self._values[key])
        wanted = [key for key in ("gamma", "beta") if key not in self._absent]
        self._missing = tuple(key for key in wanted if key not in parts.parameters)
        self._recast(parts)
        return not self._missing

    def _put(self, parts: Parts, place: Place, given: Any) -> Any:
        """Put one parameter in its place, in the shape of what is there; return the array that the layer now has."""
        own, shape = place.get(), shape_of(place.get())
        if shape is not None and math.prod(shape) == math.prod(shape_of(given) or ()):
            given = given.reshape(shape)
        if self._in_place and shape is not None and shape == shape_of(given):
            self._calling.framework.assign(own, given)
            return own
        put(parts, place, given)
        return given

    def _taken(self, value: Any) -> Any:
        return self._calling.framework.take(value)

    def _recast(self, parts: Parts) -> None:
        """Give buffers that gradients are written into the dtype of the parameters that they belong to."""
        for of, place in parts.gradients.items():
            own, dtype = place.get(), self.gamma.dtype
            if of != "dx" and isinstance(own, np.ndarray) and own.dtype != dtype and not self._in_place:
                put(parts, place, own.astype(dtype))

    def _set_mode(self, train: bool) -> None:
        super()._set_mode(train)
        for name in attribute_names(self._layer):
            if argument_role(name) is Role.MODE and isinstance(getattr(self._layer, name, None), bool):
                setattr(self._layer, name, train if train_is_true(name) else not train)


class LayerReading:
    """One way of constructing and calling a layer."""

    def __init__(
        self,
        cls: type,
        names: tuple[str, str],
        constructor: Plan,
        calling: Calling,
        how: str,
        absent: frozenset[str] = frozenset(),
    ) -> None:
        self._cls, self._names, self._constructor, self._calling, self._how = cls, names, constructor, calling, how
        self.absent = absent
        self.framework = calling.framework
        self._eps_attribute: str | None = None
        self._mode_attributes: list[str] | None = None

    @property
    def eps(self) -> EpsPlace | None:
        """An argument of the constructor or of forward; else an attribute, once a layer has been seen to have it."""
        declared = eps_argument(self._calling.forward)
        if "eps" in self._constructor.keys:
            return EpsPlace("argument", True)
        return declared or (EpsPlace("attribute", False) if self._eps_attribute else None)

    @property
    def mode_switch(self) -> str:
        """An argument of forward or of the constructor, or attributes, once a layer has been seen to have them."""
        declared = self._calling.mode_switch or self._constructor.mode_argument
        attributes = f"attribute {self._mode_attributes[0]}" if self._mode_attributes else ""
        return (f"argument {declared}" if declared and " " not in declared else declared) or attributes

    def spelled(self) -> str:
        """Return the constructor and both calls in one line."""
        made = self._constructor.spelled(self._cls.__name__)
        put_in = {"given": "", "set": "; gamma and beta set as attributes", "in place": "; gamma and beta set in place"}
        return f"{made}; {self._calling.spelled(*self._names)}{put_in[self._how]}"

    def without(self, absent: frozenset[str]) -> LayerReading:
        """Return the same reading for a layer that does without gamma or beta."""
        return LayerReading(self._cls, self._names, self._constructor, self._calling, self._how, absent)

    def start(self, parameters: Parameters) -> Run:
        """Construct a layer, in training mode."""
        values = self._calling.values(parameters)
        values["size"] = size = parameters.gamma.size
        values["sizes"] = (size,)
        layer = self._constructor.call(self._cls, values)
        if self._mode_attributes is None:
            self._look(layer)
        for name in self._mode_attributes or ():
            if getattr(layer, name) is not train_is_true(name):
                setattr(layer, name, train_is_true(name))
        if self._eps_attribute is not None:
            setattr(layer, self._eps_attribute, parameters.eps)
        run = LayerRun(self._calling, layer, self._names, values, self._how, self.absent)
        return AffineRun(run, parameters, self.absent) if self.absent else run

    def _look(self, layer: Any) -> None:
        """Note, once, which attributes say what mode the layer is in, and which holds eps if no argument does."""
        names = vars(layer) if hasattr(layer, "__dict__") else ()
        self._mode_attributes = [
            n for n in names if argument_role(n) is Role.MODE and isinstance(getattr(layer, n), bool)
        ]
        if "eps" not in self._constructor.keys | self._calling.forward.keys:
            numbers = [n for n in names if isinstance(getattr(layer, n), float | int | np.floating)]
            self._eps_attribute = next((n for n in numbers if argument_role(n) is Role.EPS), None)


class LayerClass:
    """A class that may be a Batch Normalization layer."""

    adapter = NAME

    def __init__(self, name: str, cls: type, names: tuple[str, str], declared: Declared) -> None:
        self.name = name
        self.forward_name, self.backward_name = (f"{cls.__name__}.{n}" for n in names)
        self.aliases = frozenset({name, cls.__name__, self.forward_name, self.backward_name})
        self.kind = kind(cls.__name__, cls.__dict__.get("__doc__") or "")
        self.composite = composite(cls.__name__)
        self._cls, self._names = cls, names
        self._frameworks = spoken_by((cls,), declared.device)
        self._declared_order = declared_order(declared)

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return mentioned(self._cls)

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of constructing and calling the layer, most likely first."""
        forward, backward = (_unbound(self._cls, name) for name in self._names)
        returned = returned_names(forward)
        constructors, forwards, backwards = self._plans(forward, backward, returned)
        order = self._declared_order or gradient_order(backward)
        for framework, constructor, forward_plan in product(self._frameworks, constructors, forwards):
            for keys in dict_keys(forward, forward_plan) if "params" in forward_plan.keys else [()]:
                given = constructor.keys | forward_plan.keys | {key for _, key in keys}
                hows = ("given",) if "gamma" in given else ("set", "in place")
                for how, backward_plan in product(hows, backwards):
                    for cache, place in cache_choices(returned, "cache" in backward_plan.keys):
                        calling = Calling(
                            forward_plan, backward_plan, order, cache, place, keys, returned or (), framework
                        )
                        yield LayerReading(self._cls, self._names, constructor, calling, how)

    def _plans(self, forward: Any, backward: Any, returned: Any) -> tuple[list[Plan], list[Plan], list[Plan]]:
        """Return the plans for constructor, forward and backward, or raise ArityError that says what was expected."""
        cls = self._cls.__name__
        expected = f"{cls}(num_features, eps, momentum) or {cls}(gamma, beta, eps)"
        return (
            _listed(constructor_plans(self._cls), cls, self._cls, expected),
            _listed(forward_plans(forward, own=True), self.forward_name, forward, f"{self.forward_name}(x)"),
            _listed(
                backward_plans(backward, forward, returned), self.backward_name, backward, f"{self.backward_name}(dout)"
            ),
        )


def _listed(plans: Iterator[Plan], name: str, called: Any, expected: str) -> list[Plan]:
    """Return the plans, or raise ArityError that says which signature was found and what was expected."""
    try:
        return list(plans)
    except ArityError:
        raise ArityError(f"{name}{spelled(called)}: expected something like {expected}.") from None


def _unbound(cls: type, name: str) -> Any:
    """Return a method whose signature has no self, without constructing a layer."""
    static = inspect.getattr_static(cls, name)
    return MethodType(static, object()) if inspect.isfunction(static) else getattr(cls, name)


def method_pairs(cls: type) -> list[tuple[str, tuple[str, str]]]:
    """Return (name, (forward, backward)) of every pair of methods; the plain pair is called after the class."""
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__[:-1]):
        names.update(dict.fromkeys(n for n in vars(base) if not n.startswith("_") and callable(getattr(cls, n, None))))
    strong = [name for name in names if set(words(name)) & _BACKWARD]
    weak = [n for n in names if {"grad", "grads", "gradient", "gradients"} & set(words(n)) and n not in strong]
    methods = [name for name in names if not (strong and name in weak)]
    pairs = match(methods)
    if not pairs and any("__call__" in vars(base) for base in cls.__mro__[:-1]):
        pairs = [p._replace(forward="__call__") for p in match([*methods, "forward"])]
    return [(cls.__name__ if p.primary else f"{cls.__name__}.{p.backward}", p[:2]) for p in pairs]


class _LayerClasses:
    """Finds classes with a forward and a backward."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return the layers in a namespace."""
        classes = [thing for thing in namespace.things.values() if inspect.isclass(thing)]
        said = namespace.declared
        found = [LayerClass(name, cls, pair, said) for cls in classes for name, pair in method_pairs(cls)]
        return list[Candidate](found)

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return the layer that one class is."""
        if len(objects) != 1 or not inspect.isclass(objects[0]):
            return None
        pairs = method_pairs(objects[0])
        return LayerClass(name, objects[0], pairs[0][1], declared) if pairs else None


ADAPTERS.add(NAME, _LayerClasses())
