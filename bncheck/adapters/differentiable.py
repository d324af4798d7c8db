"""Adapter for functions that a library differentiates.

A function ``bn(x, gamma, beta, eps, ...)`` of a library with automatic differentiation needs no backward of its own:
the library's is taken. Running statistics and a mode are taken as arguments, in a dict of options, and as results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from typing import Any

import numpy as np

from bncheck.adapters.affine import mentioned, run_of
from bncheck.adapters.containers import packed
from bncheck.adapters.differentiated import DifferentiatedRun, recording
from bncheck.adapters.frameworks import NUMPY, Framework, shape_of, spoken_by
from bncheck.adapters.function_pair import eps_argument, is_function
from bncheck.adapters.option_keys import dict_keys
from bncheck.adapters.plans import Plan, arguments, forward_plans, mode_values
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
from bncheck.adapters.results import returned_names, split_forward
from bncheck.adapters.returned_statistics import arrays_per_channel, at_path, renewed_statistics
from bncheck.adapters.runs import Calling
from bncheck.adapters.signatures import refused
from bncheck.adapters.stems import match
from bncheck.adapters.words import STATISTICS, Kind, Role, argument_role, kind, stem, words
from bncheck.model import Declared

NAME = "differentiable-function"
# A function whose name has one of these words examines a Batch Normalization, makes one, or only applies one.
_NO_FORWARD = frozenset(
    "test tests testing check compare demo main plot train fit make build create get init inference infer eval "
    "evaluate predict".split()
)


def _any_result(out: Any) -> bool:
    return True


class FunctionRun(DifferentiatedRun):
    """One run of a function that takes x, gamma and beta, and returns y or y with other things."""

    def __init__(self, calling: Calling, function: Callable[..., Any], parameters: Parameters) -> None:
        given = calling.given
        super().__init__(calling.framework, parameters, tuple(key for key in ("gamma", "beta") if key not in given))
        self._calling, self._function = calling, function
        self._values = calling.values(parameters)
        self._returned: frozenset[str] = frozenset()
        self._unread = False

    def _mode(self, train: bool) -> AbstractContextManager[Any]:
        """Return the context of a forward: a function that asks whether gradients are recorded is tested without."""
        recorded = getattr(self._framework, "recorded", None)
        if train or recorded is None or self._calling.mode_switch or not recording(self._function):
            return nullcontext()
        found: AbstractContextManager[Any] = recorded(False)
        return found

    def forward(self, x: Any, train: bool) -> Any:
        """Call the function; once, find out before where it returns running statistics under names of any kind."""
        calling = self._calling
        named = {argument_role(name) for name in calling.returned if name}
        asked = {role.value for role in STATISTICS} <= calling.forward.keys and not named >= {*STATISTICS}
        if calling.renewed is None and asked:
            self._find_renewed(x)
        return super().forward(x, train)

    def _find_renewed(self, x: Any) -> None:
        """Find out where the new running statistics are: what follows the old ones, and the batch."""
        random, give, take = np.random.default_rng(7), self._framework.give, self._framework.take
        given = {"x": random.normal(size=x.shape).astype(x.dtype)}
        given |= {key: np.asarray(self._parameters[key]) for key in self._names[1:]}
        given |= {role.value: np.array(take(self._values[role.value])) for role in STATISTICS}

        def call(changed: str) -> dict[Any, Any]:
            one = {
                key: np.array(value * 1.5 + 0.5 if key == changed else value, value.dtype)
                for key, value in given.items()
            }
            out, _ = self._called({key: give(value) for key, value in one.items()}, True)
            _, rest, _ = split_forward(out, x.shape)
            return dict(arrays_per_channel(rest, given["running_mean"].size, take))

        try:
            self._calling.renewed = renewed_statistics(call)
        except Exception:  # what raises does so again where it is called, and is told of
            return

    def _called(self, arrays: Mapping[str, Any], train: bool) -> tuple[Any, dict[str, Any]]:
        """Call the function; return what it returns, and its options."""
        values = {**self._values, **mode_values(train), **arrays}
        options = values.get("params", {})
        if options:
            options["mode"] = "train" if train else "test"
            options |= {name: arrays[key] for name, key in self._calling.dict_keys if key in arrays}
        for key in self._calling.forward.packed:  # a tuple that is taken apart inside
            values[key] = packed(key, values)
        with self._mode(train):
            return self._calling.forward.call(self._function, values), options

    def evaluate(self, arrays: Mapping[str, Any], train: bool) -> tuple[Any, dict[str, Any]]:
        """Call the function; hand on the running statistics that it returned, or left in its options."""
        out, options = self._called(arrays, train)
        if train and not getattr(self._framework, "follows", _any_result)(out):
            raise TypeError(f"it returns nothing that {self._framework.name} can differentiate")
        y, rest, place = split_forward(out, shape_of(arrays["x"]) or ())
        kept = self._returned_statistics(rest, place)
        kept |= {f"options:{name}": v for name, v in options.items() if argument_role(name) in STATISTICS}
        self._unread = bool(rest) and not kept
        return y, kept

    def keep(self, arrays: Mapping[str, Any]) -> None:
        """Hand running statistics to the next forward."""
        for name, array in arrays.items():
            where, _, key = name.partition(":")
            if where == "options":
                self._values["params"][key] = array
            else:
                self._values[name] = array
        self._returned |= {name for name in arrays if ":" not in name}
        if "cache" in self._values:
            self._values["cache"] = (self._values["running_mean"], self._values["running_var"])

    def running(self) -> tuple[Any, Any] | None:
        """Return the running statistics: given to the function and changed there, returned, or kept in its options."""
        keys, take = self._calling.forward.keys, self._framework.take
        found: dict[Any, Any] = {}
        if "params" in keys:
            found = {argument_role(name): value for name, value in self._values["params"].items()}
        if "running_mean" in keys or "cache" in keys or self._returned >= {role.value for role in STATISTICS}:
            found |= {role: self._values[role.value] for role in STATISTICS}
        mean, var = (take(found.get(role)) for role in STATISTICS)
        # Statistics that stay at 0 and 1 beside results whose names say nothing may be among those.
        unread = self._unread and np.all(mean == 0) and np.all(var == 1)
        return None if mean is None or var is None or unread else (mean, var)

    def keeping(self) -> dict[str, Any]:
        """Return the entries of the options that the function is given."""
        options = self._values["params"] if "params" in self._calling.forward.keys else {}
        return {f"options[{name!r}]": self._framework.take(value) for name, value in options.items()}

    def _returned_statistics(self, rest: tuple[Any, ...], place: int) -> dict[str, Any]:
        """Return the running statistics among what a function returned beside y, by the names in its return statement.

        A pair that stands for the pair of statistics which the function was given has the same order.
        """
        found: dict[str, Any] = {}
        for at, name in enumerate(self._calling.returned):
            role = argument_role(name) if name else None
            beside = at - (at > place)
            if role in STATISTICS and at != place and beside < len(rest):
                found[role.value] = rest[beside]
        for item in rest:
            if isinstance(item, Mapping):
                found |= {r.value: v for key, v in item.items() if (r := argument_role(str(key))) in STATISTICS}
            elif "cache" in self._calling.forward.keys and isinstance(item, tuple | list) and len(item) == 2:
                found |= {role.value: value for role, value in zip(STATISTICS, item, strict=True)}
        if len(found) < len(STATISTICS):
            renewed = {key: at_path(rest, path) for key, path in (self._calling.renewed or {}).items()}
            found |= {key: value for key, value in renewed.items() if value is not None}
        return found


class DifferentiableReading:
    """One way of calling a function that its library differentiates; `make` makes the runs."""

    guess = ""  # nothing is handed over by guessing

    # The shape of a gradient says nothing about the code: the library makes it that of the parameter.
    differentiated = True

    def __init__(
        self,
        calling: Calling,
        function: Callable[..., Any],
        name: str,
        make: Callable[[Calling, Callable[..., Any], Parameters], Run] = FunctionRun,
        absent: frozenset[str] = frozenset(),
    ) -> None:
        self._calling, self._function, self._name, self._make, self.absent = calling, function, name, make, absent
        self.framework = calling.framework
        self.mode_switch = calling.mode_switch or ("torch.no_grad()" if recording(function) else "")

    @property
    def eps(self) -> EpsPlace | None:
        """An eps argument is one; a dict of options may be read or not."""
        return eps_argument(self._calling.forward)

    def spelled(self) -> str:
        """Return the call in one line."""
        keys = ", ".join(name for name, _ in self._calling.dict_keys)
        options = f" with options {{{keys}}}" if "params" in self._calling.forward.keys else ""
        return f"{self._calling.forward.spelled(self._name)}{options}; differentiated by {self.framework.name}"

    def without(self, absent: frozenset[str]) -> DifferentiableReading:
        """Return the same reading for code that does without gamma or beta."""
        return DifferentiableReading(self._calling, self._function, self._name, self._make, absent)

    def start(self, parameters: Parameters) -> Run:
        """Return a fresh run."""
        return run_of(lambda own: self._make(self._calling, self._function, own), parameters, self.absent)


class DifferentiableFunction:
    """A function that may be the forward of a Batch Normalization, in a library that differentiates it."""

    adapter = NAME
    # A function that cannot be run is taken to be something else, as long as something is left: many a helper has
    # "bn" in its name.
    composite = True
    # Whether arguments may be tried whose names say nothing.
    guessing = False

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        frameworks: list[Framework],
        make: Callable[[Calling, Callable[..., Any], Parameters], Run] = FunctionRun,
    ) -> None:
        self.name = self.forward_name = name
        self.backward_name = f"the {frameworks[0].name} gradient of {name}"
        self.aliases = frozenset({name, getattr(function, "__name__", name)})
        self.kind = named_kind(name, function)
        self._function, self._frameworks, self._make = function, frameworks, make

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return mentioned(self._function)

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of calling the function, most likely first."""
        returned = returned_names(self._function) or ()
        for framework, plan in product(
            self._frameworks, differentiable_plans(self._function, self.forward_name, self.guessing)
        ):
            for keys in dict_keys(self._function, plan) if "params" in plan.keys else [()]:
                calling = Calling(plan, Plan(), dict_keys=keys, returned=returned, framework=framework)
                yield DifferentiableReading(calling, self._function, self.forward_name, self._make)


