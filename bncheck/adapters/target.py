"""Target and Session over any reading: canonical arrays in and out, whatever the user's layout and parameter shape."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bncheck.adapters.layouts import CANONICAL, Layout, in_memory, layout
from bncheck.adapters.protocol import Clearing, Differentiating, Living, Parameters, Reading, Recording, Results, Run
from bncheck.core.precision import kind
from bncheck.model import GRADIENTS, Conventions
from bncheck.session import Gradients, SavedStatistic, Saving, Setup

if TYPE_CHECKING:
    from bncheck.case import Array


@dataclass(frozen=True)
class Way:
    """How data of one number of axes is handed to the user's code.

    Attributes
    ----------
    layout : Layout
        The user's order of axes.
    shape : tuple of int or None
        Shape of gamma and beta with -1 for C; None for (C,).
    dtype : str
        In which it is found out how the code is called; the cases of a sweep have their own.

    """

    layout: Layout
    shape: tuple[int, ...] | None
    dtype: str = "float64"

    def batch(self, x: Any) -> Any:
        """Return a canonical batch as the user's code gets it."""
        return np.ascontiguousarray(self.layout.user(x), self.dtype)

    def parameter(self, values: Any) -> Any:
        """Return one value per channel as the user's code gets them."""
        return np.array(values, self.dtype).reshape(self.shape or (-1,))


@dataclass(frozen=True)
class Hints:
    """What else is to be known of a target.

    Attributes
    ----------
    averaged : bool
        Whether it means the gradients of its parameters as means over m.
    statistics : tuple of str or None
        The places of running mean and variance among what it keeps, where their names do not say so.
    forward_only : bool
        Whether it has no backward.

    """

    averaged: bool = False
    statistics: tuple[str, str] | None = None
    forward_only: bool = False


class FoundTarget:
    """A user's implementation, understood."""

    def __init__(
        self,
        name: str,
        conventions: Conventions,
        reading: Reading,
        ways: Mapping[int, Way],
        hints: Hints | None = None,
    ) -> None:
        self._name, self._conventions = name, conventions
        self._reading, self._hints = reading, hints or Hints()
        first = next(iter(ways.values()))
        # Data that the target was not found to take is offered in the canonical order; its own code may refuse it.
        self._ways = {ndim: ways.get(ndim, Way(layout(CANONICAL[ndim]), first.shape)) for ndim in CANONICAL}

    @property
    def name(self) -> str:
        """How reports call the target."""
        return self._name

    @property
    def conventions(self) -> Conventions:
        """What discovery found out."""
        return self._conventions

    def note(self, said: Sequence[str]) -> None:
        """Add notes that what was found beside the target gives rise to."""
        self._conventions = replace(self._conventions, notes=(*self._conventions.notes, *said))

    def open(self, setup: Setup) -> FoundSession:
        """Return a fresh session."""
        return FoundSession(self._reading, self._ways, setup, self._hints)


_NO_GRADIENTS = Gradients(None, None, None)


