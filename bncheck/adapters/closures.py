"""Adapter for closures: a forward that returns its backward, and factories that return both.

``y, backward = bn(x, gamma, beta)``; ``forward, backward = make_bn(...)``, also in a dict or an object. What a function
returns shows only when it is called: functions that read as Batch Normalization are, and a function that is alone.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

from bncheck import guard
from bncheck.adapters.affine import mentioned
from bncheck.adapters.backward_plans import backward_plans
from bncheck.adapters.bundles import bundled, names_of
from bncheck.adapters.construction import Maker, shape_values
from bncheck.adapters.constructor_plans import constructor_plans
from bncheck.adapters.frameworks import spoken_by
from bncheck.adapters.function_pair import (
    FunctionPair,
    FunctionReading,
    cache_choices,
    is_function,
    plain,
)
from bncheck.adapters.generators import pulling
from bncheck.adapters.global_flags import global_switches
from bncheck.adapters.layer_class import LayerClass, method_pairs
from bncheck.adapters.layer_reading import LayerReading
from bncheck.adapters.option_keys import dict_keys
from bncheck.adapters.plans import Plan, forward_plans
from bncheck.adapters.probe import EPS, MOMENTUM
from bncheck.adapters.protocol import ADAPTERS, ArityError, Candidate, Namespace, Parameters, Reading
from bncheck.adapters.pulls import pulled
from bncheck.adapters.results import declared_order, gradient_order, returned_names
from bncheck.adapters.runs import Calling
from bncheck.adapters.stems import NO_TRAINING, match
from bncheck.adapters.words import Kind, Role, argument_role, composite, kind, stem, words
from bncheck.errors import TargetError
from bncheck.model import Declared

NAME = "closure"
# Shapes of data, and of the parameters beside them, that are tried to see what a function returns.
_SHAPES = (((4, 3), (3,)), ((4, 3), (1, 3)), ((4, 3), (4, 1)), ((4, 3, 2, 2), (3,)), ((4, 3, 2, 2), (1, 3, 1, 1)))
_MOST_PLANS = 8


class PulledFunction(FunctionPair):
    """A function that returns y and its backward."""

    adapter = NAME

    def __init__(self, name: str, function: Callable[..., Any], declared: Declared) -> None:
        super().__init__(name, function, function, (name, name), declared)
        self.backward_name = f"the backward that {name} returns"

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of calling the function, most likely first."""
        yield from _pulled_readings(self._forward, self._forward_plans(), self._frameworks, self._declared_order)


def _pulled_readings(function: Any, plans: list[Plan], frameworks: Any, order: Any) -> Iterator[FunctionReading]:
    returned, switches = returned_names(function) or (), tuple(global_switches(function))
    for framework, plan in product(frameworks, plans):
        for keys in dict_keys(function, plan) if "params" in plan.keys else [()]:
            calling = Calling(
                plan, Plan(), order, dict_keys=keys, returned=returned, framework=framework, pulls=True,
                switches=switches,
            )  # fmt: skip
            yield FunctionReading(function, function, calling)


class Factory:
    """A function that returns a forward and a backward, or a class whose forward returns its backward."""

    adapter = NAME

    def __init__(self, name: str, function: Callable[..., Any], declared: Declared) -> None:
        self.name = name
        self.forward_name, self.backward_name = f"the forward of {name}", f"the backward of {name}"
        self.aliases = frozenset({name})
        self.kind = kind(name, inspect.getdoc(function) or "")
        self.composite = composite(name)
        self._function, self._declared = function, declared
        self._frameworks = spoken_by((function,), declared.device)

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return mentioned(self._function)

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of calling the factory and what it returns, most likely first."""
        found = False
        for plan in _plans(self._function):
            sample = _made(self._function, plan)
            names = names_of(sample)
            if names is not None:
                found = True
                yield from self._with(plan, sample, names)
        if not found:
            raise ArityError(f"{self.name} returned no forward and backward.")

    def _with(self, plan: Plan, sample: Any, names: tuple[str, str]) -> Iterator[Reading]:
        """Yield the ways of calling what one call of the factory returned."""
        forward, pulls = getattr(sample, names[0]), not names[1]
        backward = forward if pulls else getattr(sample, names[1])
        returned = returned_names(forward)
        order = declared_order(self._declared) or ({} if pulls else gradient_order(backward))
        switches = tuple(global_switches(self._function))
        forwards = list(forward_plans(forward, own=True, mode=self._declared.mode_switch))
        backwards = [Plan()] if pulls else list(backward_plans(backward, forward, returned))
        for framework, forward_plan in product(self._frameworks, forwards):
            for keys in dict_keys(forward, forward_plan) if "params" in forward_plan.keys else [()]:
                given = plan.keys | forward_plan.keys | {key for _, key in keys}
                maker = Maker(self._make, plan, eps_given="eps" in given, mode=self._declared.mode_switch)
                hows = ("given",) if "gamma" in given else ("set", "in place")
                for how, backward_plan in product(hows, backwards):
                    for cache, place in cache_choices(returned, "cache" in backward_plan.keys):
                        calling = Calling(
                            forward_plan, backward_plan, order, cache, place, keys, returned or (), framework,
                            pulls=pulls, switches=switches,
                        )  # fmt: skip
                        yield LayerReading(maker, names, plan.spelled(self.name), calling, how)

    def _make(self, *args: Any, **named: Any) -> Any:
        return bundled(self._function(*args, **named))


def _plans(function: Callable[..., Any]) -> list[Plan]:
    try:
        return list(constructor_plans(function))[:_MOST_PLANS]
    except ArityError:  # it wants what nothing is known of: it cannot be made
        return []


def _values(shape: tuple[int, ...], parameter: tuple[int, ...]) -> dict[str, Any]:
    """Return values for a call that only has to show what is returned."""
    calling = Calling(Plan(("x", "params")), Plan())
    size = int(np.prod(parameter))
    gamma, beta = np.linspace(0.5, 1.5, size).reshape(parameter), np.linspace(-1.0, 1.0, size).reshape(parameter)
    values = calling.values(Parameters(gamma, beta, 1e-5, 0.9))
    x = np.random.default_rng(5).normal(size=shape)
    return values | shape_values(x, size) | {"x": x, "optimizer": None, "rng": np.random.default_rng(0)}


def first_calls(function: Callable[..., Any]) -> Iterator[tuple[Plan, BaseException | None]]:
    """Call a function as a forward and as a factory, likelier first; yield each way, and what it raised, if it did."""
    try:
        forwards = list(forward_plans(function, own=True))[:_MOST_PLANS]
    except ArityError:  # it is no forward; a factory it may be
        forwards = []
    takes_data = any(argument_role(name) is Role.X for plan in forwards for name, key in plan.bound if key == "x")
    plans = _plans(function)
    for plan in [*forwards, *plans] if takes_data else [*plans, *forwards]:
        yield plan, _called(plan, function)[1]


def _made(function: Callable[..., Any], plan: Plan) -> Any:
    """Return what a factory makes, None if it raises."""
    return bundled(_called(plan, function)[0])


def _called(plan: Plan, function: Callable[..., Any]) -> tuple[Any, BaseException | None]:
    """Return what a call returned, and what it raised: a factory that cannot be called so makes no pair."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return plan.call(function, _values(*_SHAPES[0])), None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return None, error


