"""What right code may have in its variables: the steps of Batch Normalization, and what they are made of.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.

"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from bncheck.bugs.steps import PATHS, Array, Steps

# How far two evaluations of one quantity are apart, relative to its largest element.
_TOLERANCE = 1e-10


def forward_quantities(s: Steps) -> Iterator[Array]:
    """Yield what a forward may compute on its way."""
    m, b = s.m, s.inv_std
    yield from (s.x, s.mu, s.centred, s.var, s.var + s.eps, b, 1 / b, s.xhat, s.y, s.gamma, s.beta)
    yield from (s.sum(s.x), s.sum(s.centred**2), s.centred**2, s.x**2, s.sum(s.x**2), s.mean(s.x**2), s.mu**2)
    yield from (np.sqrt(s.var), s.gamma * s.xhat, s.gamma * s.centred, s.gamma * b, s.mu * b, s.gamma * s.mu * b)
    yield from (s.beta - s.gamma * s.mu * b, s.x * b, s.x * s.gamma * b)
    yield from (s.centred**2 / m, s.xhat / m)


def backward_quantities(s: Steps) -> Iterator[Array]:
    """Yield what a backward may compute on its way: staged, or closed with gamma before or behind."""
    m, b, xc, xh = s.m, s.back_inv_std, s.back_centred, s.back_xhat
    yield from (s.back_gamma + 0 * s.gamma, b, 1 / b, b**2, b**3, 1 / b**2, 1 / b**3, m / b, b / m, xc, xh)
    yield from (s.back_gamma * b, s.back_gamma * b / m, b**3 / 2, s.back_gamma / m, b**2 / m, b * xc)
    yield from (xc * 2, xc / m, xc * 2 / m)
    yield from (s.dbeta, s.dgamma, s.dbeta / m, s.dgamma / m)
    for a in (s.dy, s.dxhat):
        along, about = s.sum(a * xh), s.sum(a * xc)
        yield from (a, a * xh, a * xc, a * b, a * xc * b, a * xc * b**2, a * xc * b**3, a * xc * b**3 / 2)
        for total in (s.sum(a), along, about):
            yield from (total, total / m, total * b, total * b / m, total * b**2, total * b**2 / m, total * b**3)
            yield from (total * b**3 / m, total * b**3 / 2)
        terms = (a - s.mean(a), xh * along / m, a - xh * along / m, s.mean(a) + xh * along / m)
        for term in (a, *terms, a - s.mean(a) - xh * along / m):
            for scale in (1, m, 1 / m):
                yield from (term * scale, term * b * scale, term * s.gamma * b * scale, term * b * s.back_gamma * scale)
        yield from (xh * b * along / m, xc * about, xc * about * b**2, xc * about * b**2 / m, xc * about * b**3 / m)
    yield from (s.dvar, s.dvar * 2, s.dvar / m, s.dvar * 2 / m, s.dvar * xc, s.dvar * xc * 2, s.dmu, s.dmu / m, s.dx)
    direct, mean, variance = (getattr(s, path) for path in PATHS)
    yield from (direct, mean, variance, direct + mean, direct + variance, mean + variance)
    yield from (s.sum(direct + variance), s.mean(direct + variance), s.dx * m, s.dx / b, s.dx / s.gamma)


def path_quantities(s: Steps, path: str) -> Iterator[Array]:
    """Yield what one path of dx is made of, alone: with a factor too many, these are what may have it."""
    m, b, xc, xh = s.m, s.back_inv_std, s.back_centred, s.back_xhat
    if path == "direct_path":
        yield from (b, s.back_gamma * b, s.direct_path, s.dy * b)
    for a in (s.dy, s.dxhat):
        along, about = s.sum(a * xh), s.sum(a * xc)
        for total in (s.sum(a),) if path == "mean_path" else (along, about) if path == "variance_path" else ():
            for scaled in (total, total * b, total * b**2, total * b**3, total * b**3 / 2):
                yield from (scaled, scaled / m)
        if path == "variance_path":
            yield from (xh * along, xh * along / m, xh * b * along / m, xc * about, xc * about * b**2)
            yield from (xc * about * b**3, xc * about * b**2 / m, xc * about * b**3 / m)
    if path == "mean_path":
        yield from (s.mean_path, s.dmu, s.dmu / m)
    if path == "variance_path":
        yield from (s.variance_path, s.dvar, s.dvar * 2, s.dvar / m, s.dvar * 2 / m, s.dvar * xc, s.dvar * xc * 2)


Quantities = Callable[[Steps], Iterator[Array]]


def values_of(quantities: Quantities, s: Steps) -> list[Array | None]:
    """Return quantities in their order; None for what cannot be computed, and for all behind what raises."""
    found: list[Array | None] = []
    with np.errstate(all="ignore"):
        try:
            for value in quantities(s):
                whole = np.ndim(value) == s.x.ndim and bool(np.isfinite(value).all())
                found.append(value if whole else None)
        except (ValueError, ZeroDivisionError, FloatingPointError):  # a wrong step has a shape that fits nothing
            pass
    return found


class Values:
    """A set of arrays in which others are looked up, whatever their shape and order of axes: by their sorted values.

    Samples, channels and single elements of an array are in it too, for code that takes one after the other.
    """

    def __init__(self, arrays: Iterable[Array], parts: bool = True) -> None:
        self._arrays = list(arrays)
        self._parts = parts
        self._tables: dict[int, Array] = {}

    def __contains__(self, value: Array) -> bool:
        """Tell whether an array, or its negative, is in the set, to within rounding."""
        size = value.size
        if size not in self._tables:
            self._tables[size] = self._table(size)
        found = np.sort(np.ravel(value))
        off = np.abs(self._tables[size] - found).max(axis=1, initial=0.0)
        return bool((off <= _TOLERANCE * np.abs(found).max()).any())

    def _table(self, size: int) -> Array:
        """Return one row for each array, or part of an array, of that size."""
        rows = [np.ravel(array)[None] for array in self._arrays if array.size == size]
        for array in self._arrays if self._parts else ():
            if size == 1:
                rows.append(np.reshape(array, (-1, 1)))
            else:
                axes = [axis for axis in (0, 1) if 1 < array.shape[axis] and array.size // array.shape[axis] == size]
                rows += [np.moveaxis(array, axis, 0).reshape(array.shape[axis], size) for axis in axes]
        table = np.sort(np.concatenate(rows), axis=1) if rows else np.empty((0, size))
        return np.concatenate([table, -table[:, ::-1]])
