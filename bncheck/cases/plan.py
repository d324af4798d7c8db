"""Which cases a run takes: the recipes first, then random draws that cover every pair of shape, eps and batch size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import count as count_up
from itertools import islice, product
from math import prod
from typing import NamedTuple, TypeVar

import numpy as np

from bncheck.case import CaseSpec
from bncheck.cases.bits import streams
from bncheck.cases.fit import fit
from bncheck.cases.recipes import RECIPES
from bncheck.model import Conventions
from bncheck.settings import Settings

T = TypeVar("T")


class ShapeKind(NamedTuple):
    """A number of spatial axes, and from how many to how many channels."""

    rank: int
    least_c: int
    most_c: int


class Row(NamedTuple):
    """What a draw has to have: one row of the covering array. `batch` are the batch sizes to choose from."""

    kind: ShapeKind
    eps: float
    batch: tuple[int, ...]


EPS = (1e-12, 1e-8, 1e-5, 1e-3, 0.1, 1.0, 10.0)
# Each group a regime of its own: no variance, the largest Bessel factors, small, about powers of two, large.
BATCHES = (
    (1,),
    (2,),
    (3,),
    (4, 5, 6),
    (7, 8, 9, 10),
    (15, 16, 17, 25),
    (31, 32, 33, 50),
    (63, 64, 65),
    (100, 127, 128, 129),
    (257, 1000, 1023, 4096),
)
ONE, FEW, MANY = (1, 1), (2, 8), (16, 33)

# An ordinary value is repeated as often as makes it the usual one; the others are corners, met now and then.
SIDES = (1, 2, 3, 4, 5, 6, 7, 9)
SDS = (1.0,) * 6 + (2**-6, 0.125, 0.25, 0.5, 2.0, 4.0, 8.0, 64.0)
MEANS_TO_SD = (0.0,) * 8 + (1.0, -1.0, 3.0, -3.0, 10.0, -10.0, 30.0, 100.0)
MOMENTA = (0.1,) * 5 + (0.01, 0.3, 0.9, 0.99)
GAMMA_KINDS = ("random",) * 9 + ("zero", "negative", "one")
MEMORIES = ("C",) * 9 + ("F", "strided", "readonly")
DY_SCALES = (1.0,) * 16 + (1e-6, 1e-3, 1e3, 1e6)
CONSTANT_IN = 12

# What a draw may cost. The smallest case of the largest batch and most channels, 4096 by 16, is the cap; spatial axes
# and channels are cut to the goal, where their kind leaves room, so that a draw has about 2000 elements on average.
CAP = 65536
GOAL = 8192
# One channel's values: what float16 can still sum up (see fit.py).
MOST_VALUES = 4096
# Draws of a run have replay seeds in a row; the next run's seed starts a million further.
SEEDS_PER_RUN = 10**6


def cases_for(conventions: Conventions, settings: Settings) -> Iterator[CaseSpec]:
    """Yield the cases that a target of these conventions is verified on, small ones first."""
    ranks = tuple(len(layout) - 2 for layout in conventions.layouts)
    return plan(settings.cases, settings.seed, conventions.dtype or settings.dtype, ranks, conventions.eps)


def plan(count: int, seed: int, dtype: str, ranks: tuple[int, ...], eps: float | None = None) -> Iterator[CaseSpec]:
    """Yield `count` different cases for a target: recipes, smallest first, then draws. They are made as they are taken.

    Parameters
    ----------
    count : int
        How many cases; with fewer than there are recipes, the smallest ones.
    seed : int
        Seed of the draws; recipes do not depend on it.
    dtype : str
        dtype of the arrays.
    ranks : tuple of int
        Numbers of spatial axes that the target takes: (0,) for (N, C), (0, 2) for (N, C) and (N, C, H, W).
    eps : float or None
        The target's eps if it is fixed; otherwise cases choose it.

    """
    return islice(_different(_candidates(seed, dtype, ranks, eps)), count)


def _different(specs: Iterable[CaseSpec]) -> Iterator[CaseSpec]:
    """Yield the cases without repetitions; where a case came from makes it no other case."""
    seen: set[CaseSpec] = set()
    for spec in specs:
        bare = replace(spec, recipe="")
        if bare not in seen:
            yield spec
        if spec.recipe != "draw":  # draws have seeds of their own: one equals no other draw
            seen.add(bare)


def draw(index: int, seed: int, dtype: str, ranks: tuple[int, ...], eps: float | None = None) -> CaseSpec:
    """Return the random draw number `index`; it depends on no other draw.

    Any ``len(cover(ranks))`` draws in a row cover every pair of shape kind, eps and batch size.
    """
    rows = cover(ranks)
    kind, drawn_eps, batch = rows[_order(len(rows), seed)[index % len(rows)]]
    bits = _numbers(seed, index)

    def choose(options: Sequence[T]) -> T:
        return options[next(bits) * len(options) >> 16]

    n = choose(batch)
    c = choose(range(kind.least_c, kind.most_c + 1))
    spatial = _spatial(n, c, [choose(SIDES) for _ in range(kind.rank)])
    c = min(c, max(kind.least_c, GOAL // (n * prod(spatial))))
    sd = choose(SDS)
    spec = CaseSpec(
        recipe="draw",
        seed=(seed * SEEDS_PER_RUN + index) % 2**64,
        n=n,
        c=c,
        spatial=spatial,
        eps=drawn_eps,
        momentum=choose(MOMENTA),
        mean=choose(MEANS_TO_SD) * sd,
        sd=sd,
        constant=choose((0,) * CONSTANT_IN + (1, c)),
        gamma=choose(GAMMA_KINDS),
        dy_scale=choose(DY_SCALES),
        memory=choose(MEMORIES),
    )
    fitted = fit(spec, dtype, ranks, eps)
    assert fitted is not None  # its rank is one of `ranks`, and m <= MOST_VALUES
    return fitted


@lru_cache(maxsize=64)
def cover(ranks: tuple[int, ...]) -> tuple[Row, ...]:
    """Return rows in which every pair of (shape kind, eps, batch group) occurs.

    Every pair of eps number e and batch number b is one row, with shape kind number (e + b) modulo K. For a fixed b, e
    runs through 7 numbers in a row, for a fixed e, b through 10: either meets every kind as long as K <= 7. So 70 rows,
    the least that 7 x 10 pairs can do with.
    """
    if not ranks:
        raise ValueError("a target takes at least one number of spatial axes")
    lowest, *others = sorted(set(ranks))
    kinds = [ShapeKind(lowest, *ONE), ShapeKind(lowest, *FEW), ShapeKind(lowest, *MANY)]
    kinds += [ShapeKind(rank, *FEW) for rank in others]
    assert len(kinds) <= min(len(EPS), len(BATCHES))  # 0 to 4 spatial axes are at most 7 kinds
    pairs = product(enumerate(EPS), enumerate(BATCHES))
    return tuple(Row(kinds[(e + b) % len(kinds)], eps, batch) for (e, eps), (b, batch) in pairs)


def _candidates(seed: int, dtype: str, ranks: tuple[int, ...], eps: float | None) -> Iterator[CaseSpec]:
    """Yield fitted recipes, plain ones first, those of gammas next, then the others by size, then draws without end.

    Of few channels gamma is positive in nearly all recipes: the shortest sweep has to meet others, too.
    """
    recipes = (fit(spec, dtype, ranks, eps) for _, recipe in RECIPES.items() for spec in recipe())
    fitted = [spec for spec in recipes if spec is not None]
    yield from sorted(fitted, key=lambda spec: (spec.recipe != "plain", spec.recipe != "gamma", spec.m * spec.c))
    for index in count_up():
        yield draw(index, seed, dtype, ranks, eps)


def _spatial(n: int, c: int, sizes: list[int]) -> tuple[int, ...]:
    """Return the sizes with the last two different, cut down until the case is as small as it should be."""
    if len(sizes) >= 2 and sizes[-1] == sizes[-2]:
        sizes[-1] += 1
    while n * prod(sizes) * c > GOAL or n * prod(sizes) > MOST_VALUES:
        longest = sizes.index(max(sizes, default=1)) if sizes else 0
        if not sizes or sizes[longest] == 1:
            break
        sizes[longest] //= 2
    return tuple(sizes)


def _numbers(seed: int, index: int) -> Iterator[int]:
    """Return the 16-bit numbers that a draw is made of: 32, more than it has parameters."""
    # Seeded by both numbers, unlike the arrays of any case, whose streams are seeded by one.
    return iter(np.random.PCG64((seed, index)).random_raw(8).astype("<u8").view("<u2").tolist())


@lru_cache(maxsize=64)
def _order(length: int, seed: int) -> tuple[int, ...]:
    """Return a permutation of ``range(length)`` that depends on `seed`."""
    (keys,) = streams(seed, length)
    return tuple(sorted(range(length), key=lambda row: (int(keys[row]), row)))
