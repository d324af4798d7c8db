"""A function or method of its own for inference: ``bn_inference(x, gamma, beta, running_mean, ...)``, ``predict(x)``.

It takes the place of the forward wherever code is not training, once trying has shown that it runs and uses other
statistics. What code says of its mode otherwise comes first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bncheck.adapters.mode_values import spoken_words
from bncheck.adapters.modes import Switch
from bncheck.adapters.plans import Plan, arguments, forward_plans
from bncheck.adapters.protocol import ArityError
from bncheck.adapters.stems import NO_TRAINING
from bncheck.adapters.words import STATISTICS, Kind, argument_role, kind, stem, words

if TYPE_CHECKING:
    from bncheck.adapters.runs import Calling

INFERRING = NO_TRAINING - {"check", "gradcheck", "numerical", "numeric"}
_KEYS = frozenset(role.value for role in STATISTICS)


@dataclass(frozen=True, slots=True)
class Inference:
    """What is called in inference: a function, or the method of that name; and how."""

    name: str
    plan: Plan
    function: Callable[..., Any] | None = None

    @property
    def switch(self) -> Switch:
        """The switch that it is; code does not speak of it, so that it counts only where it acts."""
        what = "method" if self.function is None else "function"
        return Switch(f"{what} {self.name}", _turn, named=False)

    def call(self, layer: Any, values: dict[str, Any]) -> Any:
        """Call it."""
        return self.plan.call(self.function if self.function is not None else getattr(layer, self.name), values)


def _turn(layer: Any, values: dict[str, Any], train: bool) -> None:
    values["inferring"] = not train


def is_inference(switch: Switch) -> bool:
    """Tell whether a switch is one of these."""
    return switch.turn is _turn


def chosen(calling: Calling, switch: Switch) -> Calling:
    """Return how code is called once its switch is chosen: what was not chosen as such takes no forward's place."""
    return calling if calling.inference is None or is_inference(switch) else replace(calling, inference=None)


def gives_statistics(plan: Plan) -> bool:
    """Tell whether a forward is given its running statistics."""
    return plan.keys >= _KEYS


def keeps_statistics(plan: Plan, returned: Iterable[str | None]) -> bool:
    """Tell whether a forward keeps running statistics where its inference can be given them."""
    return gives_statistics(plan) or {argument_role(name) for name in returned if name} >= set(STATISTICS)


def beside(forward: str, functions: Mapping[str, Callable[..., Any]]) -> Inference | None:
    """Return the function that is the inference of a forward: named alike, and given running statistics."""
    own = stem(forward).words
    for name, function in functions.items():
        rest = tuple(word for word in stem(name).words if word not in INFERRING)
        if not set(words(name)) & INFERRING or rest != own or stem(name).direction == "backward":
            continue
        plan = _plan(function, own=False)
        if plan is not None and plan.keys >= _KEYS:
            return Inference(name, plan, function)
    return None


def among(cls: type, methods: Iterable[str], forward: str) -> Inference | None:
    """Return the method that is the inference of a class: it takes x alone, and reads running statistics."""
    for name in methods:
        function = getattr(cls, name, None)
        said = set(words(name)) - {"forward", "bn"}
        if name == forward or not inspect.isfunction(function) or not said & INFERRING:
            continue
        if said - INFERRING and kind(name) is not Kind.BN:
            continue
        given = arguments(_bound(function)) or []
        reads = {argument_role(word) for word in spoken_words(function)} >= set(STATISTICS)
        plan = _plan(_bound(function), own=True) if reads and sum(a.required for a in given) == 1 else None
        if plan is not None and plan.keys == {"x"}:
            return Inference(name, plan)
    return None


def _bound(function: Callable[..., Any]) -> Any:
    return function.__get__(object())


def _plan(function: Callable[..., Any], *, own: bool) -> Plan | None:
    try:
        return next(iter(forward_plans(function, own=own)), None)
    except ArityError:  # no place for x: this function is no forward
        return None
