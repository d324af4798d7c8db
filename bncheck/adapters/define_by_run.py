"""Adapter for define-by-run code: functions and layers on tensor objects of the user's own, which go backward."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from bncheck.adapters.affine import mentioned
from bncheck.adapters.construction import Maker
from bncheck.adapters.constructor_plans import constructor_plans
from bncheck.adapters.function_pair import FunctionReading, is_function
from bncheck.adapters.global_flags import global_switches
from bncheck.adapters.layer_class import unbound
from bncheck.adapters.layer_reading import LayerReading
from bncheck.adapters.layer_run import LayerRun
from bncheck.adapters.option_keys import dict_keys
from bncheck.adapters.places import Parts, Place
from bncheck.adapters.plans import Plan, forward_plans
from bncheck.adapters.protocol import ADAPTERS, ArityError, Candidate, Namespace, Reading, Results
from bncheck.adapters.results import returned_names
from bncheck.adapters.runs import Calling, CallRun
from bncheck.adapters.signatures import refused
from bncheck.adapters.stems import NO_TRAINING, match
from bncheck.adapters.tapes import Tape, tapes_in
from bncheck.adapters.words import Kind, composite, kind, stem, words
from bncheck.model import Declared

NAME = "define-by-run"
_NO_CODE = (lambda: None).__code__


class _Taped(CallRun):
    """A run whose gradients are left in tensors when y goes backward."""

    __slots__ = ()

    def forward(self, x: Any, train: bool) -> Any:
        """Call the user's forward on fresh tensors."""
        tape = self._tape
        for key in ("gamma", "beta"):
            tensor = self._values[key]
            if isinstance(tensor, tape.cls) and self._fresh_parameters:
                self._values[key] = tape.give(tape.take(tensor))
            elif isinstance(tensor, tape.cls):
                tape.clear(tensor)
        y = super().forward(x, train)
        if train and isinstance(self._raw, np.ndarray):  # what an engine calls with tensors, and wraps the result of
            raise TypeError(f"it returns a bare array, which goes nowhere backward, and no {tape.cls.__name__}")
        return y

    def backward(self, dy: Any) -> Results:
        """Let y go backward, and read the gradients of x, gamma and beta."""
        tape = self._tape
        if tape.way is None:
            self._find_way(dy)
        tape.back(self._raw, dy, tape.way or tape.ways()[0])
        self._result = None
        return Results(*self._gradients())

    @property
    def returns(self) -> str:
        """How the gradients are made; "" before a backward."""
        return f"gradients of {self._tape.said}, after {self._tape.spelled()}" if self._tape.way else ""

    @property
    def _tape(self) -> Tape:
        tape = self._calling.framework
        assert isinstance(tape, Tape)
        return tape

    @property
    def _fresh_parameters(self) -> bool:
        """Whether gamma and beta are arguments, so that each forward gets new tensors."""
        return "gamma" in self._calling.given

    def _gradients(self) -> list[Any]:
        tensors = [self._values[key] for key in ("x", "gamma", "beta")]
        return [self._tape.gradient(t) if isinstance(t, self._tape.cls) else None for t in tensors]

    def _begin_anew(self) -> None:
        """Forget what earlier forwards have left: a graph may grow from one to the next."""

    def _find_way(self, dy: Any) -> None:
        """Find out how y is given a gradient: zeros make zeros, and this one does not."""
        tape, x = self._tape, self._tape.take(self._values["x"])
        failure: BaseException | None = None
        for way in tape.ways():
            try:
                amounts = []
                for upstream in (np.zeros_like(dy), dy.copy()):
                    self._begin_anew()
                    self.forward(x.copy(), True)
                    tape.back(self._raw, upstream, way)
                    found = [g for g in self._gradients() if isinstance(g, np.ndarray)]
                    amounts.append(max((float(np.max(np.abs(g), initial=0.0)) for g in found), default=0.0))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                failure = failure or error
                continue
            if amounts[0] == 0.0 and amounts[1] > 0.0:
                tape.way = way
                break
        self._begin_anew()
        self.forward(x, True)
        if tape.way is None and failure is not None:
            raise failure


