"""Watching user code while discovery's reading of it runs: what each function was called with, and what came back.

An adapter is written from what is seen here, so that it rests on what happens and not on how a reading is made.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bncheck import guard
from bncheck.adapters import resolve
from bncheck.adapters.frameworks import FRAMEWORKS, NUMPY, is_array
from bncheck.adapters.layouts import layout
from bncheck.adapters.places import parts_of
from bncheck.model import Conventions, Declared, Fault, TargetSpec
from bncheck.session import Gradients, Session, Setup, Target

# Values that nothing else has by accident: an argument with one of them is what it seems.
EPS, MOMENTUM = 3.0517578125e-4, 0.8203125
_SIZES = {2: (5, 7), 3: (5, 7, 3), 4: (5, 7, 3, 2), 5: (5, 7, 3, 2, 4)}
_DEPTH = 3


class UnclearError(Exception):
    """Something that an adapter cannot be written for; the text says what."""


@dataclass(frozen=True)
class Call:
    """One call of user code.

    Attributes
    ----------
    name : str
        The function or method; "__init__" for the constructor.
    positional : tuple of str
        Names of the arguments that were given by position.
    before : dict
        Copies of the arguments as they were when the call began, by name.
    owner : dict
        Copies of what the layer held then (after the call for a constructor), by the expression that leads there from
        the layer.
    result : object
        What came back.

    """

    name: str
    positional: tuple[str, ...]
    before: dict[str, Any]
    owner: dict[str, Any]
    result: Any


@dataclass
class Observed:
    """A training step as user code saw it, a second forward, and one in inference mode; None for those that raised.

    Arrays are in the user's layout. `leaves` copies what the layer held after the step, by expression.
    """

    conventions: Conventions
    x: Any
    dy: Any
    gamma: Any
    beta: Any
    y: Any = None
    gradients: Gradients | None = None
    running: tuple[Any, Any] | None = None
    calls: list[Call] = field(default_factory=list)
    second: Call | None = None
    inference: Call | None = None
    leaves: dict[str, Any] = field(default_factory=dict)


class Watch:
    """Wraps functions or a class so that calls of them are noted."""

    def __init__(self, framework: str) -> None:
        self._take = (NUMPY if framework == NUMPY.name else FRAMEWORKS.get(framework)("cpu")).take
        self.calls: list[Call] = []
        self.layer: Any = None

    def function(self, original: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a function that does the same and is noted."""

        @functools.wraps(original)
        def watched(*args: Any, **kwargs: Any) -> Any:
            return self._noted(name, original, args, kwargs, None)

        return watched

    def layers(self, cls: type, names: tuple[str, str]) -> type:
        """Return a subclass whose constructor and two methods are noted."""

        def method(name: str) -> Callable[..., Any]:
            original = getattr(cls, name)

            @functools.wraps(original)
            def watched(layer: Any, *args: Any, **kwargs: Any) -> Any:
                return self._noted(name, functools.partial(original, layer), args, kwargs, layer)

            return watched

        members = {name: method(name) for name in ("__init__", *names)}
        return type(cls.__name__, (cls,), {"__doc__": cls.__doc__, "__module__": cls.__module__, **members})

    def copied(self, value: Any, depth: int = 0) -> Any:
        """Return a copy of a value, arrays of any library as NumPy arrays."""
        if is_array(value):
            return np.array(self._take(value))
        if isinstance(value, tuple | list | dict) and depth < _DEPTH:
            if isinstance(value, dict):
                return {key: self.copied(item, depth + 1) for key, item in value.items()}
            return (
                type(value)([self.copied(item, depth + 1) for item in value]) if type(value) in (tuple, list) else value
            )
        return value

    def held(self, layer: Any) -> dict[str, Any]:
        """Return copies of the numbers, arrays, flags and texts in a layer, by expression."""
        if layer is None:
            return {}
        found = {place.spelled: self.copied(place.get()) for place in parts_of(layer).places}
        return found | {n: v for n, v in getattr(layer, "__dict__", {}).items() if isinstance(v, bool | str)}

    def _noted(self, name: str, function: Any, args: Any, kwargs: Any, layer: Any) -> Any:
        arguments = inspect.signature(function).bind(*args, **kwargs).arguments
        before = {key: self.copied(value) for key, value in arguments.items()}
        positional = tuple(arguments)[: len(args)]
        owner = {} if name == "__init__" else self.held(layer)
        self.layer = layer
        result = function(*args, **kwargs)
        if name == "__init__":
            owner = self.held(layer)
        self.calls.append(Call(name, positional, before, owner, self.copied(result)))
        return result


