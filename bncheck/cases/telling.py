"""Cases that tell wrong formulas apart: no two of gamma, std, eps, m, N and C are alike, and all of them matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bncheck.case import CaseSpec

# m is 8 and more, so that three terms explain nothing by chance; eps is of the size of the variance, so that its place
# shows; the mean is of the size of the deviation, so that x and x - mu differ; one gamma at least is negative.
_TELLING = (
    CaseSpec(seed=11, n=9, c=4, eps=0.3, mean=0.7, gamma="negative"),
    CaseSpec(seed=12, n=12, c=3, eps=0.9, mean=-1.3, sd=2.0),
    CaseSpec(seed=13, n=16, c=5, eps=0.02, mean=0.4, sd=0.5, gamma="negative"),
    CaseSpec(seed=20, n=11, c=3, eps=0.15, mean=0.9, sd=0.8, gamma="negative"),
    CaseSpec(seed=14, n=5, c=3, spatial=(4,), eps=0.3, mean=0.7, gamma="negative"),
    CaseSpec(seed=18, n=7, c=4, spatial=(3,), eps=0.07, mean=-0.5, sd=0.7, gamma="negative"),
    CaseSpec(seed=15, n=3, c=4, spatial=(2, 5), eps=0.3, mean=0.7, gamma="negative"),
    CaseSpec(seed=16, n=5, c=3, spatial=(3, 2), eps=0.08, mean=-0.6, sd=0.6),
    CaseSpec(seed=17, n=3, c=4, spatial=(2, 3, 2), eps=0.3, mean=0.7, gamma="negative"),
    CaseSpec(seed=19, n=5, c=3, spatial=(2, 1, 3), eps=0.06, mean=-0.5, sd=0.7),
)


def telling(dtype: str, ranks: Sequence[int], eps: float | None) -> list[CaseSpec]:
    """Return the cases for a target that takes these numbers of spatial axes.

    Where the target's eps is fixed, x is scaled so that its variance is as large beside eps as it was meant to be.
    """
    specs = [replace(spec, recipe="telling", dtype=dtype) for spec in _TELLING if len(spec.spatial) in ranks]
    if eps is None or eps == 0.0:
        return specs if eps is None else [replace(spec, eps=0.0) for spec in specs]
    scales = [(eps / spec.eps) ** 0.5 for spec in specs]
    return [
        replace(spec, eps=eps, sd=spec.sd * scale, mean=spec.mean * scale)
        for spec, scale in zip(specs, scales, strict=True)
    ]
