"""Where failing begins: two neighbouring values of one parameter, and how that is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Value = int | float | str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Boundary:
    """With the other parameters as in the shrunk case, `parameter` was seen to pass at one value and fail at the other.

    The failing value is the shrunk case's. It need not be the larger one: a case may fail at C = 1 and pass at C = 2.
    `nearby` are further sizes that were tried, and whether it fails there: only odd ones fail, or all from one on.
    """

    parameter: str
    passes: Value
    fails: Value
    nearby: tuple[tuple[int, bool], ...] = field(default=(), compare=False)

    @property
    def words(self) -> str:
        """Where failing begins, for the reader."""
        name = _LETTERS.get(self.parameter, self.parameter)
        if self.parameter in _KINDS:
            return f"fails with {_KINDS[self.parameter](self.fails)}, passes with {_KINDS[self.parameter](self.passes)}"
        if self.passes == ():
            return f"fails with spatial axes ({_spelled(self.fails)}), passes without"
        if self.fails == ():
            return f"fails without spatial axes, passes with them ({_spelled(self.passes)})"
        passes, fails = (_spelled(value) for value in (self.passes, self.fails))
        failing = [value for value, failed in self.nearby if failed]
        passing = [value for value, failed in self.nearby if not failed]
        if failing and passing:
            at_first = [self.fails] if isinstance(self.fails, int) else []
            if not self._is_regular([*at_first, *failing], passing):
                return ""
            return f"fails at {name} = {fails}, {_listed(failing)} and passes at {passes}, {_listed(passing)}"
        if isinstance(self.passes, int | float) and isinstance(self.fails, int | float) and self.passes < self.fails:
            if not passing:
                return f"fails from {name} = {fails} on (passes at {passes})"
            passes = f"{passes}, {_listed(passing)}"
        return f"fails at {name} = {fails} and passes at {passes}"

    def _is_regular(self, failing: list[int], passing: list[int]) -> bool:
        """Tell whether sizes fail by turns: odd or even ones, multiples of something or the others.

        What goes up and down without a rule depends on the numbers of each case, and says nothing about sizes.
        """
        passing = [*passing, *([self.passes] if isinstance(self.passes, int) and self.passes > min(failing) else [])]
        return any(
            all((size % block == 0) is whole for size in failing)
            and not any((size % block == 0) is whole for size in passing)
            for block in _BLOCKS
            for whole in (True, False)
        )


def _spelled(value: Value) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values[:_MOST_LISTED]))


_MOST_LISTED = 4
_BLOCKS = (2, 3, 4, 8, 16, 32, 64)
_LETTERS = {"n": "N", "c": "C", "dy_scale": "scale of dy", "constant": "constant channels", "spatial": "spatial sizes"}
_GAMMAS = {"random": "gamma > 0", "negative": "gamma < 0", "zero": "gamma = 0", "one": "gamma = 1"}
_MEMORIES = {
    "C": "contiguous arrays",
    "F": "arrays in Fortran order",
    "strided": "non-contiguous arrays",
    "readonly": "read-only arrays",
    "channels_last": "channels last in memory",
}
_KINDS: dict[str, Callable[[Any], str]] = {"gamma": _GAMMAS.__getitem__, "memory": _MEMORIES.__getitem__}
