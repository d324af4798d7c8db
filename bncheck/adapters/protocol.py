"""The seam of discovery: what an adapter offers, so that layout and eps can be found out the same way for all.

An adapter looks through a :class:`Namespace` for candidates. A candidate knows the ways in which it may want to be
called, its readings, most likely first. A reading starts runs: one forward and backward of the user's code, in the
user's own layout and parameter shape. Everything above a run (which layout, which parameter shape, which eps) is
settled by :mod:`bncheck.adapters.trials` and :mod:`bncheck.adapters.epsilon`, for all adapters alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from bncheck.adapters.frameworks import Framework
from bncheck.adapters.words import Kind
from bncheck.errors import TargetError
from bncheck.model import UNDECLARED, Declared
from bncheck.registry import Registry


class Parameters(NamedTuple):
    """What one run is started with; gamma and beta in the user's shape.

    `running` are mean and variance for a forward that is given running statistics, in that shape too; None for 0 and 1.
    `axis` is that of the channels in the user's data, None if it is not known.
    """

    gamma: Any
    beta: Any
    eps: float
    momentum: float
    running: tuple[Any, Any] | None = None
    axis: int | None = None


class Results(NamedTuple):
    """What a backward handed over, as it came; None where nothing was found."""

    dx: Any
    dgamma: Any
    dbeta: Any


class EpsPlace(NamedTuple):
    """How eps may be set: `source` is "argument" or "attribute"; where it is not `certain`, trying has to tell.

    `named` says where the code itself names it ("attribute eps"), "" where bncheck only offers it.
    """

    source: str
    certain: bool
    named: str = ""


class Run(Protocol):
    """One fresh layer or cache of the user's code, spoken to in the user's layout."""

    @property
    def gamma(self) -> Any:
        """The array that user code was given for gamma."""

    @property
    def beta(self) -> Any:
        """The array that user code was given for beta."""

    @property
    def returns(self) -> str:
        """How backward handed its gradients over, in words; "" before a backward."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Gamma or beta, if no way was found to give it to the code; asked after a forward."""

    def running(self) -> tuple[Any, Any] | None:
        """Return (running_mean, running_var) as the code keeps them now, as NumPy arrays; None if it keeps none."""

    def keeping(self) -> dict[str, Any]:
        """Return what the code keeps from one call to the next, by its place, where that can be looked at."""

    def acting(self, x: Any) -> str:
        """Return the place of an array in the code's own state that y depends on in training, "" if there is none."""

    def forward(self, x: Any, train: bool) -> Any:
        """Call the user's forward; return what looks like y, None if nothing does."""

    def backward(self, dy: Any) -> Results:
        """Call the user's backward after a forward."""


@runtime_checkable
class Differentiating(Protocol):
    """A run whose library differentiates twice, and forwards; either may raise where the code does not allow it."""

    def second(self, dy: Any, v: Any) -> Any:
        """Return the gradient of ``sum(v * dx)`` with respect to x; None if that is not offered."""

    def tangent(self, v: Any) -> Any:
        """Return the derivative of y along v in x; None if that is not offered."""

    def alone(self, dy: Any, name: str) -> tuple[Any, Any] | None:
        """Return y and one gradient, from a step in which no other one is wanted; None if that is not offered."""


@runtime_checkable
class Recording(Protocol):
    """A run of code whose library may record what is done to arrays."""

    def hanging(self, places: tuple[str, str] | None) -> dict[str, str]:
        """Tell of each running statistic, by its place, what is recorded for it, "" where nothing is.

        It hangs on the record of how it was made ("graph"), or gets gradients as a parameter does ("gradient").
        The statistics are those at `places`, else those whose names say so; {} where nothing is recorded.
        """


@runtime_checkable
class Clearing(Protocol):
    """A run that clears the gradients of a layer before each step, where the layer offers a way to."""

    def added(self, dy: Any) -> Results | None:
        """Call the user's backward without clearing; None where there is nothing to clear with."""


@runtime_checkable
class Starting(Protocol):
    """A run that knows what the layer itself had for its parameters."""

    def initial(self) -> dict[str, Any]:
        """Return the layer's own "gamma" and "beta" as they were before they were set; asked after a forward."""


