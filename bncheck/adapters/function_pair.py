"""Adapter for two functions: a forward that takes x, gamma, beta and returns y and a cache, and its backward."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

from bncheck.adapters.affine import mentioned, run_of
from bncheck.adapters.backward_plans import backward_plans
from bncheck.adapters.carried import carried
from bncheck.adapters.contexts import contextual, takes_context
from bncheck.adapters.fractions import Blending
from bncheck.adapters.frameworks import spoken_by
from bncheck.adapters.given import heeds_momentum, with_statistics
from bncheck.adapters.global_flags import global_switches
from bncheck.adapters.inference import Inference, beside, chosen, gives_statistics, keeps_statistics
from bncheck.adapters.meant import variants
from bncheck.adapters.mode_values import reachable
from bncheck.adapters.modes import Switch
from bncheck.adapters.option_keys import dict_keys, record_keys
from bncheck.adapters.plans import Plan, arguments, forward_plans
from bncheck.adapters.protocol import ADAPTERS, ArityError, Candidate, EpsPlace, Namespace, Parameters, Reading, Run
from bncheck.adapters.results import cache_names, declared_order, gradient_order, returned_names
from bncheck.adapters.runs import Calling, CallRun
from bncheck.adapters.separate_gradients import joined, separate
from bncheck.adapters.signatures import refused
from bncheck.adapters.sources import keys_of
from bncheck.adapters.stems import match
from bncheck.adapters.tested import arguments_tested, functions_asked
from bncheck.adapters.unread import unread_momentum
from bncheck.adapters.words import STATISTICS, Kind, Role, argument_role, composite, kind
from bncheck.model import Declared

NAME = "function-pair"
Function = Callable[..., Any]


def no_backward(*args: Any) -> None:
    """Stand for the backward of code that has none."""


class FunctionReading(Blending):
    """One way of calling a pair of functions."""

    def __init__(
        self,
        forward: Function,
        backward: Function,
        calling: Calling,
        absent: frozenset[str] = frozenset(),
        run: Callable[..., CallRun] = CallRun,
    ) -> None:
        self._forward, self._backward, self._calling, self.absent = forward, backward, calling, absent
        self._run = run
        self.framework = calling.framework
        self._chosen: Switch | None = None

    @property
    def forward_only(self) -> bool:
        """Whether there is no backward."""
        return self._backward is no_backward

    @property
    def eps(self) -> EpsPlace | None:
        """An eps argument is one; a dict of options may be read or not."""
        return eps_argument(self._calling.forward, self._forward)

    @property
    def switches(self) -> list[Switch]:
        """What the forward is called with, then global flags."""
        return self._calling.all_switches()

    def choose(self, switch: Switch) -> None:
        """Take one of the switches as the one to report."""
        self._chosen = switch
        self._calling = chosen(self._calling, switch)

    def offered(self, name: str) -> Iterator[FunctionReading]:
        """Yield the same reading told the mode by what the code tests; with `name` by the argument called so alone."""
        functions = functions_asked(self._forward)
        for switch, plan in arguments_tested(self._forward, self._calling.forward, functions, name):
            calling = chosen(replace(self._calling, forward=plan), switch)
            told = FunctionReading(self._forward, self._backward, calling, self.absent, self._run)
            told._chosen = switch
            yield told

    def adopt(self, offered: FunctionReading) -> None:
        """Become one of those."""
        self._calling, self._chosen = offered._calling, offered._chosen

    @property
    def given_statistics(self) -> bool:
        """Whether the forward is given its running statistics as arguments."""
        return gives_statistics(self._calling.forward)

    @property
    def mode_switch(self) -> str:
        """The switch that was found to act, or the first that names propose."""
        return self._chosen.said if self._chosen is not None else self._calling.mode_switch

    @property
    def guess(self) -> str:
        """An argument of the backward whose name says nothing."""
        return self._calling.guess

    def spelled(self) -> str:
        """Return both calls in one line."""
        forward, backward = (
            getattr(f, "__name__", d) for f, d in ((self._forward, "forward"), (self._backward, "backward"))
        )
        return self._calling.spelled(forward, "" if self.forward_only else backward)

    def without(self, absent: frozenset[str]) -> FunctionReading:
        """Return the same reading for code that does without gamma or beta."""
        return FunctionReading(self._forward, self._backward, self._calling, absent, self._run)

    def giving(self) -> FunctionReading | None:
        """Return the same reading with running statistics among what the forward takes; None if it takes none."""
        plan = with_statistics(self._calling.forward, self._forward)
        options = "params" in plan.keys
        if not options and not plan.keys >= {role.value for role in STATISTICS}:
            return None
        keys = dict_keys(self._forward, plan)[1] if options else self._calling.dict_keys
        calling = replace(self._calling, forward=plan, dict_keys=keys)
        reading = FunctionReading(self._forward, self._backward, calling, self.absent, self._run)
        reading._chosen = self._chosen
        return reading

    def variants(self) -> Iterator[FunctionReading]:
        """Yield the same reading with another cache, or a backward without a factor that it may do without."""
        for calling in variants(self._calling, cache_choices(self._calling.returned or None, True)):
            yield FunctionReading(self._forward, self._backward, calling, self.absent, self._run)

    @property
    def heeds_momentum(self) -> bool:
        """Whether the forward reads a momentum."""
        return heeds_momentum(self._forward)

    def start(self, parameters: Parameters) -> Run:
        """Return a fresh run."""

        def made(own: Parameters) -> Run:
            return self._run(self._calling, self._forward, self._backward, self._calling.values(own))

        return run_of(made, parameters, self.absent)


_AFFINE = frozenset({"gamma", "beta"})
_UNTOLD = frozenset({"x", "dy", "eps"})


class FunctionPair:
    """Two functions that may be the forward and the backward of a Batch Normalization."""

    adapter = NAME

    def __init__(
        self,
        name: str,
        forward: Function,
        backward: Function,
        names: tuple[str, str],
        declared: Declared,
        inference: Inference | None = None,
    ) -> None:
        forward, backward = plain(forward), plain(backward)
        self.name = name
        self.forward_name, self.backward_name = names
        self.aliases = frozenset(names)
        self.kind = _kind_of(names, forward)
        self.composite = composite(names[0])
        self._forward, self._backward, self._called = forward, backward, carried(forward)
        self._frameworks = spoken_by((forward, backward), declared.device)
        self._declared_order = declared_order(declared)
        self._mode = declared.mode_switch
        self._inference = inference

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return mentioned(self._forward, self._backward)

    @property
    def unread(self) -> str:
        """A momentum that the forward takes, and nothing reads."""
        return unread_momentum(self._forward)

    def _with_statistics(self) -> list[Plan]:
        """Return the plans that give running statistics to a forward that may do without, but perhaps raises then."""
        held = [a for a in arguments(self._forward) or () if a.role in STATISTICS and a.default is None]
        try:
            return list(forward_plans(self._forward, mode=self._mode, statistics=True)) if len(held) > 1 else []
        except ArityError:  # no place for them: it is called without
            return []

    def _forward_plans(self) -> list[Plan]:
        """Return the plans for the forward; gamma and beta need a place in it if the code speaks of them."""
        try:
            return list(forward_plans(self._forward, mode=self._mode))
        except ArityError:
            own = {key for keys in dict_keys(self._forward) for _, key in keys}
            plans = list(forward_plans(self._forward, own=True, mode=self._mode))
            in_dict = [plan for plan in plans if "params" in plan.keys] if "gamma" in own else []
            if not in_dict and not any(self.mentions <= plan.keys for plan in plans):
                raise
            return in_dict or plans

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of calling the pair, most likely first."""
        try:
            forwards = self._forward_plans()
        except ArityError:
            expected = f"{self.forward_name}(x, gamma, beta, eps) or (x, gamma, beta, bn_param)"
            expected = f"a forward like {expected}, with a place for x, gamma and beta"
            raise refused(self.forward_name, self._forward, expected) from None
        returned, held = returned_names(self._forward), tuple(cache_names(self._forward))
        try:
            backwards = list(backward_plans(self._backward, self._forward, returned))
        except ArityError:
            expected = f"a backward like {self.backward_name}(dout, cache)"
            raise refused(self.backward_name, self._backward, expected) from None
        order = self._declared_order or gradient_order(self._backward)
        switches = tuple(global_switches(self._forward, self._backward))
        for framework, forward in product(self._frameworks, [*forwards, *self._with_statistics()]):
            inference = self._inference if keeps_statistics(forward, returned or ()) else None
            options = dict_keys(self._forward, forward) if "params" in forward.keys else [()]
            for keys, backward in product(options, backwards):
                for cache, place in cache_choices(returned, "cache" in backward.keys):
                    calling = Calling(
                        forward,
                        backward,
                        order,
                        cache,
                        place,
                        keys,
                        returned or (),
                        framework,
                        switches=switches,
                        inference=inference,
                        held=held,
                        record=bool(record_keys(self._forward, forward)),
                    )
                    yield FunctionReading(self._called, self._backward, calling)
        # A backward that is told nothing but dy and x knows of no gamma: it is that of a call without.
        untold = [plan for plan in backwards if plan.keys <= _UNTOLD]
        if untold and _AFFINE <= {a.role for a in arguments(self._forward) or () if a.default is None}:
            for framework, backward in product(self._frameworks, untold):
                calling = Calling(forwards[0].without(_AFFINE), backward, order, framework=framework, switches=switches)
                yield FunctionReading(self._called, self._backward, calling, _AFFINE)


