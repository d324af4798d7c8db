"""What user code looks like once it is understood: a target opens sessions, one fresh layer or cache each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from bncheck.case import Array
    from bncheck.model import Conventions


class Gradients(NamedTuple):
    """What backward returned: dx in the layout of x, dgamma and dbeta as (C,); None if absent.

    `misfit` says of a gradient that was put right by dropping ones that it does not fit the parameter's own shape.
    """

    dx: Any
    dgamma: Any
    dbeta: Any
    misfit: str | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What a session is opened with: gamma and beta of shape (C,), already in the target's dtype."""

    gamma: Array
    beta: Array
    eps: float
    momentum: float
    memory: str = "C"


class Session(Protocol):
    """One fresh layer or cache of the user's code. Arrays are canonical: (N, C, *spatial), parameters (C,).

    The user's code gets copies of x and dy, which it may spoil. What it returns is copied, since it may be a buffer
    that it writes into again.

    What the user's code returned in a shape that does not fit is handed on as it came, for the checks to judge.
    """

    def forward(self, x: Array, mode: str = "train") -> Any:
        """Run the user's forward; return y."""

    def backward(self, dy: Array) -> Gradients:
        """Run the user's backward after forward; return the three gradients, all None where there is no backward."""

    def handed_over(self) -> Mapping[str, tuple[Array, Array]]:
        """Return each array given to user code (name: before, now), so that in-place changes can be seen."""

    def running_stats(self) -> tuple[Any, Any] | None:
        """Return copies of (running_mean, running_var) as (C,), as they are now; None if the code keeps none."""


class SavedStatistic(NamedTuple):
    """A statistic of a batch that a forward returned beside y, under a name that says so.

    `kind` is "mean", "std", "inverse" (of a deviation or a variance), or "spread" for a name that is used for any of
    those; `certain` tells whether the name can mean nothing but this batch's statistic; `value` is (C,), or as it came.
    """

    name: str
    kind: str
    certain: bool
    value: Any


@runtime_checkable
class Saving(Protocol):
    """A session whose forward may return statistics of the batch beside y."""

    def saved(self) -> list[SavedStatistic]:
        """Return those of the last forward."""


@runtime_checkable
class Sharing(Protocol):
    """A session that notes results which lie in the memory of arrays that were handed over."""

    def shared(self) -> list[tuple[str, str]]:
        """Return which result lay in the memory of which array: ("dbeta", "dy")."""


@runtime_checkable
class Adding(Protocol):
    """A session of a layer that may add gradients up until they are cleared."""

    def added(self, dy: Array) -> Gradients | None:
        """Run backward once more without clearing; None where the code offers no way to clear its gradients."""


@runtime_checkable
class Changeable(Protocol):
    """A session of a layer that may be switched by methods of its own, and whose parameters may change."""

    def switched(self, train: bool) -> str:
        """Call the layer's own ``train()`` or ``eval()`` after a forward; return the call, "" where there is none.

        From then on forwards run in the mode that the layer is in, whatever mode they are asked for.
        """

    def learned(self, gamma: Array, beta: Array, *, in_place: bool) -> bool:
        """Replace gamma and beta after a forward, or write into them; tell whether that was done."""


@runtime_checkable
class Differentiable(Protocol):
    """A session of code that a library differentiates; each word returns None, or raises, where it is not offered."""

    def second(self, dy: Array, v: Array) -> Any:
        """Return the gradient of ``sum(v * dx)`` with respect to x, after a forward; shape of x."""

    def tangent(self, v: Array) -> Any:
        """Return the derivative of y along v in x by forward mode, after a forward; shape of x."""

    def alone(self, dy: Array, name: str) -> tuple[Any, Any] | None:
        """Return y and the gradient "dx", "dgamma" or "dbeta", from a step in which no other one is wanted."""


@runtime_checkable
class Recording(Protocol):
    """A session of code whose library may record what is done to arrays."""

    def hanging(self) -> dict[str, str]:
        """Tell of each running statistic, by its place, what is recorded for it.

        "graph" where it hangs on the record of how it was made, "gradient" where it gets gradients as a parameter does.
        """


class Target(Protocol):
    """A user's implementation, understood."""

    @property
    def name(self) -> str:
        """How reports call the target."""

    @property
    def conventions(self) -> Conventions:
        """What discovery found out."""

    def open(self, setup: Setup) -> Session:
        """Return a fresh session."""
