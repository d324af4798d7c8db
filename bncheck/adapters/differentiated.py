"""What any code shares whose backward is its library's own: a run that is differentiated.

What calls such code derives from :class:`DifferentiatedRun` and says in `evaluate` how y comes from x, gamma and beta;
:meth:`Framework.differentiate` does the rest, of a function that returns a pair: y, which is differentiated, and a dict
of arrays that are only handed on (new running statistics), which it hands back free of traces.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from bncheck.adapters.frameworks import Differential, Framework, Pull, codes_of
from bncheck.adapters.protocol import Parameters, Results

_OF = {"x": "dx", "gamma": "dgamma", "beta": "dbeta"}


class DifferentiatedRun:
    """A run whose backward is the library's own differentiation of the forward.

    Parameters
    ----------
    framework : Framework
        The library.
    parameters : Parameters
        What the run is started with.
    missing : tuple of str
        Gamma or beta, if the code has no place for it.

    Attributes
    ----------
    whose : str
        Whose backward it is, in words.

    """

    def __init__(self, framework: Framework, parameters: Parameters, missing: tuple[str, ...] = ()) -> None:
        self._framework, self._missing = framework, missing
        self._parameters = {"gamma": parameters.gamma, "beta": parameters.beta}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._pull: Pull | None = None
        self._returns = ""
        self.whose = f"autograd of {framework.name}"

    # ------------------------------------------------------------------------------------------- what subclasses say

    def evaluate(self, arrays: Mapping[str, Any], train: bool) -> tuple[Any, dict[str, Any]]:
        """Return y, and arrays to be handed to `keep`, for the library's arrays "x", "gamma" and "beta"."""
        raise NotImplementedError

    def keep(self, arrays: Mapping[str, Any]) -> None:
        """Take what `evaluate` handed on, free of traces."""

    def running(self) -> tuple[Any, Any] | None:
        """Return (running_mean, running_var) as the code keeps them now, as NumPy arrays; None if it keeps none."""
        return None

    def keeping(self) -> dict[str, Any]:
        """Return what the code keeps from one call to the next, by its place, where that can be looked at."""
        return {}

    def acting(self, x: Any) -> str:
        """Return the array in the code's own state that y depends on; functions have no state."""
        return ""

    # ------------------------------------------------------------------------------------------------------- the run

    @property
    def _names(self) -> tuple[str, ...]:
        """What the gradients belong to, in order."""
        return ("x", *(key for key in self._parameters if key not in self._missing))

    @property
    def gamma(self) -> Any:
        """The array that user code was given for gamma."""
        return self._parameters["gamma"]

    @property
    def beta(self) -> Any:
        """The array that user code was given for beta."""
        return self._parameters["beta"]

    @property
    def missing(self) -> tuple[str, ...]:
        """Gamma or beta, if the code has no place for it."""
        return self._missing

    @property
    def returns(self) -> str:
        """Whose backward it is, and which parameters no gradient reaches; "" before a backward."""
        return self._returns

    def differentiated(self, x: Any, train: bool) -> tuple[Any, Pull]:
        """Return y, and what maps dy to the gradients of x and of the parameters that are not missing."""

        def function(*arrays: Any) -> tuple[Any, dict[str, Any]]:
            return self.evaluate(dict(zip(self._names, arrays, strict=True)), train)

        inputs = (x, *(self._parameters[name] for name in self._names[1:]))
        found = self._framework.differentiate(function, inputs)
        if found is None:
            raise TypeError(f"{self._framework.name} does not differentiate")
        (y, kept), pull = found
        self.keep(kept)
        return y, pull

    def forward(self, x: Any, train: bool) -> Any:
        """Call the user's forward under the library's differentiation; return y."""
        y, self._pull = self.differentiated(x, train)
        self._shapes = {"x": x.shape, "gamma": np.shape(self.gamma), "beta": np.shape(self.beta)}
        return y

    def backward(self, dy: Any) -> Results:
        """Return the library's gradients.

        Where none reaches a parameter an optimizer would leave it as it is: that is a gradient of 0, and is judged.
        """
        if self._pull is None:
            raise RuntimeError("backward was called before forward")
        found = self._pull(dy)
        unreached = [name for name, gradient in zip(self._names, found, strict=True) if gradient is None]
        self._returns = self.whose
        if unreached:
            self._returns += f"; no gradient reaches {' and '.join(unreached)}"
        named = zip(self._names, found, strict=True)
        gradients = {name: self._reached(name, gradient, dy) for name, gradient in named}
        return Results(*(gradients.get(name) for name in _OF))

    def _reached(self, name: str, gradient: Any, dy: Any) -> Any:
        return np.zeros(self._shapes[name], dy.dtype) if gradient is None else gradient

    def second(self, dy: Any, v: Any) -> Any:
        """Return the gradient of ``sum(v * dx)`` with respect to x, None if the library offers none."""
        return self._pull.second(dy, v) if isinstance(self._pull, Differential) else None

    def tangent(self, v: Any) -> Any:
        """Return the derivative of y along v in x by forward mode, None if the library offers none."""
        return self._pull.tangent(v) if isinstance(self._pull, Differential) else None

    def alone(self, dy: Any, name: str) -> tuple[Any, Any] | None:
        """Return y and one gradient, asked for by itself; None if the library cannot be asked so."""
        asked = self._pull.alone if isinstance(self._pull, Differential) else None
        names = [_OF[name] for name in self._names]
        if asked is None or name not in names:
            return None
        at = names.index(name)
        y, gradient = asked(dy, at)
        return y, self._reached(self._names[at], gradient, dy)


def recording(*functions: Any) -> bool:
    """Tell whether functions, or those of their modules that they call, ask whether gradients are recorded."""
    found = [inspect.unwrap(function) for function in functions]
    for function in list(found):
        scope = getattr(function, "__globals__", {})
        called = (scope.get(name) for code in codes_of(getattr(function, "__code__", None)) for name in code.co_names)
        found += [other for other in called if inspect.isfunction(other)]
    codes = (code for function in found for code in codes_of(getattr(function, "__code__", None)))
    return any("is_grad_enabled" in code.co_names for code in codes)
