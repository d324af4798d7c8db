"""False alarms on right code, and the share of planted errors that is seen, over many random cases.

    python benchmarks/calibrate.py                    everything, as docs/calibration.md quotes it
    python benchmarks/calibrate.py --scale 0.01       a hundredth of the cases

A case counts as well-conditioned when a right evaluation in its dtype can be judged at all: the rounding bound of every
reference tensor is below 1% of that tensor's scale (`tolerance.DECIDABLE`), and no channel is constant.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RIGHT = ("cs231n_staged", "einsum_pair")
# Cases of right code, for each implementation.
FALSE_ALARMS = {"float64": 100_000, "float32": 20_000}
# Of the draws about four in five have a dx that an error can be planted in: 10 000 of them and some to spare.
PLANTED = 12_700
PLANTED_ERROR = 1e-6
SEED = 20_000
# With N = 2 (or 1, or gamma = 0) and eps far below the variance, the terms of dx cancel to eps/var of their size.
CANCELLED = 1e-3


class Planted:
    """A target whose dx carries a relative error."""

    def __init__(self, target: Any, error: float) -> None:
        self._target = target
        self._error = error
        self.name = target.name
        self.conventions = target.conventions

    def open(self, setup: Any) -> Any:
        """Open a session of the target whose backward errs."""
        session = self._target.open(setup)
        plain = session.backward

        def backward(dy: Any) -> Any:
            gradients = plain(dy)
            return gradients._replace(dx=gradients.dx * (1 + self._error))

        return _Session(session, backward)


class _Session:
    def __init__(self, session: Any, backward: Any) -> None:
        self.forward = session.forward
        self.handed_over = session.handed_over
        self.backward = backward


def target_of(name: str) -> Any:
    from bncheck.adapters import resolve
    from bncheck.model import TargetSpec

    spec = TargetSpec(str(ROOT / "fixtures" / "correct" / f"{name}.py"))
    return resolve.target(spec, resolve.cards(spec)[0].name)


def chunk(job: tuple[str, str, int, int, float]) -> tuple[Counter[tuple[str, ...]], dict[str, float], list[str]]:
    """Judge draws `first` to `last`; count outcomes, the worst ratio of error to allowance, and the failing cases."""
    from bncheck.cases.plan import draw
    from bncheck.checks.catalogue import selected
    from bncheck.core.tolerance import DECIDABLE
    from bncheck.core.truth import allowances, truth
    from bncheck.driver import judge
    from bncheck.guard import quiet

    name, dtype, first, last, error = job
    target = target_of(name)
    if error:
        target = Planted(target, error)
    checks = selected(("BN1", "BN2"), ())
    ranks = tuple(len(layout) - 2 for layout in target.conventions.layouts)
    counts: Counter[tuple[str, ...]] = Counter()
    worst: dict[str, float] = {}
    unexpected: list[str] = []
    with quiet():
        for index in range(first, last):
            spec = draw(index, SEED, dtype, ranks, target.conventions.eps)
            result, case, _ = judge(target, spec, checks)
            bounds = allowances(case)
            well = spec.constant == 0 and all(
                float(np.mean(getattr(bounds, t))) <= DECIDABLE * float(np.abs(truth(case).tensor(t)).max())
                for t in ("y", "dx", "dgamma", "dbeta")
            )
            outcomes = {code: judgement.outcome.value for code, judgement in result.judgements.items()}
            kind = "well" if well else "ill"
            counts["cases", kind] += 1
            for code, outcome in outcomes.items():
                counts[code, kind, outcome] += 1
                judgement = result.judgements[code]
                if judgement.error is not None and judgement.allowed:
                    worst[code] = max(worst.get(code, 0.0), judgement.ratio)
            counts["all pass", kind] += set(outcomes.values()) == {"pass"}
            failed = "fail" in outcomes.values()
            counts["some fail", kind] += failed
            if error:
                # No relative error can be planted in a dx that is 0, and none seen in what cancellation left of one.
                terms = np.abs(case.gamma) * truth(case).forward.inv_std * np.abs(case.dy).max()
                there = float((np.abs(truth(case).gradients.dx).max(axis=case.axes) / terms).max()) >= CANCELLED
                counts["planted", "there" if there else "none"] += 1
                counts["seen", "there" if there else "none"] += failed
                if there and not failed:
                    unexpected.append(spec.id)
            elif failed:
                unexpected.append(spec.id)
    return counts, worst, unexpected


def sweep(
    name: str, dtype: str, cases: int, error: float = 0.0
) -> tuple[Counter[tuple[str, ...]], dict[str, float], list[str]]:
    size = 500
    jobs = [(name, dtype, i, min(i + size, cases), error) for i in range(0, cases, size)]
    counts: Counter[tuple[str, ...]] = Counter()
    worst: dict[str, float] = {}
    unexpected: list[str] = []
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for some, ratios, cases_of in pool.map(chunk, jobs):
            counts += some
            unexpected += cases_of
            for code, ratio in ratios.items():
                worst[code] = max(worst.get(code, 0.0), ratio)
    return counts, worst, unexpected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of cases")
    parser.add_argument("--planted-only", action="store_true", help="leave the false alarms out")
    options = parser.parse_args()
    scale = options.scale
    print(f"seed {SEED}; NumPy {np.__version__}\n")
    for name in () if options.planted_only else RIGHT:
        for dtype, cases in FALSE_ALARMS.items():
            counts, worst, unexpected = sweep(name, dtype, max(1, int(cases * scale)))
            total, well = counts["cases", "well"] + counts["cases", "ill"], counts["cases", "well"]
            decided = counts["all pass", "well"] / max(1, well)
            print(f"{name} {dtype}: {total} cases, {len(unexpected)} false alarms {unexpected[:3]}")
            print(f"  well-conditioned {well} ({well / total:.2%}), decided PASS {decided:.3%}")
            print("  worst error / allowed: " + ", ".join(f"{c} {r:.3f}" for c, r in sorted(worst.items())))
            for code in ("BN101", "BN201", "BN211", "BN212", "BN213"):
                well_, ill = (counts[code, kind, "inconclusive"] for kind in ("well", "ill"))
                print(f"  {code} undecided: {well_} of the well-conditioned, {ill} of the others")
    for name in RIGHT:
        counts, _, missed = sweep(name, "float64", max(1, int(PLANTED * scale)), PLANTED_ERROR)
        total, seen = counts["planted", "there"], counts["seen", "there"]
        numeric = counts["BN201", "well", "fail"] + counts["BN201", "ill", "fail"]
        print(
            f"{name}: relative error {PLANTED_ERROR} in dx seen in {seen} of {total} cases ({seen / total:.3%}), by "
            f"numerical derivative in {numeric}; missed: {missed[:5]}; besides {counts['planted', 'none']} cases whose "
            f"dx is 0 or cancelled, seen in {counts['seen', 'none']}"
        )


if __name__ == "__main__":
    main()