@runtime_checkable
class Leaving(Protocol):
    """A reading that can leave eps out of its calls."""

    def untold(self) -> Reading | None:
        """Return the same reading that tells eps to neither call; None if one of them is never told it."""


@runtime_checkable
class Living(Protocol):
    """A run of a layer that may be switched by methods of its own, and whose parameters may change; after a forward."""

    def switched(self, train: bool) -> str:
        """Call the layer's own ``train()`` or ``eval()``; return the call, "" where there is none.

        From then on forwards run in the mode that the layer is in, and tell it nothing.
        """

    def learned(self, gamma: Any, beta: Any, *, in_place: bool) -> bool:
        """Replace gamma and beta, or write into them; tell whether that was done."""


class Reading(Protocol):
    """One way of calling a candidate."""

    @property
    def eps(self) -> EpsPlace | None:
        """How eps reaches the code; None if it cannot be set."""

    @property
    def absent(self) -> frozenset[str]:
        """Which of gamma and beta the code is known to do without."""

    @property
    def framework(self) -> Framework:
        """The array library that the code is spoken to in."""

    @property
    def mode_switch(self) -> str:
        """How the code is told whether this is training, as :class:`bncheck.model.Conventions` says it."""

    @property
    def guess(self) -> str:
        """What is handed over by guessing, so that an exception of the backward proves nothing; "" if nothing is."""

    def spelled(self) -> str:
        """Return the reading in one line: what is bound to which argument."""

    def without(self, absent: frozenset[str]) -> Reading:
        """Return the same reading for code that does without gamma or beta."""

    def start(self, parameters: Parameters) -> Run:
        """Return a fresh run."""


class Candidate(Protocol):
    """Something in a namespace that may be a Batch Normalization.

    Attributes
    ----------
    name : str
        Its name within the namespace; with the namespace's label it makes the target's name.
    aliases : frozenset of str
        Other names that may select it: of its forward, of its backward.
    kind : Kind
        What its name reads as.
    composite : bool
        Whether its name joins it with another layer, so that failing to run means it is simply something else.
    adapter : str
        Name of the adapter that found it.
    forward_name, backward_name : str
        What messages call the two functions.
    mentions : frozenset of str
        "gamma" and "beta", as far as its code speaks of them.

    """

    name: str
    aliases: frozenset[str]
    kind: Kind
    composite: bool
    adapter: str
    forward_name: str
    backward_name: str

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""

    def readings(self) -> Iterable[Reading]:
        """Yield the ways of calling it, most likely first; raise ArityError if there is none."""


class ArityError(TargetError):
    """A signature offers no place for what a Batch Normalization needs."""


@dataclass(frozen=True)
class Namespace:
    """The things of one module, or live objects, to look through.

    Attributes
    ----------
    label : str
        What precedes a candidate's name in its target's name ("my_bn.py::").
    things : dict
        Functions and classes by name, in the order of the source.
    module : ModuleType or None
        Where they live.
    notes : tuple of str
        What is to be said about how they were loaded.
    declared : Declared
        What the user said about the target.

    """

    label: str
    things: dict[str, Any] = field(default_factory=dict)
    module: ModuleType | None = None
    notes: tuple[str, ...] = ()
    declared: Declared = UNDECLARED


class Adapter(Protocol):
    """Finds candidates of one kind."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return what may be a Batch Normalization among the things of a namespace."""

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return the candidate that these objects, handed over from Python, are; None if they are none of its kind."""


@dataclass(frozen=True)
class ByThing:
    """An adapter that looks at one thing after another: `candidate` makes of a name and a thing what it is, or None.

    A subclass says in its docstring what it finds: `bncheck list adapters` shows that.
    """

    candidate: Callable[[str, Any, Declared], Candidate | None]

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return those in a namespace."""
        found = (self.candidate(name, thing, namespace.declared) for name, thing in namespace.things.items())
        return [candidate for candidate in found if candidate is not None]

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return the one that a single object is."""
        return self.candidate(name, objects[0], declared) if len(objects) == 1 else None


ADAPTERS: Registry[Adapter] = Registry("adapter", "bncheck.adapters")