class TapedFunctionRun(_Taped):
    """One run of a function on tensors."""

    __slots__ = ()


class TapedLayerRun(_Taped, LayerRun):
    """One layer whose parameters are tensors, or whose call takes them."""

    __slots__ = ()

    def _begin_anew(self) -> None:
        self._layer, self._furnished = None, self._furnished and not self._places

    def _put(self, parts: Parts, place: Place, given: Any) -> Any:
        """Let the tensor that a layer has for a parameter hold ours; put a bare array where it keeps arrays."""
        tape, own = self._tape, place.get()
        array = tape.take(given)
        if isinstance(own, tape.cls):
            tape.put(own, array.reshape(np.shape(tape.take(own))) if np.size(tape.take(own)) == array.size else array)
            return own
        held = super()._put(parts, place, array)
        holder = place.holder
        return holder if isinstance(holder, tape.cls) and tape.take(holder) is held else held


class TapedFunction:
    """A function on tensors that may be a Batch Normalization."""

    adapter = NAME
    # A function that cannot be run is taken to be something else, as long as something is left.
    composite = True

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        tapes: list[Tape],
        declared: Declared,
        signed: Callable[..., Any] | None = None,
    ) -> None:
        self._signed = signed or function  # what tells the arguments, where the function takes anything
        self.name = self.forward_name = name
        self.backward_name = "the backward of its result"
        self.aliases = frozenset({name, name.split(".")[-1]})
        self.kind = kind(name, inspect.getdoc(function) or "")
        self._function, self._tapes, self._declared = function, tapes, declared

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return mentioned(self._function)

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of calling the function, most likely first."""
        switches = tuple(global_switches(self._function))
        try:
            plans = list(forward_plans(self._signed, mode=self._declared.mode_switch))
        except ArityError:
            raise refused(self.name, self._function, f"{self.name}(x, gamma, beta)") from None
        for tape, plan in product(self._tapes, plans):
            for keys in dict_keys(self._function, plan) if "params" in plan.keys else [()]:
                returned = returned_names(self._function) or ()
                calling = Calling(
                    plan, Plan(), dict_keys=keys, returned=returned, framework=tape, switches=switches, pulls=True
                )
                yield FunctionReading(self._function, self._function, calling, run=TapedFunctionRun)


class TapedLayer:
    """A class that is called on tensors, with gamma and beta as arguments or as tensors of its own."""

    adapter = NAME

    def __init__(
        self, name: str, cls: type, call: str, tapes: list[Tape], declared: Declared, part: bool = False
    ) -> None:
        self.name = name
        self.forward_name, self.backward_name = f"{name}.{call}", "the backward of its result"
        self.aliases = frozenset({name})
        self.kind = kind(name, cls.__dict__.get("__doc__") or "")
        # Where one that a function applies cannot be run by itself, the function stands for both.
        self.composite = part or composite(name)
        self._cls, self._call, self._tapes, self._declared = cls, call, tapes, declared

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return mentioned(self._cls)

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of constructing and calling the layer, most likely first."""
        signed = unbound(self._cls, _signed(self._cls, self._call))
        switches = tuple(global_switches(self._cls))
        try:
            plans = list(constructor_plans(self._cls))
            forwards = list(forward_plans(signed, own=True, mode=self._declared.mode_switch))
        except ArityError:
            raise refused(self.name, self._cls, f"{self.name}(size)(x)") from None
        for tape, plan, forward in product(self._tapes, plans, forwards):
            for keys in dict_keys(signed, forward) if "params" in forward.keys else [()]:
                given = plan.keys | forward.keys
                maker = Maker(self._cls, plan, eps_given="eps" in given, mode=self._declared.mode_switch)
                calling = Calling(
                    forward, Plan(), dict_keys=keys, returned=returned_names(signed) or (), framework=tape,
                    switches=switches, pulls=True,
                )  # fmt: skip
                how = "given" if "gamma" in given else "set"
                names = (self._call, "")
                yield LayerReading(maker, names, plan.spelled(self.name), calling, how, run=TapedLayerRun)


