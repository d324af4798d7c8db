"""Courses of batches that tell apart what a layer remembers: training, then inference, in one session.

No two batches of a course are alike in size, mean or spread, and no two courses in momentum, which lies far from 1/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from bncheck.case import Case, CaseSpec
from bncheck.cases.arrays import build


class Course(NamedTuple):
    """The batches that one layer trains on, in their order, and those that it is asked in eval mode after them."""

    training: tuple[Case, ...]
    inference: tuple[Case, ...]


# eps is of the size of the variances, so that its place shows; the last batch in eval mode has as many rows as the last
# one of training, so that what is left of that fits.
_FLAT = CaseSpec(recipe="telling", seed=31, n=9, c=4, eps=0.3, mean=0.7, gamma="negative", momentum=0.8)
_WIDE = CaseSpec(recipe="telling", seed=41, n=5, c=3, eps=0.15, mean=-0.6, gamma="negative", momentum=0.35)
_SPATIAL = ((), (3,), (2, 3), (2, 1, 3))
# Rows, mean and spread of each further batch, as parts of those of the first.
_TRAINING = ((0, 1.0, 1.0), (3, -1.5, 1.7), (-2, 0.4, 0.6))
_INFERENCE = ((1, 1.3, 1.4), (-2, -0.8, 0.9))
# What is to show after many steps has as many.
LONG = 60


def courses(dtype: str, ranks: Sequence[int], eps: float | None, alike: bool = False) -> list[Course]:
    """Return two courses for a target that takes these numbers of spatial axes; batches of one size if `alike`."""
    found = []
    for spec, rank in ((_FLAT, min(ranks)), (_WIDE, max(ranks))):
        rows = spec.n if rank or spec is _FLAT else spec.n + 5
        first = replace(spec, dtype=dtype, n=rows, spatial=_SPATIAL[rank], eps=spec.eps if eps is None else eps)
        training, inference = (_batches(first, parts, alike) for parts in (_TRAINING, _INFERENCE))
        found.append(Course(training, inference))
    return found


def long_course(dtype: str, ranks: Sequence[int], eps: float | None) -> Course:
    """Return a course of many batches, two in turn, and no inference."""
    training = courses(dtype, ranks, eps, alike=True)[0].training
    return Course(tuple(training[step % 2] for step in range(LONG)), ())


def _batches(first: CaseSpec, parts: Sequence[tuple[int, float, float]], alike: bool) -> tuple[Case, ...]:
    """Return batches for one layer: their gamma and beta are those of the first."""
    own, cases = build(first), []
    for place, (rows, mean, sd) in enumerate(parts):
        seed = first.seed + place + (0 if parts is _TRAINING else len(_TRAINING))
        spec = replace(first, seed=seed, n=first.n + (0 if alike else rows), mean=first.mean * mean, sd=first.sd * sd)
        case = build(spec)
        cases.append(Case(spec, case.x, own.gamma, own.beta, case.dy))
    return tuple(cases)