def differentiable_plans(function: Callable[..., Any], name: str, guessing: bool) -> list[Plan]:
    """Return the plans for a forward that is differentiated; gamma and beta need a place if the code speaks of them.

    Raises
    ------
    ArityError
        If there is none; it says what was expected.

    """
    plans: list[Plan] = []
    for own in (False, True):
        try:
            possible = [_without_rate(plan, function) for plan in forward_plans(function, own=own)]
            plans = [plan for plan in possible if guessing or _is_understood(plan)]
        except ArityError:  # no place for x in this way: the other one may have one
            continue
        if plans and not own:
            return plans
    in_dict = [plan for plan in plans if "params" in plan.keys]
    if any(key == "gamma" for keys in dict_keys(function) for _, key in keys) and in_dict:
        return in_dict
    if not plans or not any(mentioned(function) <= plan.keys for plan in plans):
        expected = f"a function like {name}(x, gamma, beta, eps), with a place for x, gamma and beta"
        if any(a.role is Role.PARAMS and a.required for a in arguments(function) or ()):
            expected += "; or a function beside it that makes its params, named init, init_bn, make_bn or create_bn"
        raise refused(name, function, expected)
    return plans


def _without_rate(plan: Plan, function: Callable[..., Any]) -> Plan:
    """Leave an optional ``eta`` at its default: nothing learns in a forward that a library differentiates."""
    optional = {argument.name for argument in arguments(function) or () if not argument.required}
    rated = any(name in optional and key == "lr" for name, key in plan.bound)
    return plan.without(frozenset({"lr"})) if rated else plan