class FoundSession:
    """One fresh layer or cache; the user's constructor runs at the first forward, when the number of axes is known."""

    __slots__ = ("_given", "_hints", "_reading", "_run", "_setup", "_shared", "_way", "_ways")

    def __init__(self, reading: Reading, ways: Mapping[int, Way], setup: Setup, hints: Hints) -> None:
        self._reading, self._ways, self._setup, self._hints = reading, ways, setup, hints
        self._run: Run | None = None
        self._given: dict[str, tuple[Any, Any]] = {}
        self._shared: list[tuple[str, str]] = []

    def forward(self, x: Array, mode: str = "train") -> Any:
        """Run the user's forward; return y in the canonical layout, or what came if its shape does not fit."""
        run = self._started(x)
        place = self._way.layout
        given = in_memory(place.user(x), self._setup.memory)
        self._given["x"] = (x, given)
        y = run.forward(given, mode == "train")
        self._note("y", y)
        return canonical(y, place, given.shape)

    def evaluate(self, x: Array) -> Any:
        """Do the same for who needs neither x nor y for long: x may be spoiled, and y is no copy."""
        run = self._started(x)
        place = self._way.layout
        given = place.user(x)
        if self._setup.memory != "C" or not given.flags.c_contiguous:
            given = in_memory(given, self._setup.memory)
        return canonical(run.forward(given, True), place, given.shape, copy=False)

    def _started(self, x: Array) -> Run:
        if self._run is None:
            self._way = self._ways[x.ndim]
            self._run = start(self._reading, self._way, self._setup)
        return self._run

    def backward(self, dy: Array) -> Gradients:
        """Run the user's backward; return dx in the canonical layout and the parameters' gradients as (C,)."""
        if self._run is None:
            raise RuntimeError("backward was called before forward")
        if self._hints.forward_only:
            return _NO_GRADIENTS
        given = self._handed(dy)
        return self._gradients(self._run, dy, self._run.backward(given))

    def added(self, dy: Array) -> Gradients | None:
        """Run the user's backward once more without clearing gradients; None where the code cannot clear them."""
        found = self._run.added(self._handed(dy)) if isinstance(self._run, Clearing) else None
        return None if found is None or self._run is None else self._gradients(self._run, dy, found)

    def _handed(self, dy: Array) -> Any:
        given = in_memory(self._way.layout.user(dy), self._setup.memory)
        self._given["dy"] = (dy, given)
        return given

    def _gradients(self, run: Run, dy: Array, found: Results) -> Gradients:
        """Return what a backward handed over in the canonical layout."""
        dx, dgamma, dbeta = found
        for name, gradient in zip(GRADIENTS, found, strict=True):
            self._note(name, gradient)
        place, size = self._way.layout, self._setup.gamma.size
        misfit = grown("gamma", run.gamma, dgamma, size) or grown("beta", run.beta, dbeta, size)
        scale = dy.size // size if self._hints.averaged else 1
        dgamma, dbeta = (summed(per_channel(gradient, size), scale) for gradient in (dgamma, dbeta))
        return Gradients(canonical(dx, place, place.user(dy).shape), dgamma, dbeta, misfit)

    def _note(self, name: str, result: Any) -> None:
        """Note in the memory of which array that was handed over a result lies; what is returned is a copy.

        Of NumPy code alone: what a library differentiates shares memory as the library likes (a sum of one term, say).
        """
        run = self._run
        if not isinstance(result, np.ndarray) or run is None or self._reading.framework.name != "numpy":
            return
        given = [(key, now) for key, (_, now) in self._given.items()] + [("gamma", run.gamma), ("beta", run.beta)]
        result = np.asarray(result)  # of a class with methods of its own nothing is asked
        # Of an array with memory of its own, which most have, it is enough to know whether it is one of them.
        own = result.flags.owndata
        self._shared += [
            (name, key)
            for key, now in given
            if (now is result if own else isinstance(now, np.ndarray) and np.may_share_memory(now, result))
        ]

    def shared(self) -> list[tuple[str, str]]:
        """Return which results lay in the memory of which array that was handed over."""
        return self._shared

    def second(self, dy: Array, v: Array) -> Any:
        """Return the gradient of ``sum(v * dx)`` with respect to x, after a forward; None if none is offered."""
        if not isinstance(self._run, Differentiating):
            return None
        place = self._way.layout
        given = (np.ascontiguousarray(place.user(array)) for array in (dy, v))
        return canonical(self._run.second(*given), place, place.user(dy).shape)

    def tangent(self, v: Array) -> Any:
        """Return the derivative of y along v in x by forward mode, after a forward; None if none is offered."""
        if not isinstance(self._run, Differentiating):
            return None
        place = self._way.layout
        return canonical(self._run.tangent(np.ascontiguousarray(place.user(v))), place, place.user(v).shape)

    def alone(self, dy: Array, name: str) -> tuple[Any, Any] | None:
        """Return y and the gradient of that name, asked for by itself, after a forward; None if none is offered."""
        if not isinstance(self._run, Differentiating):
            return None
        place = self._way.layout
        found = self._run.alone(np.array(place.user(dy)), name)
        if found is None:
            return None
        y, gradient = found
        gradients = self._gradients(self._run, dy, Results(None, None, None)._replace(**{name: gradient}))
        return canonical(y, place, place.user(dy).shape), getattr(gradients, name)

    def running_stats(self) -> tuple[Any, Any] | None:
        """Return copies of the running statistics as (C,); None if the code keeps none."""
        found = None if self._run is None else running_of(self._run, self._hints.statistics)
        return None if found is None else (per_channel(found[0], self._size), per_channel(found[1], self._size))

    def hanging(self) -> dict[str, str]:
        """Tell of each running statistic what a library records for it; {} where none records anything."""
        return self._run.hanging(self._hints.statistics) if isinstance(self._run, Recording) else {}

    def saved(self) -> list[SavedStatistic]:
        """Return the statistics of the batch that the last forward returned beside y, as (C,)."""
        found: list[SavedStatistic] = self._run.saved() if isinstance(self._run, Saving) else []
        return [one._replace(value=per_channel(one.value, self._size)) for one in found]

    def switched(self, train: bool) -> str:
        """Call the layer's own ``train()`` or ``eval()`` after a forward; return the call, "" where there is none."""
        return self._run.switched(train) if isinstance(self._run, Living) else ""

    def learned(self, gamma: Array, beta: Array, *, in_place: bool) -> bool:
        """Replace gamma and beta after a forward, or write into them; tell whether that was done."""
        if not isinstance(self._run, Living):
            return False
        shaped = (np.array(value).reshape(self._way.shape or (-1,)) for value in (gamma, beta))
        return self._run.learned(*shaped, in_place=in_place)

    @property
    def _size(self) -> int:
        return self._setup.gamma.size

    def handed_over(self) -> Mapping[str, tuple[Array, Array]]:
        """Return each array given to user code (name: before, now)."""
        found = {name: (before, self._way.layout.canonical(now)) for name, (before, now) in self._given.items()}
        if self._run is not None:
            found["gamma"] = (self._setup.gamma, np.reshape(self._run.gamma, -1))
            found["beta"] = (self._setup.beta, np.reshape(self._run.beta, -1))
        return found


