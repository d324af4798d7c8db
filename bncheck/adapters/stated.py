"""What a program or an adapter file says about its target before it is tried: layouts, parameter shape, eps.

Discovery tries layouts through runs. What was stated is held there: a run refuses data in any other layout, so that
user code never sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bncheck.adapters.layouts import LAYOUTS, layout, parameter_shapes
from bncheck.errors import TargetError, UsageError
from bncheck.model import Declared

if TYPE_CHECKING:
    from bncheck.adapters.probe import Fit


@dataclass(frozen=True, slots=True)
class Stated:
    """What was stated; empty where discovery has to find out.

    Attributes
    ----------
    layouts : tuple of str
        Layouts that the target takes.
    parameter_shape : str or None
        The shape of gamma and beta: "(1, C)".
    eps : float or None
        The value of an eps that is hard-coded.

    """

    layouts: tuple[str, ...] = ()
    parameter_shape: str | None = None
    eps: float | None = None

    def checked(self, where: str) -> Stated:
        """Return what was stated; raise TargetError that begins with `where` if it makes no sense."""
        try:
            for name in self.layouts:
                layout(name)
            if self.parameter_shape is not None:
                parameter_shapes(2, 1, self.parameter_shape)
        except UsageError as error:
            raise TargetError(f"{where}: {error}") from None
        if self.eps is not None and not 0 <= self.eps < float("inf"):
            raise TargetError(f"{where}: eps must be a number from 0 on, not {self.eps}")
        return self

    def under(self, declared: Declared) -> Stated:
        """Return what is left of it beside what the user declared, who has the last word."""
        return Stated(
            self.layouts if declared.layout is None else (),
            self.parameter_shape if declared.parameter_shape is None else None,
            self.eps if declared.eps is None else None,
        )

    def added_to(self, declared: Declared) -> Declared:
        """Return what the user declared, and the stated eps where the user gave none."""
        return declared if self.eps is None or declared.eps is not None else replace(declared, eps=self.eps)

    @property
    def untried(self) -> str:
        """What to say when a target refused all that was tried because of what was stated."""
        return f"the layout stated, {' or '.join(self.layouts)}, is none of those that are tried: give it (--layout)"

    def hold(self, x: Any, gamma: Any) -> None:
        """Raise ValueError for data that cannot be in a stated layout, or a gamma of another shape.

        All sizes of a trial differ, so that the one that equals the number of channels tells the layout from the other
        that is tried. A layout beyond those two is reached only if the user gives it, and then nothing is held here.
        """
        tried = [name for name in self.layouts if name in LAYOUTS and len(name) == x.ndim]
        fitting = [name for name in tried if x.shape[name.index("C")] == gamma.size]
        if self.layouts and not fitting:
            raise ValueError(f"not tried: the layout is stated as {' or '.join(self.layouts)}")
        if self.parameter_shape is not None:
            (wanted,) = parameter_shapes(x.ndim, gamma.size, self.parameter_shape)
            if gamma.shape != wanted:
                raise ValueError(f"not tried: the shape of gamma is stated as {self.parameter_shape}")


def as_stated(fits: Mapping[int, Fit], layouts: Sequence[str]) -> dict[int, Fit]:
    """Return fits by number of axes, with those in stated layouts that did not work: what is promised is verified."""
    found = dict(fits)
    for name in layouts:
        if fits and len(name) not in found:
            known = next(iter(fits.values()))
            note = f"verified in {name} because the program states it"
            found[len(name)] = replace(known, way=replace(known.way, layout=layout(name)), note=note)
    return found
