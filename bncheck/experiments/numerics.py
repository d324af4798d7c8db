"""Batches at the edges of a dtype: whose squares leave its range, and whose sums are long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bncheck.case import Case, CaseSpec
from bncheck.cases.arrays import build
from bncheck.core.reference import forward
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.training import is_tensor, setup
from bncheck.guard import faults_of
from bncheck.model import Evidence, Fault, Target


class _Edge(NamedTuple):
    """Mean and spread of a batch whose x**2 leaves the range of a dtype, while (x - mean)**2 stays within it."""

    mean: float
    sd: float


# |x - mean| <= 5.75 sd, so that sums of eight squares stay below 300 sd**2: 2**1009, 2**125 and 20 000.
_EDGES = {
    "float64": _Edge(2.0**531, 2.0**500),
    "float32": _Edge(2.0**66, 2.0**58),
    "bfloat16": _Edge(2.0**66, 2.0**61),
    "float16": _Edge(300.0, 8.0),
}
# Values per channel: where a sum in float16 passes 2048, or one in bfloat16 256, numbers of size 1 no longer count.
_LONG = 4096


def tries_edges(case: Case) -> bool:
    """Tell whether a case stands for the edges of its dtype: they are the same for all."""
    return case.spec.recipe in ("plain", "custom", "shrunk")


@experiment("edges", needs=("training",))
def edges(target: Target, case: Case, seen: Seen) -> Evidence:
    """Run the forward on batches at the edges. Arrays: "<edge>.y" and "<edge>.want"; facts: what was raised."""
    spec = case.spec
    if not tries_edges(case):
        return Evidence("edges")
    edge = _EDGES[spec.dtype]
    plain = CaseSpec(n=8, c=3, spatial=(1,) * len(spec.spatial), dtype=spec.dtype, eps=spec.eps)
    batches = {"squares": replace(plain, mean=edge.mean, sd=edge.sd)}
    if spec.dtype in ("float16", "bfloat16"):
        batches["sums"] = replace(plain, n=_LONG, mean=2.0)
    arrays: dict[str, Any] = {}
    facts: dict[str, Any] = {"evaluations": len(batches)}
    for name, described in batches.items():
        batch = build(described)
        faults: list[Fault] = []
        with faults_of("forward", faults):
            y = target.open(setup(batch)).forward(batch.x.copy())
            if is_tensor(y, batch.x.shape):
                arrays[f"{name}.y"] = np.asarray(y, dtype=np.float64)
                arrays[f"{name}.want"] = forward(batch.x, batch.gamma, batch.beta, described.eps, batch.axes).y
        facts[f"{name}.raised"] = str(faults[0]) if faults else ""
    return Evidence("edges", arrays, facts)
