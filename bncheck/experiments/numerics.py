"""Batches at the edges of a dtype: whose squares leave its range, and whose sums are long."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bncheck.case import Case, CaseSpec
from bncheck.core.precision import dtype_of
from bncheck.core.reference import forward
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.training import is_tensor, setup
from bncheck.guard import faults_of
from bncheck.model import Evidence, Fault
from bncheck.session import Target


class _Edge(NamedTuple):
    """Mean and spread of a batch whose x**2 leaves the range of a dtype, while (x - mean)**2 stays within it."""

    mean: float
    sd: float


# |x - mean| <= 2 sd, so that sums of eight squares stay below 32 sd**2: 2**1005, 2**121, 2**127 and 2048.
_EDGES = {
    "float64": _Edge(2.0**531, 2.0**500),
    "float32": _Edge(2.0**66, 2.0**58),
    "bfloat16": _Edge(2.0**66, 2.0**61),
    "float16": _Edge(300.0, 8.0),
}
# Values per channel, all in [1, 1.9]: a sum in float16 stands still at 4096, where it moves in steps of 4 and none of
# them is half of that; one in bfloat16 at 512. Values on either side of half a step would be rounded right on average.
_LONG = 4096


def tries_edges(case: Case) -> bool:
    """Tell whether a case stands for the edges of its dtype: they are the same for all."""
    return case.spec.recipe in ("plain", "custom", "shrunk")


@experiment("edges", needs=("training",))
def edges(target: Target, case: Case, seen: Seen) -> Evidence:
    """Run the forward on batches at the edges.

    Arrays: "<edge>.x", "<edge>.y" and "<edge>.want"; gamma is 1 and beta 0. Facts: what was raised.
    """
    spec = case.spec
    if not tries_edges(case):
        return Evidence("edges")
    edge = _EDGES[spec.dtype]
    plain = CaseSpec(n=8, c=3, spatial=(1,) * len(spec.spatial), dtype=spec.dtype, eps=spec.eps)
    batches = {"squares": replace(plain, mean=edge.mean, sd=edge.sd)}
    if spec.dtype in ("float16", "bfloat16"):
        batches["sums"] = replace(plain, n=_LONG, mean=1.45, sd=0.225)
    arrays: dict[str, Any] = {}
    facts: dict[str, Any] = {"evaluations": len(batches)}
    for name, described in batches.items():
        batch = _batch(described)
        faults: list[Fault] = []
        with faults_of("forward", faults):
            y = target.open(setup(batch)).forward(batch.x)
            if is_tensor(y, batch.x.shape):
                # Made anew: the code may have written into what it was given.
                arrays[f"{name}.x"] = np.asarray(_batch(described).x, dtype=np.float64)
                arrays[f"{name}.y"] = np.asarray(y, dtype=np.float64)
                arrays[f"{name}.want"] = forward(batch.x, batch.gamma, batch.beta, described.eps, batch.axes).y
        facts[f"{name}.raised"] = str(faults[0]) if faults else ""
    return Evidence("edges", arrays, facts)


def _batch(spec: CaseSpec) -> Case:
    """Return a batch around the mean: multiples of the golden ratio, modulo 1, fill an interval evenly."""
    spread = (np.arange(math.prod(spec.shape)) * 0.6180339887498949) % 1.0 - 0.5
    x = (spec.mean + 4.0 * spec.sd * spread).reshape(spec.shape).astype(dtype_of(spec.dtype))
    ones = np.ones(spec.c, x.dtype)
    return Case(spec, x, ones, 0 * ones, x)
