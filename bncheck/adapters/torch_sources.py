"""Where layers of PyTorch come from: a class whose constructor is called, or a live layer that is copied."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bncheck.adapters.affine import mentioned
from bncheck.adapters.constructor_plans import constructor_plans
from bncheck.adapters.plans import Plan
from bncheck.adapters.protocol import ArityError
from bncheck.adapters.torch_parts import own_functions, parameters_of, statistics_of
from bncheck.adapters.words import words
from bncheck.errors import TargetError
from bncheck.guard import one_line

# A constructor's argument with one of these words, beside the number of channels, is the number of axes of x.
_AXES = frozenset("dims ndim ndims rank axes".split())
_PLAIN = (bool, int, float, str)


class ClassSource:
    """Layers made from a class."""

    takes_eps = True

    def __init__(self, cls: type) -> None:
        self.cls = cls

    def constructors(self) -> Iterator[Plan]:
        """Yield the ways of calling the constructor, most likely first."""
        for plan in constructor_plans(self.cls):
            yield _with_axes(plan)

    def spelled(self, constructor: Plan) -> str:
        """Return the constructor's call in words."""
        return constructor.spelled(self.cls.__name__)

    def make(self, constructor: Plan, values: dict[str, Any]) -> Any:
        """Return a fresh layer."""
        return constructor.call(self.cls, values)

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return mentioned(*own_functions(self.cls))


class InstanceSource:
    """Layers like a live one: copies of it; for other numbers of channels, made anew from its class."""

    takes_eps = False

    def __init__(self, layer: Any) -> None:
        self.cls, self._layer = type(layer), layer
        sizes = [place.get().numel() for place in parameters_of(layer, None).values()]
        sizes += [statistics.numel() for statistics in statistics_of(layer) or ()]
        self._size = sizes[0] if sizes else getattr(layer, "num_features", None)

    def constructors(self) -> Iterator[Plan]:
        """Yield what tells the number of channels from the constructor's other arguments."""
        try:
            yield next(constructor_plans(self.cls))
        except ArityError:
            yield Plan()

    def spelled(self, constructor: Plan) -> str:
        """Return where layers come from, in words."""
        return f"copies of the {self.cls.__name__}"

    def make(self, constructor: Plan, values: dict[str, Any]) -> Any:
        """Return a fresh layer with as many channels as gamma."""
        if self._size in (None, values["size"]):
            layer = copy.deepcopy(self._layer)
        else:
            layer = self._another(constructor, values["size"])
        if callable(reset := getattr(layer, "reset_running_stats", None)):
            reset()
        return layer

    def _another(self, constructor: Plan, size: int) -> Any:
        """Return a layer like the live one with another number of channels; its attributes tell how it was made."""
        sized = [name for name, key in constructor.bound if key == "size"][:1]
        found: dict[str, Any] = dict.fromkeys(sized, size)
        lost = []
        for name, parameter in inspect.signature(self.cls).parameters.items():
            value = getattr(self._layer, name, inspect.Parameter.empty)
            if name not in found and (value is None or isinstance(value, _PLAIN)):
                found[name] = value
            elif name not in found and parameter.default is parameter.empty:
                lost.append(name)
        why = f"its attributes do not tell {' and '.join(lost) or 'which argument is the number of channels'}"
        if sized and not lost:
            try:
                return self.cls(**found)
            except Exception as error:
                why = f"with {sized[0]}={size} it raises {type(error).__name__}: {one_line(error)}"
        raise TargetError(
            f"this {self.cls.__name__} has {self._size} channels, and no other can be made from its class: {why}. Give "
            "the class instead of the layer."
        )

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether it has gamma and beta."""
        return frozenset(parameters_of(self._layer, None))


def _with_axes(plan: Plan) -> Plan:
    """Return a constructor's plan that gives the number of axes of x where a name asks for it (d2l's ``num_dims``)."""
    named = [name for name, key in plan.bound if key in ("size", "none") and set(words(name)) & _AXES]
    if not named or named[0] == plan.bound[0][0]:
        return plan
    bound = tuple((name, "ndim" if name in named else key) for name, key in plan.bound)
    positional = tuple(key for _, key in bound[: len(plan.positional)])
    return replace(plan, positional=positional, named=bound[len(plan.positional) :], bound=bound)
