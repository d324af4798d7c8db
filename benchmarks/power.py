"""How large an error has to be to be seen: planted errors, and the share of random cases on which they are.

    python benchmarks/power.py               the curves in docs/power.md, from 1000 cases for each point (ten minutes)
    python benchmarks/power.py --cases 50    fewer cases

A case is a random draw of `cases/plan.py` whose tensor is there to be wrong: a right evaluation in the dtype can be
judged (the rounding bound of the tensor stays below 1% of it), and its terms do not cancel to a thousandth or less.
The error is added to the tensor in units of its norm, spread over all of it, over its largest channel, or on its
largest element. It is seen where y or a gradient fails, by either oracle.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from typing import NamedTuple

from common import CORRECT, ORACLES, ROOT, Planted, grown, reached, target_of

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
CASES, SEED = 1000, 30_000
# Draws that a process takes at a time; draws that are looked at before those that fit are counted.
CHUNK, DRAWN = 10, 1000
# Errors below a fifth of a rounding cannot be planted: they round to nothing.
SMALLEST = 0.2
# Half decades up to 1: everything is seen there, or the check is blind.
SIZES = tuple(10.0 ** (k / 2) for k in range(-32, 1))
# What is cancelled: with N = 2 (or 1, or gamma = 0) and eps far below the variance dx is eps/var of its terms.
CANCELLED = 1e-3


class Planting(NamedTuple):
    """Where an error is planted."""

    dtype: str
    tensor: str
    place: str


def draws_for(dtype: str, cases: int, pool: ProcessPoolExecutor) -> dict[str, list[int]]:
    """Return for each tensor the first draws in which it is there to be wrong."""
    found: dict[str, list[int]] = {tensor: [] for tensor, _ in PLANTED}
    first = 0
    while min(map(len, found.values())) < cases:
        draws = range(first, first + DRAWN)
        for i, tensors in zip(draws, pool.map(partial(there, dtype), draws, chunksize=CHUNK), strict=True):
            for tensor in tensors:
                found[tensor].append(i)
        first += DRAWN
    return {tensor: fitting[:cases] for tensor, fitting in found.items()}


def there(dtype: str, i: int) -> list[str]:
    """Return the tensors of a draw that can be judged and are there."""
    spec = draw(i, SEED, dtype, (0,))
    if spec.constant:
        return []
    case = build(spec)
    right, allowed = truth(case), allowances(case)
    dy, gamma = np.abs(case.dy.astype(float)), np.abs(case.gamma.astype(float))
    value = {tensor: np.abs(right.tensor(tensor)).max() for tensor, _ in PLANTED}
    terms = {
        "y": value["y"],
        "dx": (gamma * right.forward.inv_std).max() * dy.max(),
        "dgamma": (dy * np.abs(right.forward.xhat)).sum(axis=case.axes).max(),
        "dbeta": dy.sum(axis=case.axes).max(),
    }
    return [
        tensor
        for tensor in value
        if value[tensor] > CANCELLED * terms[tensor] and np.mean(getattr(allowed, tensor)) <= DECIDABLE * value[tensor]
    ]


def seen(planting: Planting, i: int) -> tuple[bool, dict[float, bool]]:
    """Return whether a draw is an ordinary case, and at which sizes the error is seen on it."""
    spec = draw(i, SEED, planting.dtype, (0,))
    with quiet():
        return ordinary(spec), seen_on(spec, planting)


def seen_on(spec: CaseSpec, planting: Planting) -> dict[float, bool]:
    """Return at which sizes the error is seen on a case.

    The edge is found by halving. Every size within two steps of it is tried, smaller ones count as not seen, larger
    ones as seen.
    """
    target, checks = target_of(TARGET), selected(ORACLES, ())
    sizes = sizes_for(planting.dtype)
    tried: dict[int, bool] = {}

    def is_seen(at: int) -> bool:
        if at not in tried:
            wrong = Planted(target, planting.tensor, grown(sizes[at], planting.place))
            judgements = judge(wrong, spec, checks)[0].judgements.values()
            tried[at] = any(judgement.outcome is Outcome.FAIL for judgement in judgements)
        return tried[at]

    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_seen(middle) else (middle + 1, high)
    near = range(max(0, low - 2), min(len(sizes), low + 2))
    return {size: is_seen(at) if at in near else at >= low for at, size in enumerate(sizes)}


def ordinary(spec: CaseSpec) -> bool:
    """Tell whether a case is one that a layer meets every day. Variances are 1/3 of sd squared, and more."""
    return 4 <= spec.m <= 256 and abs(spec.mean) <= 3 * spec.sd and spec.eps <= spec.sd**2 / 3


def sizes_for(dtype: str) -> list[float]:
    """Return the sizes of error that can be planted in a dtype."""
    return [size for size in SIZES if size >= SMALLEST * UNIT_ROUNDOFF[dtype]]


# -------------------------------------------------------------------------------------------------------------- report


class Curve:
    """On how many cases each size of error is seen."""

    def __init__(self, sizes: Iterable[float]) -> None:
        self.cases, self.seen = 0, dict.fromkeys(sizes, 0)

    def add(self, seen: Mapping[float, bool]) -> None:
        """Take one more case in."""
        self.cases += 1
        for size, is_seen in seen.items():
            self.seen[size] += is_seen


Curves = tuple[Curve, Curve]  # of all cases, and of the ordinary ones


def curves(cases: int) -> Iterator[tuple[Planting, Curves]]:
    """Yield, for each dtype and each place of an error, on how many cases each size is seen."""
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for dtype in DTYPES:
            draws = draws_for(dtype, cases, pool)
            for planting in (Planting(dtype, *where) for where in PLANTED):
                of_all, of_ordinary = Curve(sizes_for(dtype)), Curve(sizes_for(dtype))
                for is_ordinary, sizes in pool.map(partial(seen, planting), draws[planting.tensor], chunksize=CHUNK):
                    of_all.add(sizes)
                    if is_ordinary:
                        of_ordinary.add(sizes)
                yield planting, (of_all, of_ordinary)


# The share that is quoted as "always", and what is aimed at in each dtype.
ALWAYS = 0.999
GOALS = {"float64": 1e-9, "float32": 1e-4}


def at_share(curve: Curve, share: float) -> float | None:
    """Return the smallest size from which on an error is seen on that share of the cases."""
    enough = None
    if not curve.cases:
        return None
    for size in sorted(curve.seen, reverse=True):
        if curve.seen[size] < share * curve.cases:
            break
        enough = size
    return enough


def chart(found: Mapping[Planting, Curves]) -> None:
    """Draw the curves, a panel for each dtype."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "power"
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(DTYPES), figsize=(11, 3.6), sharey=True, layout="constrained")
    for panel, dtype in zip(panels, DTYPES, strict=True):
        for planting, (curve, _) in found.items():
            if planting.dtype == dtype:
                share = [100 * count / curve.cases for count in curve.seen.values()]
                panel.semilogx(list(curve.seen), share, label=f"{planting.tensor}, {planting.place}", linewidth=1.2)
        if dtype in GOALS:
            panel.axvline(GOALS[dtype], color="0.6", linestyle=":", linewidth=1)
        panel.set(title=dtype, xlabel="error / norm of the tensor", ylim=(-2, 102))
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("seen, % of cases")
    panels[-1].legend(fontsize=8)
    figure.savefig(PAGE.with_suffix(".svg"), metadata={"Date": None})


