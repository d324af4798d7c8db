"""Batch Normalization one step at a time: a wrong version replaces steps, and what follows from them follows.

Arrays broadcast against x: x, dy and what has their shape are (N, C, *spatial), a quantity per channel (1, C, 1, ...).

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3: Algorithm 1 and the gradients below it.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.case import Case

Array = NDArray[np.float64]


class Steps:
    """The steps of one case in float64; each is computed when it is asked for, once.

    Parameters
    ----------
    case : Case
        Its x, dy, gamma, beta and eps are what the steps begin with.
    replaced : mapping of str to callable
        Wrong versions of steps, by name. A wrong version may ask for its own step's right value: ``s.right("var")``.
    returned : mapping of str to array
        What the user's code returned for the case, for steps that are made of it.

    """

    def __init__(
        self, case: Case, replaced: Mapping[str, Step] | None = None, returned: Mapping[str, Any] | None = None
    ) -> None:
        wide = (1, -1, *[1] * (case.x.ndim - 2))
        self.case = case
        self.x: Array = case.x.astype(np.float64)
        self.dy: Array = case.dy.astype(np.float64)
        self.gamma: Array = case.gamma.astype(np.float64).reshape(wide)
        self.beta: Array = case.beta.astype(np.float64).reshape(wide)
        self.eps, self.m, self.n, self.c = case.spec.eps, case.spec.m, case.spec.n, case.spec.c
        self.axes: tuple[int, ...] = case.axes
        self.replaced = dict(replaced or {})
        self.returned = dict(returned or {})
        self.table: Mapping[str, RightStep] = STEPS

    def __getattr__(self, name: str) -> Any:
        """Return a step's value."""
        own = self.__dict__
        right = own.get("table", STEPS).get(name)
        if right is None:
            raise AttributeError(name)
        wrong = own["replaced"].get(name)
        own[name] = value = right.value(self) if wrong is None else wrong(self)
        return value

    def right(self, name: str) -> Any:
        """Return what a step should make of the steps before it."""
        return self.table[name].value(self)

    def mean(self, a: Array, axes: tuple[int, ...] | None = None) -> Array:
        """Return the mean per channel, or over other axes."""
        axes = self.axes if axes is None else axes
        # What np.mean does, without the half of its time that goes into finding out what is asked.
        found: Array = np.add.reduce(a, axis=axes, keepdims=True) / prod([a.shape[axis] for axis in axes])
        return found

    def sum(self, a: Array, axes: tuple[int, ...] | None = None) -> Array:
        """Return the sum per channel, or over other axes."""
        found: Array = np.add.reduce(a, axis=self.axes if axes is None else axes, keepdims=True)
        return found

    def also(self, replaced: Mapping[str, Step]) -> Steps:
        """Return the steps of the same case with more of them replaced."""
        found = Steps.__new__(Steps)
        # The same arrays: making them anew would take longer than most steps do.
        found.__dict__.update({name: self.__dict__[name] for name in GIVEN})
        found.replaced, found.table = {**self.replaced, **replaced}, STEPS
        return found


# What steps begin with.
GIVEN = ("case", "x", "dy", "gamma", "beta", "eps", "m", "n", "c", "axes", "returned")
Step = Callable[[Steps], Any]


class RightStep(NamedTuple):
    """A step as it should be: the line of the formula, and its value."""

    line: str
    value: Step


def absolute(a: Any) -> Any:
    """Return the absolute value, as a function that has a derivative: numbers moved off the real axis keep the move."""
    return np.where(np.real(a) < 0, -a, a)


STEPS: dict[str, RightStep] = {
    "mu": RightStep("mu = mean(x)", lambda s: s.mean(s.x)),
    "centred": RightStep("xc = x - mu", lambda s: s.x - s.mu),
    "var": RightStep("var = mean((x - mu)**2)", lambda s: s.mean(s.centred**2)),
    "inv_std": RightStep("inv_std = 1 / sqrt(var + eps)", lambda s: 1 / np.sqrt(s.var + s.eps)),
    "xhat": RightStep("xhat = (x - mu) * inv_std", lambda s: s.centred * s.inv_std),
    "y": RightStep("y = gamma * xhat + beta", lambda s: s.gamma * s.xhat + s.beta),
    # The backward has its own names for what it takes from the forward: a fault may lie in either.
    "back_gamma": RightStep("dxhat = dy * gamma", lambda s: s.gamma),
    "back_inv_std": RightStep("inv_std = 1 / sqrt(var + eps)", lambda s: s.inv_std),
    "back_centred": RightStep("xc = x - mu", lambda s: s.centred),
    "back_xhat": RightStep("xhat = (x - mu) * inv_std", lambda s: s.xhat),
    "dbeta": RightStep("dbeta = sum(dy)", lambda s: s.sum(s.dy)),
    "dgamma": RightStep("dgamma = sum(dy * xhat)", lambda s: s.sum(s.dy * s.back_xhat)),
    "dxhat": RightStep("dxhat = dy * gamma", lambda s: s.dy * s.back_gamma),
    "dvar": RightStep(
        "dvar = sum(dxhat * (x - mu)) * (-1/2) * (var + eps)**(-3/2)",
        lambda s: s.sum(s.dxhat * s.back_centred) * -0.5 * s.back_inv_std**3,
    ),
    "dmu": RightStep("dmu = -sum(dxhat) / sqrt(var + eps)", lambda s: -s.sum(s.dxhat) * s.back_inv_std),
    "direct_path": RightStep("dxhat / sqrt(var + eps)", lambda s: s.dxhat * s.back_inv_std),
    "variance_path": RightStep("dvar * 2 (x - mu) / m", lambda s: s.dvar * 2 * s.back_centred / s.m),
    "mean_path": RightStep("dmu / m", lambda s: s.dmu / s.m),
    "dx": RightStep(
        "dx = dxhat / sqrt(var + eps) + dvar * 2 (x - mu) / m + dmu / m",
        lambda s: s.direct_path + s.variance_path + s.mean_path,
    ),
}
# A step that two gradients are made of: where one of them is right, a line of the other is meant.
OF_GRADIENTS = {"back_xhat": ("dx", "dgamma")}
PATHS = ("direct_path", "mean_path", "variance_path")
FORWARD = ("mu", "centred", "var", "inv_std", "xhat", "y")
