"""Error over error bar of the line probe on right code, false alarms of both oracles, and planted errors that are seen.

    python benchmarks/calibrate.py                  a million cases of right code, but for those that have been counted
    python benchmarks/calibrate.py --seconds 600    as many as ten minutes hold; the next run goes on
    python benchmarks/calibrate.py --scale 0.001    a thousandth of the cases
    python benchmarks/calibrate.py --write          count nothing: put what has been counted into docs/calibration.md

Cases are those of `bncheck verify --cases N`: all recipes, then random draws. A case is well-conditioned when a right
evaluation in its dtype can be judged at all: the rounding bound of every reference tensor is below 1% of that tensor's
scale (`tolerance.DECIDABLE`), and no channel is constant. Exits with 1 if any case of any implementation fails.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import alarms
from alarms import SHARING, Job, Line, of_shape
from common import ORACLES, ROOT, reached

import numpy as np  # isort: skip

from bncheck.case import Case, CaseSpec
from bncheck.cases.plan import draw, plan
from bncheck.checks.catalogue import selected
from bncheck.core.tolerance import DECIDABLE, K
from bncheck.core.truth import allowances, truth
from bncheck.driver import judge
from bncheck.errors import BncheckError
from bncheck.guard import quiet
from bncheck.model import TENSORS, Outcome

PAGE = ROOT / "docs" / "calibration.md"
BEGIN, END = "<!-- probe -->", "<!-- end of probe -->"
SEED = 20_000
CHUNK = 500
# Cases of each implementation in each dtype: a million in all. NumPy in eight styles, and what libraries differentiate,
# which is slower.
CASES = {
    "fixtures/correct/cs231n_staged.py": 40_000,
    "fixtures/correct/einsum_pair.py": 40_000,
    "fixtures/correct/blockwise_sums.py": 40_000,
    "fixtures/correct/layer_class_train_flag.py": 40_000,
    "fixtures/correct/num_features_class.py": 40_000,
    "fixtures/correct/nchw_pair.py": 40_000,
    "fixtures/correct/features_first.py": 40_000,
    "fixtures/correct/gradients_in_dict.py": 40_000,
    "torch.nn:BatchNorm1d": 10_000,
    "fixtures/jax/right.py": 4_000,
}
# What is compiled for every shape: a second or so each.
COMPILED = ("fixtures/jax/right.py",)
DTYPES = ("float64", "float32", "float16")
# Ratios are counted by the quarter of a power of two: within 19% of each other.
QUARTERS = 4
ZERO = "zero"


def counted(job: Job) -> list[Line]:
    """Judge cases `first` to `last` of a source's first target; count outcomes, and ratios of error to error bar."""
    source, dtype, first, last = job
    with quiet():
        try:
            target = alarms.targets(source)[0]
        except (BncheckError, ImportError) as error:
            return [{"source": source, "dtype": dtype, "first": first, "last": last, "not run": str(error)}]
        conventions, checks = target.conventions, selected(ORACLES, ())
        ranks = tuple(len(layout) - 2 for layout in conventions.layouts)
        counts: Counter[str] = Counter()
        ratios: Counter[str] = Counter()
        largest, failed = 0.0, []
        start = time.perf_counter()
        seed = SEED + list(CASES).index(source)
        sharing = SHARING if source in COMPILED else 1
        for spec in cases(first, last, seed, dtype, ranks, conventions.eps, sharing):
            result, case, _ = judge(target, spec, checks)
            outcomes = {code: judgement.outcome for code, judgement in result.judgements.items()}
            well = well_conditioned(case)
            counts["well"] += well
            counts["decided"] += well and set(outcomes.values()) == {Outcome.PASS}
            failed += [f"{code} {spec.id}" for code, outcome in outcomes.items() if outcome is Outcome.FAIL]
            # One probe stands behind BN201, BN202 and BN203: the worst channel's residual over K error bars.
            numeric = result.judgements["BN201"]
            if numeric.error is not None and numeric.allowed:
                ratio = K * numeric.ratio
                ratios[str(math.floor(QUARTERS * math.log2(ratio))) if ratio else ZERO] += 1
                largest = max(largest, ratio)
    return [
        {
            "source": source,
            "name": target.name,
            "dtype": dtype,
            "first": first,
            "last": last,
            "commit": alarms.commit(),
            "seconds": round(time.perf_counter() - start, 2),
            "failed": failed,
            "counts": dict(counts),
            "ratios": dict(ratios),
            "largest": largest,
        }
    ]


def cases(
    first: int, last: int, seed: int, dtype: str, ranks: tuple[int, ...], eps: float | None, sharing: int = 1
) -> Iterator[CaseSpec]:
    """Yield the cases from `first` to `last`: all recipes come first, then draws that no other seed has.

    Of the draws, `sharing` in a row have one shape, eps and momentum.
    """
    recipes = recipes_of(dtype, ranks, eps)
    yield from recipes[first:last]
    for i in range(max(first, len(recipes)), last):
        spec = draw(i, seed, dtype, ranks, eps)
        ahead = max(len(recipes), i - i % sharing)
        yield spec if ahead == i else of_shape(spec, draw(ahead, seed, dtype, ranks, eps), dtype, ranks, eps)


