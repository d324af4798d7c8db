"""The values that a statement of a right backward makes, each with the sign and the scale that the formulas give it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from bncheck.bugs.steps import PATHS, Array, Steps

# How far two evaluations of one quantity are apart, relative to its largest element.
_TOLERANCE = 1e-10


def sums(s: Steps) -> Iterator[Array]:
    """Yield what is summed over the batch, one value per channel."""
    b, xc, xh = s.back_inv_std, s.back_centred, s.back_xhat
    for a in (s.dy, s.dxhat):
        total, along, about = s.sum(a), s.sum(a * xh), s.sum(a * xc)
        yield from (total, total * b, along, along * b, about, about * b, about * b**2, about * b**3)


def steps(s: Steps) -> tuple[Array, ...]:
    """Return the gradients that the staged formula goes through: none is right with the other sign."""
    return s.dxhat, s.dvar, s.dmu


def channels(s: Steps) -> Iterator[Array]:
    """Yield what else has one value per channel."""
    b, gamma = s.back_inv_std, s.back_gamma + 0 * s.gamma
    yield from (b, 1 / b, b**2, b**3, 1 / b**2, 1 / b**3, s.m / b, b / s.m, s.mu, s.var, gamma, s.beta)
    yield from (gamma * b, gamma * b / s.m, gamma / s.m, b**2 / s.m, b**3 / 2, -(b**3) / 2, -(b**2))


def elements(s: Steps) -> Iterator[Array]:
    """Yield what has the shape of x."""
    m, b, xc, xh = s.m, s.back_inv_std, s.back_centred, s.back_xhat
    yield from (s.x, s.dy, s.dxhat, xc, xh, s.y, xc * 2, xc / m, xc * 2 / m, xc * b**2, s.gamma * xh)
    for a in (s.dy, s.dxhat):
        along, about = s.sum(a * xh), s.sum(a * xc)
        yield from (a * xh, a * xc, a * b, a / m, a * m, a * xc * b**2, -a * xc * b**2, a * xc * b**3, -a * xc * b**3)
        yield from (-a * xc * b**3 / 2, -a * b)
        yield from (xh * along, xh * along / m, xh * b * along / m, xc * about, xc * about / m)
        yield from (xc * about * b**2, xc * about * b**2 / m, xc * about * b**3 / m)
    yield from (s.direct_path, s.direct_path * m, s.variance_path, s.dvar * xc, s.dvar * 2 * xc)
    yield from (value + 0 * s.x for value in (s.dvar, s.dvar / m, s.dvar * 2 / m, s.dmu, s.mean_path))


def brackets(s: Steps) -> Iterator[Array]:
    """Yield what has the shape of x, and is put together of several terms."""
    m, b = s.m, s.back_inv_std
    for a in (s.dy, s.dxhat):
        one, other = s.sum(a) / m, s.back_xhat * s.sum(a * s.back_xhat) / m
        for term in (a - one, a - other, one + other, a - one - other):
            for scale in (1.0, m, b, m * b, s.gamma * b, s.gamma):
                yield term * scale
    direct, mean, variance = (getattr(s, path) for path in PATHS)
    yield from (direct + mean, direct + variance, mean + variance, s.dx, s.dx * m)


class Natural:
    """What right code may hold in a variable, looked up by value, in any shape and layout that it may have there."""

    def __init__(self, s: Steps) -> None:
        self.m, self._c = s.m, s.c
        with np.errstate(all="ignore"):
            self._steps = steps(s)
            self._sums = _finite(sums(s))
            self._means = [value / s.m for value in self._sums]
            # Some subtract a sum, and some add its negative.
            signed = [sign * value for value in (*self._sums, *self._means) for sign in (1, -1)]
            staged = [value * factor for value in self._steps[1:] for factor in (1, 2, 1 / s.m, 2 / s.m)]
            self._simple = _finite([*signed, *staged, *channels(s), *elements(s)])
            self._whole = self._simple + _finite(brackets(s))
        self._listed: dict[tuple[tuple[int, ...], bool], list[Array]] = {}

    def __contains__(self, value: Array) -> bool:
        """Tell whether right code may have this value."""
        if value.size == 1:
            return not is_count(value) or float(value.flat[0]) == self.m
        return any(_same(value, other) for other in self.candidates(value.shape))

    def is_step(self, value: Array) -> bool:
        """Tell whether this is a gradient of the staged formula: right as it is, whatever is made of it."""
        return self._is_one_of(self._steps, value)

    def is_single(self, value: Array) -> bool:
        """Tell whether this is natural, and no sum of several terms."""
        return self._is_one_of(self._simple, value)

    def scale(self, value: Array) -> str:
        """Return "sum" or "mean"; "" of what is neither."""
        for name, of in (("sum", (*self._sums, *self._steps[1:])), ("mean", self._means)):
            if self._is_one_of(of, value) or self._is_one_of(of, -value):
                return name
        return ""

    def sign(self, value: Array) -> str:
        """Return "+" of what is summed or averaged, "-" of its negative; "" of all else."""
        for name, signed in (("+", value), ("-", -value)):
            if not self.is_step(value) and self._is_one_of([*self._sums, *self._means], signed):
                return name
        return ""

    def _is_one_of(self, values: Iterable[Array], value: Array) -> bool:
        return any(_same(value, laid) for one in values for laid in self.laid(one, value.shape))

    def candidates(self, shape: tuple[int, ...], *, simple: bool = False) -> list[Array]:
        """Return all that right code may have in a variable of that shape, each once; of single terms alone, if so."""
        if (shape, simple) not in self._listed:
            found: list[Array] = []
            for value in self._simple if simple else self._whole:
                found += [laid for laid in self.laid(value, shape) if not any(_same(laid, a) for a in found)]
            self._listed[shape, simple] = found
        return self._listed[shape, simple]

    def laid(self, value: Array, shape: tuple[int, ...]) -> Iterator[Array]:
        """Yield a quantity in a shape, in each order of axes that user code may have chosen."""
        size = int(np.prod(shape))
        if value.size != size or (value.size == self._c and max(shape, default=1) != size):
            return
        if value.size == self._c or value.shape == shape:
            yield value.reshape(shape)
            return
        last = np.moveaxis(value, 1, -1)
        if shape in (last.shape, (size // self._c, self._c)):
            yield last.reshape(shape)
        elif shape == (self._c, size // self._c):
            yield np.moveaxis(value, 1, 0).reshape(shape)


def is_count(value: Array) -> bool:
    """Tell whether this is one whole number that a formula does not hold by itself."""
    return value.size == 1 and float(value.flat[0]).is_integer() and float(value.flat[0]) > 2


def _finite(values: Iterable[Array]) -> list[Array]:
    return [value for value in values if np.isfinite(value).all()]


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() <= _TOLERANCE * np.abs(b).max())