def _is_understood(plan: Plan) -> bool:
    """Tell whether the names of the arguments say what they are for; of the last one place may do so, as eps.

    A library differentiates whatever it is given, so that nothing shows a guess to be wrong: ``(x, mean, var)``.
    """
    guessed = [key for name, key in plan.bound if argument_role(name) is None and key not in ("x", "gamma", "beta")]
    return guessed in ([], ["eps"])


def named_kind(name: str, thing: Any) -> Kind:
    """Return what the name of a function or class, or its docstring, reads as."""
    return kind(name, getattr(thing, "__doc__", None) or "")


def differentiating(things: Iterable[Any], device: str) -> list[Framework]:
    """Return the libraries that the code of functions and classes may be differentiated by, likeliest first."""
    return [framework for framework in spoken_by(things, device) if framework is not NUMPY]


class _DifferentiableFunctions:
    """Finds functions that read as Batch Normalization and have no backward."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return the functions in a namespace that a library differentiates."""
        functions = {name: thing for name, thing in namespace.things.items() if is_function(thing)}
        paired = {name for pair in match(functions) for name in pair[:2]}
        found: list[Candidate] = []
        for name, function in functions.items():
            if name in paired or not _reads_as_forward(name, function):
                continue
            frameworks = differentiating((function,), namespace.declared.device)
            if frameworks:
                found.append(DifferentiableFunction(name, function, frameworks))
        return found

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return the function that one callable is."""
        if len(objects) != 1 or not is_function(objects[0]):
            return None
        frameworks = differentiating(objects, declared.device)
        return DifferentiableFunction(name, objects[0], frameworks) if frameworks else None


def _reads_as_forward(name: str, function: Any) -> bool:
    reads = stem(name).direction != "backward" and not set(words(name)) & _NO_FORWARD
    return reads and named_kind(name, function) is Kind.BN


ADAPTERS.add(NAME, _DifferentiableFunctions())