def observe(live: tuple[Any, ...], names: tuple[str, str], conventions: Conventions, declared: Declared) -> Observed:
    """Return what the calls of a target's code look like.

    Parameters
    ----------
    live : tuple
        Two functions, or one class.
    names : tuple of str
        The names of forward and backward.
    conventions : Conventions
        What discovery found about them.
    declared : Declared
        What the user said about them.

    """
    watch = Watch(conventions.framework)
    target = _watched(watch, live, names, replace(declared, kind=conventions.adapter, adapter_file=None))
    place = layout(conventions.layouts[0])
    random = np.random.default_rng(5)
    x, other, dy = (random.normal(0.5, 1.0, _SIZES[len(place.name)]) for _ in range(3))
    bare = conventions.parameter_shape == "none"
    channels = x.shape[1]
    # What the code does without is 1 and 0, so that its own y and dx are those of the session.
    gamma, beta = random.uniform(0.5, 2.0, (2, channels)) if not bare else (np.ones(channels), np.zeros(channels))
    x, other, dy, gamma, beta = (a.astype(conventions.dtype or a.dtype) for a in (x, other, dy, gamma, beta))
    given, upstream = (np.ascontiguousarray(place.user(a)) for a in (x, dy))
    seen = Observed(conventions, given, upstream, gamma, beta)
    watch.calls.clear()
    faults: list[Fault] = []
    with guard.quiet(), guard.faults_of("a step", faults):
        session = target.open(Setup(gamma.copy(), beta.copy(), EPS, MOMENTUM))
        _step(session, (x, dy), watch, seen)
    if faults:
        raise UnclearError(str(faults[0]))
    if not isinstance(seen.y, np.ndarray) or seen.gradients is None or not isinstance(seen.gradients.dx, np.ndarray):
        raise UnclearError("its forward or its backward returned no array")
    seen.y, dx = place.user(seen.y), place.user(seen.gradients.dx)
    seen.gradients = seen.gradients._replace(dx=dx)
    seen.second = _forward(session, other, "train", watch)
    seen.inference = _forward(session, other, "eval", watch) if conventions.mode_switch else None
    return seen


def _watched(watch: Watch, live: tuple[Any, ...], names: tuple[str, str], declared: Declared) -> Target:
    """Return the target that functions or a class are, with their calls noted."""
    one = inspect.isclass(live[0])
    watched = (watch.layers(live[0], names),) if one else tuple(map(watch.function, live, names))
    return resolve.target(TargetSpec("watched", watched, declared), "watched")


def _step(session: Session, batch: tuple[Any, Any], watch: Watch, seen: Observed) -> None:
    """Run forward and backward, and note what came of it."""
    seen.y = session.forward(batch[0])
    seen.running = session.running_stats()
    seen.gradients = session.backward(batch[1])
    seen.leaves = watch.held(watch.layer)
    seen.calls = list(watch.calls)


def _forward(session: Session, x: Any, mode: str, watch: Watch) -> Call | None:
    """Return the call of a further forward, None if it raised."""
    faults: list[Fault] = []
    with guard.quiet(), guard.faults_of("forward", faults):
        session.forward(x, mode)
    return None if faults else watch.calls[-1]


def leaves(value: Any, text: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield every part of a result, itself first, with the expression that leads there."""
    yield text, value
    if depth < _DEPTH and isinstance(value, tuple | list | dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            quoted = f'"{key}"' if isinstance(key, str) and key.isidentifier() else repr(key)
            yield from leaves(item, f"{text}[{quoted}]", depth + 1)