def eps_argument(plan: Plan, function: Function | None = None) -> EpsPlace | None:
    """Return how a call plan hands eps over, None if it does not; `function` may name the key of its options."""
    if "eps" in plan.keys:
        return EpsPlace("argument", True)
    if "params" not in plan.keys:
        return None
    keys = [key for known in reachable(function) for key in keys_of(known)] if function is not None else []
    named = [key for key in keys if argument_role(key) is Role.EPS]
    return EpsPlace("argument", False, f"key {named[0]!r} of the options" if named else "")


def cache_choices(returned: tuple[str | None, ...] | None, asked: bool) -> list[tuple[str, int]]:
    """Return what the cache may be, most likely first, as (how, place in the forward's result)."""
    if not asked:
        return [("whole", 0)]
    named = [i for i, name in enumerate(returned or ()) if i and name and argument_role(name) is Role.CACHE]
    several = returned is None or len(returned) > 2
    others = [("whole", 0), *([("first", 0), ("last", 0)] if several else [])]
    return [("named", place) for place in named[:1]] + others


def plain(function: Function) -> Function:
    """Return the Python function behind a compiled one."""
    inner = getattr(function, "py_func", None) or getattr(function, "pyfunc", None)
    return inner if inspect.isfunction(inner) else function


def _kind_of(names: tuple[str, str], forward: Function) -> Kind:
    doc = inspect.getdoc(forward) if inspect.isfunction(forward) else None
    kinds = {kind(names[0], doc or ""), kind(names[1])}
    return Kind.OTHER_NORM if Kind.OTHER_NORM in kinds else Kind.BN if Kind.BN in kinds else Kind.UNKNOWN