def running_of(run: Run, places: tuple[str, str] | None) -> tuple[Any, Any] | None:
    """Return the running statistics of a run: at `places` among what it keeps, else where their names say so."""
    if places is None:
        return run.running()
    kept = with_rows(run.keeping())
    mean, var = (kept.get(place) for place in places)
    return None if mean is None or var is None else (mean, var)


def with_rows(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run keeps, by place, and beside an array of two rows each of these."""
    arrays = ((place, value) for place, value in kept.items() if isinstance(value, np.ndarray))
    rows = {f"{place}[{i}]": array[i] for place, array in arrays if array.ndim > 1 and len(array) == 2 for i in (0, 1)}
    return {**kept, **rows}


def start(reading: Reading, way: Way, setup: Setup) -> Run:
    """Return a fresh run of user code, with copies of gamma and beta in the user's shape."""
    gamma, beta = setup.gamma.copy(), setup.beta.copy()
    if way.shape is not None:
        gamma, beta = gamma.reshape(way.shape), beta.reshape(way.shape)
    if setup.memory == "readonly":
        gamma.flags.writeable = beta.flags.writeable = False
    return reading.start(Parameters(gamma, beta, setup.eps, setup.momentum, axis=way.layout.channel_axis))


def canonical(value: Any, place: Layout, shape: tuple[int, ...], *, copy: bool = True) -> Any:
    """Return a copy of a result in the canonical layout if it is like an array of that shape, else what came.

    A copy, because some code hands out the same buffer at each call; without `copy` it is one where that is needed.
    """
    array = value if isinstance(value, np.ndarray) else as_array(value)
    if array is None or array.shape != shape:
        return value
    found = place.canonical(array)
    return np.array(found, order="C") if copy else np.ascontiguousarray(found)


def per_channel(value: Any, size: int) -> Any:
    """Return a copy of a parameter's gradient as (C,) if its shape is that up to ones, else what came."""
    array = value if isinstance(value, np.ndarray) else as_array(value)
    if array is None or array.size != size:
        return value
    if array.shape == (size,):
        return np.array(array)
    if [n for n in array.shape if n != 1] != [n for n in (size,) if n != 1]:
        return value
    return np.array(array).reshape(size)


def summed(gradient: Any, m: int) -> Any:
    """Return the sum that a mean over m elements stands for."""
    return gradient * m if m != 1 and isinstance(gradient, np.ndarray) else gradient


def grown(name: str, parameter: Any, gradient: Any, size: int) -> str:
    """Return what an update would do to a parameter whose gradient broadcasts against it, "" where the two fit."""
    shape = np.shape(parameter)
    found = gradient.shape if isinstance(gradient, np.ndarray) else np.shape(as_array(gradient))
    if found == shape or math.prod(found) != size:
        return ""
    try:
        joint = np.broadcast_shapes(shape, found)
    except ValueError:  # shapes that do not broadcast have no joint one
        return ""
    if math.prod(joint) <= size:
        return ""
    return f"d{name} has shape {found} where {name} has {shape}: an update would grow {name} to {joint}"


def as_array(value: Any) -> Any:
    """Return an array of what is like one (a list, a tensor, a number), None of what is not."""
    if value is None or isinstance(value, str | bytes | dict):
        return None
    try:
        array = np.asarray(value)
    except Exception:  # ragged lists, tensors that refuse: not like an array, whatever they say
        return None
    return array if kind(array.dtype) in "fiuc" else None