def page(found: Mapping[Planting, Curves], cases: int) -> Iterator[str]:
    """Yield the lines of docs/power.md."""
    yield from (
        "# Power: how large an error has to be to be seen",
        "",
        f"Measured by `make power` on {date.today().isoformat()}: {cases} random cases for each point, seed {SEED},",
        f"NumPy {np.__version__}. Cases are draws of `bncheck verify` (`cases/plan.py`: N from 1 to 4096, eps from",
        "1e-12 to 10, means up to 100 standard deviations). Those take part whose tensor is there to be wrong: its",
        "rounding bound is below 1% of it, and its terms do not cancel to a thousandth or less. Ordinary ones have 4",
        "to 256 values in a channel, a mean of at most 3 standard deviations, and a variance above eps. The error is",
        "planted in what the right `fixtures/correct/cs231n_staged.py` returns, in units of the tensor's norm: over",
        "all of it, over its largest channel, or on its largest element. It is seen where y or a gradient fails, by",
        "either oracle.",
        "",
        "![Share of cases on which an error is seen, against its size](power.svg)",
        "",
        "The edge of each case is found by halving: every size within two steps of it was tried, smaller ones count as",
        "not seen, larger ones as seen.",
        "",
        "| dtype | planted in | seen on half of the cases | on 99.9% | goal | on 99.9% of the ordinary ones |",
        "|---|---|---|---|---|---|",
    )
    for planting, (curve, ordinary) in found.items():
        figures = at_share(curve, 0.5), at_share(curve, ALWAYS), at_share(ordinary, ALWAYS)
        middle, always, usual = (f"{size:.1e}" if size else "-" for size in figures)
        goal = GOALS.get(planting.dtype)
        met = "" if goal is None else f"{goal:.0e}, {reached(figures[1] is not None and figures[1] <= goal)}"
        said = f"{usual} ({ordinary.cases})" if ordinary.cases else "-"
        yield f"| {planting.dtype} | {planting.tensor}, {planting.place} | {middle} | {always} | {met} | {said} |"
    yield ""


PAGE = ROOT / "docs" / "power.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES, help="cases for each point")
    options = parser.parse_args()
    found = {}
    for planting, both in curves(options.cases):
        found[planting] = both
        print(*planting, "99.9% from", at_share(both[0], ALWAYS), flush=True)
    chart(found)
    PAGE.write_text("\n".join(page(found, options.cases)), encoding="utf-8")


if __name__ == "__main__":
    main()