def _signed(cls: type, call: str) -> str:
    """Return the method whose signature tells what a call takes: the call itself may be ``__call__(self, *inputs)``."""
    variable = any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(getattr(cls, call)).parameters.values())
    return "forward" if variable and hasattr(cls, "forward") else call


class _DefineByRun:
    """Finds functions and classes that read as Batch Normalization beside a tensor class of the user's own."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return the functions, classes and methods of tensors in a namespace that read as batch norm."""
        declared = namespace.declared
        functions = {name: thing for name, thing in namespace.things.items() if is_function(thing)}
        paired = {name for pair in match(functions) for name in pair[:2]}
        reading = {name: thing for name, thing in namespace.things.items() if _reads(name, thing)}
        tapes = tapes_in(reading.values(), namespace.module) if _may_have_tapes(namespace) else []
        if not tapes:
            return []
        found: list[Candidate] = []
        for name, thing in reading.items():
            if inspect.isclass(thing) and (applied := _applied(thing)) is not None:
                found.append(TapedFunction(name, applied[0], tapes, declared, applied[1]))
            elif inspect.isclass(thing):
                call = _called(thing)
                part = any(_applies(other, name) for other in reading.values())
                found += [TapedLayer(name, thing, call, tapes, declared, part)] if call else []
            elif name not in paired:
                found.append(TapedFunction(name, thing, tapes, declared))
        for tape in tapes:
            methods = [(n, f) for n, f in vars(tape.cls).items() if inspect.isfunction(f) and _reads(n, f)]
            found += [TapedFunction(f"{tape.cls.__name__}.{n}", f, [tape], declared) for n, f in methods]
        return found

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return the function or the class on tensors that one object is."""
        if len(objects) != 1 or not callable(objects[0]):
            return None
        tapes = tapes_in(objects)
        if tapes and inspect.isclass(objects[0]):
            call = _called(objects[0])
            return TapedLayer(name, objects[0], call, tapes, declared) if call else None
        return TapedFunction(name, objects[0], tapes, declared) if tapes else None


def _may_have_tapes(namespace: Namespace) -> bool:
    """Tell whether a class in or behind the namespace has a method that reads as a backward; cheap."""
    scope = vars(namespace.module) if namespace.module is not None else namespace.things
    return any(inspect.isclass(value) or inspect.ismodule(value) for value in scope.values())


def _reads(name: str, thing: Any) -> bool:
    if not (is_function(thing) or inspect.isclass(thing)) or set(words(name)) & NO_TRAINING:
        return False
    return stem(name).direction != "backward" and kind(name, inspect.getdoc(thing) or "") is Kind.BN


def _applies(function: Any, name: str) -> bool:
    """Tell whether a function speaks of a name: an engine has functions that apply its operations to tensors."""
    return name in getattr(inspect.unwrap(function), "__code__", _NO_CODE).co_names


def _applied(cls: Any) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """Return what applies a class without making an object, and its forward less its context; None of other classes."""
    own = {name: thing for base in reversed(cls.__mro__[:-1]) for name, thing in vars(base).items()}
    bound = isinstance(own.get("apply"), classmethod | staticmethod)
    forward = own.get("forward")
    return (cls.apply, partial(cls.forward, None)) if bound and isinstance(forward, staticmethod) else None


def _called(cls: type) -> str:
    """Return the name of the method that a layer or function object is called by, "" if it has none."""
    own = {name for base in cls.__mro__[:-1] for name in vars(base)}
    return next((name for name in ("__call__", "forward", "apply", "call") if name in own), "")


ADAPTERS.add(NAME, _DefineByRun())