def is_function(thing: Any) -> bool:
    """Tell a function (also a partial, one wrapped by a decorator, or an object that is called) from other things."""
    if inspect.isclass(thing):
        return False
    called = inspect.isfunction(inspect.getattr_static(type(thing), "__call__", None))
    return inspect.isroutine(thing) or isinstance(thing, partial) or hasattr(thing, "__wrapped__") or called


def _of_class(name: str, cls: type, declared: Declared) -> FunctionPair:
    """Return the pair that the static methods of a class are."""
    pair = FunctionPair(name, *contextual(cls), (f"{cls.__name__}.forward", f"{cls.__name__}.backward"), declared)
    pair.kind = kind(cls.__name__, cls.__dict__.get("__doc__") or "")
    pair.aliases |= {name, cls.__name__}
    return pair


class _FunctionPairs:
    """Finds pairs of functions by the stems of their names."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return the pairs in a namespace."""
        # The rules of a custom derivative belong to the function that has them.
        rules = [getattr(thing, name, None) for thing in namespace.things.values() for name in ("fwd", "bwd")]
        held = {id(rule) for rule in rules if rule is not None}
        functions = {n: t for n, t in namespace.things.items() if is_function(t) and id(t) not in held}
        found: list[Candidate] = []
        for name, thing in namespace.things.items():
            if takes_context(thing):
                found.append(_of_class(name, thing, namespace.declared))
        for pair in match(functions):
            name = pair.forward if pair.primary else pair.backward
            two = functions[pair.forward], functions[pair.backward]
            found.append(FunctionPair(name, *two, pair[:2], namespace.declared, beside(pair.forward, functions)))
        apart = separate(functions)
        if apart is not None and not any(apart[0] in candidate.aliases for candidate in found):
            forward, gradients = apart
            backward = joined({of: functions[name] for of, name in gradients.items()})
            names = forward, " and ".join(gradients.values())
            found.append(FunctionPair(forward, functions[forward], backward, names, namespace.declared))
        return found

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return the pair that two callables are."""
        if len(objects) == 1 and takes_context(objects[0]):
            return _of_class(name, objects[0], declared)
        if len(objects) != 2 or not all(callable(o) and not inspect.isclass(o) for o in objects):
            return None
        names = tuple(getattr(o, "__name__", d) for o, d in zip(objects, ("forward", "backward"), strict=True))
        return FunctionPair(name, objects[0], objects[1], (names[0], names[1]), declared)


ADAPTERS.add(NAME, _FunctionPairs())
