"""How large an error has to be to be seen: planted errors, and the share of random cases on which they are.

    python benchmarks/power.py               the curves in docs/power.md, from 1000 cases for each point (half an hour)
    python benchmarks/power.py --cases 50    fewer cases

A case is a random draw of `cases/plan.py` whose tensor is there to be wrong: a right evaluation in the dtype can be
judged (the rounding bound of the tensor stays below 1% of it), and its terms do not cancel to a thousandth or less.
The error is added to the tensor in units of its norm, spread over all of it, over its largest channel, or on its
largest element. It is seen where y or a gradient fails, by either oracle.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from itertools import count, islice
from typing import NamedTuple

from common import CORRECT, ORACLES, ROOT, Planted, grown, target_of

import numpy as np  # isort: skip

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.cases.plan import draw
from bncheck.checks.catalogue import selected
from bncheck.core.tolerance import DECIDABLE, UNIT_ROUNDOFF
from bncheck.core.truth import allowances, truth
from bncheck.driver import judge
from bncheck.guard import quiet
from bncheck.model import Outcome

TARGET = CORRECT / "cs231n_staged.py"
PLANTED = (("dx", "all"), ("dx", "channel"), ("dx", "one"), ("dgamma", "all"), ("dbeta", "all"), ("y", "all"))
DTYPES = ("float64", "float32", "float16")
CASES, SEED, CHUNK = 1000, 30_000, 50
# Errors below a fifth of a rounding cannot be planted: they round to nothing.
SMALLEST = 0.2
# Half decades up to 1: everything is seen there, or the check is blind.
SIZES = tuple(10.0 ** (k / 2) for k in range(-32, 1))
# What is cancelled: with N = 2 (or 1, or gamma = 0) and eps far below the variance dx is eps/var of its terms.
CANCELLED = 1e-3


class Job(NamedTuple):
    """Cases `first` to `last` of those with a tensor to be wrong."""

    dtype: str
    tensor: str
    place: str
    first: int
    last: int


def cases(job: Job) -> Iterator[CaseSpec]:
    """Yield the draws whose tensor can be judged and is there."""
    fitting = (spec for i in count() if _is_there(spec := draw(i, SEED, job.dtype, (0,)), job.tensor))
    yield from islice(fitting, job.first, job.last)


def _is_there(spec: CaseSpec, tensor: str) -> bool:
    if spec.constant:
        return False
    case = build(spec)
    right = truth(case)
    value = np.abs(right.tensor(tensor))
    dy, gamma = np.abs(case.dy.astype(float)), np.abs(case.gamma.astype(float))
    terms = {
        "y": value.max(),
        "dx": (gamma * right.forward.inv_std).max() * dy.max(),
        "dgamma": (dy * np.abs(right.forward.xhat)).sum(axis=case.axes).max(),
        "dbeta": dy.sum(axis=case.axes).max(),
    }[tensor]
    bound = float(np.mean(getattr(allowances(case), tensor)))
    return bool(value.max() > CANCELLED * terms and bound <= DECIDABLE * value.max())


def seen(job: Job) -> tuple[Job, list[Counter[float]]]:
    """Return on which of its cases, and for which sizes of the error, the error is seen."""
    target, checks = target_of(TARGET), selected(ORACLES, ())
    found = []
    with quiet():
        for spec in cases(job):
            sizes: Counter[float] = Counter()
            for size in sizes_for(job.dtype):
                wrong = Planted(target, job.tensor, grown(size, job.place))
                judgements = judge(wrong, spec, checks)[0].judgements.values()
                sizes[size] = any(judgement.outcome is Outcome.FAIL for judgement in judgements)
            found.append(sizes)
    return job, found


def sizes_for(dtype: str) -> list[float]:
    """Return the sizes of error that can be planted in a dtype."""
    return [size for size in SIZES if size >= SMALLEST * UNIT_ROUNDOFF[dtype]]
