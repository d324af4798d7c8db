"""Inputs moved along a line in x, gamma and beta, and what claimed gradients make of that.

Each channel of x moves by its own ``sqrt(var + eps)`` times numbers r in ±[1/2, 1]. Along that line
``var + eps`` is ``s**2 (1 + 2 a t + b t**2)`` with b = var(r) <= 1, so that the forward's poles, its roots, lie at
distance 1/sqrt(b) >= 1 from 0 whatever the case: what the line probe's radii are chosen for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.case import Case
from bncheck.core.truth import statistics
from bncheck.model import Evidence

if TYPE_CHECKING:
    from bncheck.case import Array

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """A direction in (x, gamma, beta); x's in the canonical layout, all float64."""

    vx: Float
    vgamma: Float
    vbeta: Float

    @classmethod
    def random(cls, case: Case, moving: tuple[str, ...], salt: int) -> Line:
        """Return a random direction in those of "dx", "dgamma" and "dbeta" whose inputs are to move."""
        shapes = {"dx": case.x.shape, "dgamma": case.gamma.shape, "dbeta": case.beta.shape}
        sizes = [math.prod(shape) if name in moving else 0 for name, shape in shapes.items()]
        bits = np.random.PCG64(np.random.SeedSequence([case.spec.seed, salt]))
        drawn, parts = _draw(bits, sum(sizes)), []
        for size, shape in zip(sizes, shapes.values(), strict=True):
            parts.append(drawn[:size].reshape(shape) if size else np.zeros(shape))
            drawn = drawn[size:]
        # gamma and beta are of order 1; steps of order 1 make dx, dgamma and dbeta weigh alike in the probe.
        vx, vgamma, vbeta = parts
        vx *= _wide(_spread(case), case)
        return cls(vx, vgamma, vbeta)

    @classmethod
    def unit(cls, case: Case, tensor: str, index: tuple[int, ...]) -> Line:
        """Return the direction of one element alone."""
        line = cls(np.zeros(case.x.shape), np.zeros(case.gamma.shape), np.zeros(case.beta.shape))
        line.part(tensor)[index] = _spread(case)[index[1]] if tensor == "dx" else 1.0
        return line

    def part(self, tensor: str) -> Float:
        """Return the part that belongs to dx, dgamma or dbeta."""
        return {"dx": self.vx, "dgamma": self.vgamma, "dbeta": self.vbeta}[tensor]

    def only(self, channel: int) -> Line:
        """Return the same for one channel, 0 for the others."""
        keep = np.zeros(self.vgamma.shape)
        keep[channel] = 1.0
        return Line(self.vx * keep.reshape(-1, *[1] * (self.vx.ndim - 2)), self.vgamma * keep, self.vbeta * keep)


def _draw(bits: np.random.PCG64, count: int) -> Float:
    """Return numbers in ±[1/2, 1), dyadic with 11 bits, from raw bits (the same on every machine)."""
    # A word has 64 bits, little-endian on every machine: four numbers.
    raw = bits.random_raw(-(-count // 4)).astype("<u8", copy=False).view("<u2")[:count]
    numbers = (raw >> 6).view(np.int16)
    numbers += 1024
    numbers *= 1 - 2 * (raw & 1).view(np.int16)
    return np.multiply(numbers, 1 / 2048, dtype=np.float64)


def _spread(case: Case) -> Float:
    spread: Float = 1.0 / statistics(case).inv_std
    # A constant channel without eps has no scale of its own.
    return np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)


def _wide(per_channel: Float, case: Case) -> Float:
    """Return a (C,) array broadcast over the shape of x."""
    return np.broadcast_to(per_channel.reshape(-1, *[1] * (case.x.ndim - 2)), case.x.shape)


class Inputs(NamedTuple):
    """Moved inputs, rounded to the dtype: xs (N, steps, C, *spatial), gammas and betas (steps, C).

    `change`, (steps, C), is how much phi changes with them if the claimed gradients are right. It is worked out before
    user code gets x, into which it may write.
    """

    xs: Array
    gammas: Array
    betas: Array
    change: Float


def moved(case: Case, line: Line, steps: Float, claims: Evidence | None) -> Inputs:
    """Return x, gamma and beta at each step, and what claimed gradients make of that."""
    known = {} if claims is None else claims.arrays
    dx, dtype = known.get("dx"), case.x.dtype
    xs = np.empty((len(case.x), len(steps), *case.x.shape[1:]), dtype)
    change = np.zeros((len(steps), line.vgamma.size))
    t = steps.reshape(-1, *[1] * (case.x.ndim - 1))
    for rows in _rows(xs):
        x = case.x[rows, None]
        there = np.multiply(t, line.vx[rows, None], out=xs[rows] if dtype == np.float64 else None)
        there += x
        if dtype != np.float64:
            xs[rows] = there
        if dx is not None:
            change += per_channel(np.subtract(xs[rows], x, dtype=np.float64), dx[rows])
    gammas = (case.gamma + steps[:, None] * line.vgamma).astype(dtype, copy=False)
    betas = (case.beta + steps[:, None] * line.vbeta).astype(dtype, copy=False)
    if "dgamma" in known:
        change += np.subtract(gammas, case.gamma, dtype=np.float64) * known["dgamma"]
    if "dbeta" in known:
        change += np.subtract(betas, case.beta, dtype=np.float64) * known["dbeta"]
    return Inputs(xs, gammas, betas, change)


def _rows(xs: Array) -> Iterator[slice]:
    """Yield rows of so many elements that they stay in the second cache."""
    step = max(1, _CACHED // max(1, xs.size // len(xs)))
    yield from (slice(i, i + step) for i in range(0, len(xs), step))


_CACHED = 2**16


def per_channel(many: Array, one: Array) -> Float:
    """Sum ``many * one`` over all but the steps and the channels: (N, steps, C, ...) and (N, C, ...) to (steps, C)."""
    n, k, c = many.shape[:3]
    values = many.reshape(n, k, c, -1), one.reshape(n, c, -1)
    result: Float = np.einsum("nkci,nci->kc", *(v.astype(np.float64, copy=False) for v in values))
    return result
