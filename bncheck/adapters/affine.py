"""Code without gamma and beta, or without beta alone: which code that is, and a run that adds what is missing.

What a target lacks is applied around its code: ``y = gamma * y_user + beta``, ``backward(gamma * dy)``, and the chain
rule gives ``dgamma = sum(dy * y_user)`` and ``dbeta = sum(dy)``. So y and dx are judged like those of any target, and
the two gradients of the parameters follow from the user's own y.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from bncheck.adapters.frameworks import codes_of, functions_of
from bncheck.adapters.modes import Remembers, Turning
from bncheck.adapters.protocol import Living, Parameters, Recording, Results, Run, Starting
from bncheck.adapters.words import Role, argument_role, clarity, gradient_name
from bncheck.core.precision import limits
from bncheck.session import SavedStatistic, Saving

_CLEAR = 3  # how clearly "dgamma" says whose gradient it is, unlike "dw"
# What may be missing from code that is understood all the same.
OPTIONAL = (frozenset({"gamma", "beta"}), frozenset({"beta"}), frozenset({"gamma"}))
_NOTES = {
    OPTIONAL[0]: (
        "no gamma and beta (treated as 1 and 0): bncheck scales and shifts the code's y",
        ", and takes dgamma and dbeta from it",
    ),
    OPTIONAL[1]: ("no beta (treated as 0): bncheck shifts the code's y", ", and sums dbeta itself"),
    OPTIONAL[2]: ("no gamma (treated as 1): bncheck scales the code's y", ", and takes dgamma from it"),
}


def note_of_absent(absent: frozenset[str], forward_only: bool) -> str:
    """Return what is to be said of code that does without gamma or beta, "" if it has both."""
    forward, backward = _NOTES.get(absent, ("", ""))
    return forward if forward_only else forward + backward


def own_parameters(parameters: Parameters, absent: frozenset[str]) -> Parameters:
    """Return what the code itself is given: a small part of beta, where bncheck applies gamma alone.

    It is taken away from y again to know xhat. A power of two near the root of the unit roundoff leaves nothing of that
    to be seen in xhat, and an error in how the code adds its beta still stands far above rounding.
    """
    if absent != OPTIONAL[2]:
        return parameters
    beta = parameters.beta
    return parameters._replace(beta=(beta * 2.0 ** -(limits(beta.dtype.name).nmant // 2)).astype(beta.dtype))


def run_of(make: Callable[[Parameters], Run], parameters: Parameters, absent: frozenset[str]) -> Run:
    """Return the run that `make` makes from parameters, with what the code does without applied around it."""
    return AffineRun(make(own_parameters(parameters, absent)), parameters, absent) if absent else make(parameters)


def _scale(gamma: Any) -> Any:
    """Return gamma with ones for zeros: those channels get their beta added."""
    return np.where(gamma == 0, 1, gamma)


class AffineRun:
    """A run of code without gamma or beta, as if it had them."""

    def __init__(self, run: Run, parameters: Parameters, absent: frozenset[str]) -> None:
        self._run, self._absent = run, absent
        self._own = parameters
        self._before = own_parameters(parameters, absent).beta
        self._y: Any = None
        self._is_dbeta = False

    @property
    def gamma(self) -> Any:
        """The array that stands for gamma."""
        return self._own.gamma if "gamma" in self._absent else self._run.gamma

    @property
    def beta(self) -> Any:
        """The array that stands for beta; where the code has one it is told that it changed by a change of ours."""
        if "beta" in self._absent or np.array_equal(self._given_beta, self._before, equal_nan=True):
            return self._own.beta
        return self._given_beta

    @property
    def missing(self) -> tuple[str, ...]:
        """What else is missing."""
        return tuple(key for key in self._run.missing if key not in self._absent)

    @property
    def returns(self) -> str:
        """How the code's own backward handed its gradients over."""
        said = self._run.returns
        return said.replace("dgamma", "dbeta") if self._is_dbeta else said

    @property
    def rest(self) -> tuple[Any, ...]:
        """What the code's own forward returned beside y."""
        return getattr(self._run, "rest", ())

    def acting(self, x: Any) -> str:
        """Return what the code's own run says."""
        return self._run.acting(x)

    def remembered(self) -> dict[tuple[Any, ...], Any]:
        """Return what the code's own run says."""
        return self._run.remembered() if isinstance(self._run, Remembers) else {}

    def turn(self, switch: Any, train: bool) -> None:
        """Turn one switch of the code's own run alone."""
        if isinstance(self._run, Turning):
            self._run.turn(switch, train)

    def switched(self, train: bool) -> str:
        """Switch the code's own run by its own method."""
        return self._run.switched(train) if isinstance(self._run, Living) else ""

    def learned(self, gamma: Any, beta: Any, *, in_place: bool) -> bool:
        """Say that nothing was changed: of what the code does without there is nothing in it."""
        return False

    def running(self) -> tuple[Any, Any] | None:
        """Return what the code's own run says."""
        return self._run.running()

    def initial(self) -> dict[str, Any]:
        """Return what the code's own run says."""
        return self._run.initial() if isinstance(self._run, Starting) else {}

    def saved(self) -> list[SavedStatistic]:
        """Return what the code's own run says."""
        return self._run.saved() if isinstance(self._run, Saving) else []

    def keeping(self) -> dict[str, Any]:
        """Return what the code's own run says."""
        return self._run.keeping()

    def hanging(self, places: tuple[str, str] | None) -> dict[str, str]:
        """Return what the code's own run says, if it does."""
        return self._run.hanging(places) if isinstance(self._run, Recording) else {}

    def forward(self, x: Any, train: bool) -> Any:
        """Call the code's forward; scale and shift what it returns, in its own dtype."""
        y = self._run.forward(x, train)
        if not isinstance(y, np.ndarray) or y.shape != x.shape:
            self._y = None
            return y
        self._y = y.copy()  # code may reuse the array in its backward
        gamma, beta = self._along(self._own.gamma, x.ndim), self._along(self._own.beta, x.ndim)
        y = y * gamma if "gamma" in self._absent else y
        if "beta" in self._absent:
            y = y + beta
        else:
            given = self._along(self._given_beta, x.ndim)
            self._y -= given
            y = y + (beta - gamma * given)
        return y.astype(self._y.dtype, copy=False)

    def backward(self, dy: Any) -> Results:
        """Call the code's backward with what reaches it; add the gradients of what it does without."""
        scaled = dy * self._along(self._own.gamma, dy.ndim) if "gamma" in self._absent else dy
        given = scaled.astype(dy.dtype)
        given.flags.writeable = dy.flags.writeable
        before = given.copy()
        found = self._run.backward(given)
        if self._absent == OPTIONAL[2] and found.dbeta is None and found.dgamma is not None:
            # The second of two without names stands for gamma elsewhere; here there is one parameter, and that is beta.
            found, self._is_dbeta = Results(found.dx, None, found.dgamma), True
        kept = dy.copy()
        if dy.flags.writeable and not np.array_equal(given, before, equal_nan=True):
            dy[...] = given  # so that a change in place is seen where changes are looked for
        dgamma = found.dgamma
        if "gamma" in self._absent:
            dgamma = None if self._y is None else self._summed(kept * self._y, self._own.gamma)
        if "beta" in self._absent:
            return Results(found.dx, dgamma, self._summed(kept, self._own.beta))
        return Results(found.dx, dgamma, self._unscaled(found.dbeta, kept))

    def _along(self, parameter: Any, ndim: int) -> Any:
        """Return one value per channel as it broadcasts along the channels of data of that many axes."""
        if parameter.ndim != 1 or self._own.axis is None:
            return parameter
        return parameter.reshape((*[1] * self._own.axis, -1, *[1] * (ndim - self._own.axis - 1)))

    def _summed(self, values: Any, parameter: Any) -> Any:
        """Return the sum over all axes along which a parameter was broadcast, in its shape."""
        return _summed_to(values, self._along(parameter, values.ndim)).reshape(parameter.shape)

    @property
    def _given_beta(self) -> Any:
        return np.reshape(self._run.beta, np.shape(self._own.beta))

    def _unscaled(self, dbeta: Any, dy: Any) -> Any:
        """Return the code's own dbeta, which is of gamma * dy, as that of dy."""
        gamma = self._own.gamma
        if not isinstance(dbeta, np.ndarray) or dbeta.size != gamma.size:
            return dbeta
        found = dbeta.reshape(gamma.shape) / _scale(gamma)
        return np.where(gamma == 0, self._summed(dy, gamma), found).astype(dbeta.dtype)