def recipes_of(dtype: str, ranks: tuple[int, ...], eps: float | None) -> list[CaseSpec]:
    """Return the cases of `bncheck verify` that come before its draws."""
    return [spec for spec in islice(plan(CHUNK, SEED, dtype, ranks, eps), CHUNK) if spec.recipe != "draw"]


def well_conditioned(case: Case) -> bool:
    """Tell whether a right evaluation in the case's dtype can be judged at all."""
    right, bounds = truth(case), allowances(case)
    return case.spec.constant == 0 and all(
        float(np.mean(getattr(bounds, name))) <= DECIDABLE * float(np.abs(right.tensor(name)).max()) for name in TENSORS
    )


# -------------------------------------------------------------------------------------------------------------- report

SHARES = (0.5, 0.99, 0.9999)
# The share of well-conditioned cases that is to be decided.
DECIDED = 0.995


def page(lines: Sequence[Line]) -> Iterator[str]:
    """Yield what has been counted, as Markdown."""
    total = sum(_size(line) for line in lines)
    alarmed = sum(len(line["failed"]) for line in lines)
    commits = sorted({line["commit"] for line in lines}, key=[line["commit"] for line in lines].index)
    yield from (
        f"{_spaced(total)} cases of right code, {_spaced(alarmed)} false alarms of {', '.join(ORACLES)}; counted by",
        f"`make calibrate` (seeds {SEED} to {SEED + len(CASES) - 1}) at {', '.join(commits)}, NumPy {np.__version__}.",
        f"Of draws for `{'`, `'.join(COMPILED)}` {SHARING} share shape, eps and momentum: it is compiled for each.",
        "",
        "| implementation | dtype | cases | false alarms | well-conditioned | of these decided | worst error / bar |",
        "|---|---|---|---|---|---|---|",
    )
    for (name, dtype), group in sorted(grouped(lines, "name", "dtype"), key=lambda g: (g[0][0], DTYPES.index(g[0][1]))):
        yield f"| `{name}` | {dtype} | {_figures(group)} | {max(line['largest'] for line in group):.2f} |"
    yield from (
        "",
        "Of the well-conditioned ones 99.5% are to be decided. Last columns: residual of the line probe over its error",
        f"bar, the worst channel of each case; K is {K:g}.",
        "",
        "| dtype | cases | false alarms | well-conditioned | of these decided | goal "
        f"| {' | '.join(f'{100 * share:g}% below' for share in SHARES)} | worst |",
        "|---" * (7 + len(SHARES)) + "|",
    )
    for (dtype,), group in sorted(grouped(lines, "dtype"), key=lambda g: DTYPES.index(g[0][0])):
        ratios: Counter[str] = Counter()
        for line in group:
            ratios.update(line["ratios"])
        below = (f"{quantile(ratios, share):.2g}" for share in SHARES)
        worst = max(line["largest"] for line in group)
        well, decided = _well_and_decided(group)
        goal = reached(decided >= DECIDED * well)
        yield f"| {dtype} | {_figures(group)} | {goal} | {' | '.join(below)} | {worst:.2f} |"


def grouped(lines: Sequence[Line], *keys: str) -> Iterable[tuple[tuple[str, ...], list[Line]]]:
    """Return lines by what they say for some keys."""
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(line[key] for key in keys), []).append(line)
    return groups.items()


def quantile(ratios: Counter[str], share: float) -> float:
    """Return the upper end of the quarter below which that share of the ratios lies."""
    steps = sorted((-math.inf if step == ZERO else int(step), count) for step, count in ratios.items())
    seen, least = 0, share * sum(ratios.values())
    for step, count in steps:
        seen += count
        if seen >= least:
            return float(2 ** ((step + 1) / QUARTERS))
    return math.inf


def _figures(group: Sequence[Line]) -> str:
    cases_, alarms_ = sum(map(_size, group)), sum(len(line["failed"]) for line in group)
    well, decided = _well_and_decided(group)
    share = f"{decided / well:.3%}" if well else "-"
    return f"{_spaced(cases_)} | {alarms_} | {_spaced(well)} | {share}"


def _well_and_decided(group: Sequence[Line]) -> tuple[int, int]:
    well, decided = (sum(line["counts"].get(key, 0) for line in group) for key in ("well", "decided"))
    return well, decided


def _size(line: Line) -> int:
    return int(line["last"]) - int(line["first"])


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def main() -> int:
    """Count, or write what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of cases")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after this time")
    parser.add_argument("--kept", type=Path, default=ROOT / "build" / "calibration.jsonl", help="what has been counted")
    parser.add_argument("--write", action="store_true", help="put what has been counted into docs/calibration.md")
    options = parser.parse_args()
    known = alarms.read(options.kept)
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        said = "\n".join(page(list(known.values())))
        PAGE.write_text(f"{before}{BEGIN}\n{said}\n{END}{after}", encoding="utf-8")
        return 0
    jobs = [
        job
        for source, count in CASES.items()
        for dtype in DTYPES
        for job in alarms.left([source], dtype, max(1, int(count * options.scale)), CHUNK, known.values())
    ]
    # The first cases of every implementation before the second ones of any.
    return 1 if alarms.run(sorted(jobs, key=lambda job: job[2]), options.kept, options.seconds, counted) else 0


if __name__ == "__main__":
    sys.exit(main())
