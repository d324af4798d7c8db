"""Tensors fitted: dx to dy, 1, xhat and other arrays, channel by channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bncheck.bugs.catalogue import Sample
from bncheck.bugs.quantities import Quantity, patterns
from bncheck.bugs.steps import Array, Steps

# With three terms and fewer than this many values per channel, anything is "explained".
_ENOUGH = 8
# How exact a fitted coefficient is, relative: least squares of a few dozen values in the dtype of the case.
FITTED = {"float64": 1e-8, "float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}


_DY = Quantity("dy", lambda s: s.dy, 0.0)
_ONE = Quantity("1", lambda s: np.ones_like(s.dy), 0.0)
_XHAT = Quantity("xhat", lambda s: s.back_xhat + 0 * s.dy, 0.0)
BASE = (_DY, _ONE, _XHAT)


class Fit(NamedTuple):
    """What dx is made of: arrays, and their coefficients per channel, of the shape of gamma, for each sample."""

    arrays: tuple[Quantity, ...]
    coefficients: tuple[tuple[Array, ...], ...]


def _rows(s: Steps, array: Array) -> Array:
    """Return an array of x's shape as (C, m)."""
    order = (1, 0, *range(2, s.x.ndim))
    found: Array = np.transpose(np.broadcast_to(array, s.x.shape), order).reshape(s.c, -1)
    return found


class Solved(NamedTuple):
    """The coefficients of dx on some arrays for one sample; the largest error, relative to dx; the share explained."""

    coefficients: tuple[Array, ...]
    error: float
    share: float


def solved(sample: Sample, arrays: Sequence[Quantity] = BASE) -> Solved | None:
    """Fit dx to arrays by least squares, channel by channel; None where too little is known."""
    s = sample.steps
    dx: Any = sample.found.get("dx")
    if s.m < _ENOUGH or np.shape(dx) != s.x.shape or not np.isfinite(dx).all():
        return None
    with np.errstate(all="ignore"):
        terms = np.stack([_rows(s, array.value(s)) for array in arrays], axis=-1)
    if not np.isfinite(terms).all():
        return None
    values = _rows(s, dx)
    scale = np.sqrt((terms**2).sum(axis=1, keepdims=True)) + np.finfo(float).tiny
    fitted = np.linalg.pinv(terms / scale) @ values[..., None]
    left = values - (terms / scale @ fitted)[..., 0]
    size, whole = float(np.abs(values).max()), float((values**2).sum())
    found = tuple((fitted[:, i, 0] / scale[:, 0, i]).reshape(s.gamma.shape) for i in range(len(arrays)))
    if size == 0.0:
        return Solved(found, 0.0, 1.0)
    return Solved(found, float(np.abs(left).max()) / size, 1 - float((left**2).sum()) / whole)


def coefficients(samples: Sequence[Sample], arrays: Sequence[Quantity]) -> Fit | None:
    """Return the fit of dx to these arrays; None unless they give all of it on every sample."""
    found = []
    for sample in samples:
        one = solved(sample, arrays)
        if one is None or one.error > FITTED[sample.steps.case.spec.dtype]:
            return None
        found.append(one.coefficients)
    return Fit(tuple(arrays), tuple(found)) if found else None


def direct_coefficient(sample: Sample) -> Array | None:
    """Return the coefficient of dy in dx, over gamma; None where dx is made of more than dy, 1 and xhat."""
    fit = coefficients([sample], BASE)
    return None if fit is None else fit.coefficients[0][0] / sample.steps.gamma


def fits_of(samples: Sequence[Sample]) -> Iterator[Fit]:
    """Yield fits of dx: to dy, 1 and xhat if they are enough, else with one array more, or two."""
    if not samples:
        return
    plain = coefficients(samples, BASE)
    if plain is not None:
        yield plain
        return
    more = patterns([sample.steps.x.ndim for sample in samples])
    # The largest case has the fewest chances to be explained by accident, and the arrays differ in it.
    widest = max(samples, key=lambda sample: sample.steps.x.ndim * 1000 + sample.steps.m)
    for count in (1, 2):
        fits = [coefficients(samples, (*BASE, *chosen)) for chosen in _near(widest, more, count)]
        found = [fit for fit in fits if fit is not None]
        yield from found
        if found:
            return


def _near(sample: Sample, more: Sequence[Quantity], count: int) -> Iterator[tuple[Quantity, ...]]:
    """Yield the arrays, or pairs of them, that give what is left of dx beside dy, 1 and xhat, on one sample."""
    s = sample.steps
    dx: Any = sample.found.get("dx")
    if s.m < _ENOUGH or np.shape(dx) != s.x.shape or not np.isfinite(dx).all():
        return
    with np.errstate(all="ignore"):
        base = np.stack([_rows(s, array.value(s)) for array in BASE], axis=-1)
        others = np.stack([_rows(s, array.value(s)) for array in more], axis=-1)
    if not np.isfinite(base).all():
        return
    others = np.where(np.isfinite(others).all(axis=(0, 1)), others, 0.0)
    q, _ = np.linalg.qr(base)
    values = _rows(s, dx)[..., None]
    rest = values - q @ (np.swapaxes(q, 1, 2) @ values)
    free = others - q @ (np.swapaxes(q, 1, 2) @ others)
    free = free / (np.sqrt((free**2).sum(axis=1, keepdims=True)) + np.finfo(float).tiny)
    shares = np.swapaxes(free, 1, 2) @ rest  # (C, k, 1)
    whole = (rest**2).sum(axis=(0, 1, 2))
    if count == 1:
        left = whole - (shares**2).sum(axis=(0, 2))
        yield from ((more[i],) for i in np.argsort(left) if left[i] <= _ROUGHLY * whole)
        return
    gram = np.swapaxes(free, 1, 2) @ free
    b = shares[..., 0]
    across = gram**2
    with np.errstate(all="ignore"):
        both = (b[:, :, None] ** 2 + b[:, None, :] ** 2 - 2 * gram * b[:, :, None] * b[:, None, :]) / (1 - across)
    both = np.where(across > 1 - 1e-9, 0.0, both).sum(axis=0)
    for i, j in np.argwhere(np.triu(both >= (1 - _ROUGHLY) * whole, 1)):
        yield more[i], more[j]


# What is left of the square of dx by arrays that are looked at further.
_ROUGHLY = 1e-6