def _summed_to(values: Any, parameter: Any) -> Any:
    """Return the sum over all axes along which a parameter was broadcast."""
    shape = (*[1] * (values.ndim - parameter.ndim), *parameter.shape)
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1)
    return values.sum(axis=axes, dtype=np.float64).reshape(parameter.shape).astype(values.dtype)


def mentioned(*things: Any) -> frozenset[str]:
    """Return "gamma" and "beta" as far as the code of functions or classes speaks of them.

    Code that speaks of a gamma has one, and where bncheck found no way to set it, it cannot be judged.
    """
    found = set()
    for name, is_local in names_in(things):
        read = gradient_name(name)
        role = argument_role(name)
        # "scale" and "shift" are clear as attributes and keys, but as local variables they may mean 1 / std and mu.
        if read is not None and read.of != "dx" and read.clarity > 2:
            found.add(read.of[1:])
        elif role in (Role.GAMMA, Role.BETA) and clarity(name) > (2 if is_local else 1):
            found.add(role.value)
    return frozenset(found)


def gradient_in(thing: Any) -> str:
    """Return the first name in the code of a thing that clearly is the gradient of gamma or beta, "" if none is."""
    found = ((name, gradient_name(name)) for name, _ in names_in((thing,)))
    return next((n for n, read in found if read and read.of != "dx" and read.clarity >= _CLEAR), "")


def names_in(things: Iterable[Any]) -> Iterator[tuple[str, bool]]:
    """Yield every name in the code of functions and classes, and whether it is that of a local variable."""
    functions = [function for thing in things for function in functions_of(thing)]
    for code in (c for function in functions for c in codes_of(getattr(function, "__code__", None))):
        yield from ((name, True) for name in (*code.co_varnames, *code.co_cellvars))
        yield from ((name, False) for name in (*code.co_names, *code.co_freevars))
        yield from ((text, False) for text in code.co_consts if isinstance(text, str) and text.isidentifier())