def _layers(name: str, cls: type, declared: Declared) -> Iterator[LayerClass]:
    """Yield the ways of taking a method of a class for a forward that returns its backward."""
    methods = [n for base in cls.__mro__[:-1] for n in vars(base) if n == "__call__" or not n.startswith("_")]
    for method in dict.fromkeys(methods):
        if method == "__call__" or stem(method).direction == "forward":
            yield LayerClass(name, cls, (method, ""), declared)


def _pulls(pair: FunctionPair | LayerClass, own: type | tuple[()] = ()) -> bool:
    """Tell whether a function returns an array of x's shape and a backward, called in one of the likely ways.

    `own` is the class that the function is a method of.
    """
    try:
        readings = list(pair.readings())[:_MOST_PLANS]
    except TargetError:  # it cannot be called: it shows no backward
        return False
    for reading, (shape, parameter) in product(readings, _SHAPES):
        run = reading.start(Parameters(np.ones(parameter), np.ones(parameter), EPS, MOMENTUM))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                x = np.random.default_rng(5).normal(size=shape)
                with guard.user_code():
                    y = run.forward(x, True)
            except KeyboardInterrupt:
                raise
            except BaseException:  # the next way of calling it may work
                continue
        backward = pulled(getattr(run, "rest", ()))
        # A layer that comes back is the layer of the next step, whatever can be called on it.
        if np.shape(y) == shape and backward is not None and not isinstance(backward, own):
            return True
    return False


class _Closures:
    """Finds functions that return backwards, and factories."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return what returned a backward, among functions that read as batch norm, and a function that is alone."""
        functions = {name: thing for name, thing in namespace.things.items() if is_function(thing)}
        paired = {name for pair in match(functions) for name in pair[:2]}
        alone = len(namespace.things) == 1
        found: list[Candidate] = []
        for name, function in functions.items():
            if name not in paired and _reads_as_forward(name, function, alone):
                found += self._candidate(name, plain(function), namespace.declared)
        for name, thing in namespace.things.items():
            if inspect.isclass(thing) and not method_pairs(thing) and kind(name, thing.__doc__ or "") is Kind.BN:
                found += [layer for layer in _layers(name, thing, namespace.declared) if _pulls(layer, thing)][:1]
        return found

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return the closure that one function is."""
        if len(objects) != 1 or not is_function(objects[0]):
            return None
        return next(iter(self._candidate(name, plain(objects[0]), declared)), None)

    def _candidate(self, name: str, function: Callable[..., Any], declared: Declared) -> list[Candidate]:
        pulled_function = PulledFunction(name, pulling(function), declared)
        if _pulls(pulled_function):
            return [pulled_function]
        if any(names_of(_made(function, plan)) for plan in _plans(function)):
            return [Factory(name, function, declared)]
        return []


def _reads_as_forward(name: str, function: Any, alone: bool) -> bool:
    reads = stem(name).direction != "backward" and not set(words(name)) & NO_TRAINING
    return reads and (alone or kind(name, inspect.getdoc(function) or "") is Kind.BN)


ADAPTERS.add(NAME, _Closures())
