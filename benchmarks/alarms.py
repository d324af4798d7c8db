"""False alarms of all checks on right implementations, and the share of answers that were decided.

    python benchmarks/alarms.py                      every right fixture, 20 000 cases each
    python benchmarks/alarms.py --cases 500          fewer
    python benchmarks/alarms.py torch.nn:BatchNorm2d flax.linen:BatchNorm --cases 1000

Cases are those of `bncheck verify --cases N`: the recipes and then random draws. Prints a row per target and dtype;
exits with 1 if any case of any target fails.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Cases of one job of the pool.
CHUNK = 500


def names(source: str) -> list[str]:
    """Return the targets of one source; none, and why, where it cannot be run here."""
    from bncheck.adapters import resolve
    from bncheck.errors import TargetError
    from bncheck.model import TargetSpec

    try:
        return [card.name for card in resolve.cards(TargetSpec(source)) if card.conventions is not None]
    except TargetError as error:
        print(f"    not run: {error}", flush=True)
        return []


def chunk(job: tuple[str, str, str, int, int, int]) -> tuple[Counter[tuple[str, str]], list[str], float]:
    """Judge the cases `first` to `last` of a target; count outcomes by check, and name what fails."""
    from bncheck.adapters import resolve
    from bncheck.checks.catalogue import selected
    from bncheck.driver import cases_for, judge
    from bncheck.guard import quiet
    from bncheck.model import Outcome, TargetSpec
    from bncheck.settings import Settings

    source, name, dtype, cases, first, last = job
    counts: Counter[tuple[str, str]] = Counter()
    failed: list[str] = []
    start = time.perf_counter()
    with quiet():
        spec = TargetSpec(source)
        resolve.load_source(spec)
        resolve.cards(spec)
        target = resolve.target(spec, name)
        for case in cases_for(target.conventions, Settings(cases=cases, dtype=dtype))[first:last]:
            for code, judgement in judge(target, case, selected((), ()))[0].judgements.items():
                counts[code, judgement.outcome.value] += 1
                if judgement.outcome is Outcome.FAIL:
                    failed.append(f"{code} {case.id}: {judgement.message}")
    return counts, failed, time.perf_counter() - start


def main() -> int:
    """Run, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="targets as the command line takes them; all right fixtures if none")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--dtype", default="float64")
    options = parser.parse_args()
    sources = options.targets or [str(p) for p in sorted((ROOT / "fixtures" / "correct").glob("*.py"))]
    print("| implementation | cases | failures | warnings | decided | seconds |")
    print("|---|---|---|---|---|---|")
    alarms = 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for source in sources:
            for name in pool.submit(names, source).result():
                starts = range(0, options.cases, CHUNK)
                jobs = [(source, name, options.dtype, options.cases, s, min(s + CHUNK, options.cases)) for s in starts]
                counts: Counter[tuple[str, str]] = Counter()
                failed: list[str] = []
                seconds = 0.0
                for found, wrong, spent in pool.map(chunk, jobs):
                    counts += found
                    failed += wrong
                    seconds += spent
                alarms += len(failed)
                by_outcome: Counter[str] = Counter()
                for (_, outcome), n in counts.items():
                    by_outcome[outcome] += n
                answers = sum(n for outcome, n in by_outcome.items() if outcome != "skip")
                decided = 1 - by_outcome["inconclusive"] / max(answers, 1)
                warned = sorted({code for (code, outcome) in counts if outcome == "warn"})
                row = (name, f"{options.cases:,}", str(len(failed)), " ".join(warned) or "-", f"{decided:.3%}")
                print("| " + " | ".join(row) + f" | {seconds:.0f} |", flush=True)
                for line in failed[:5]:
                    print("    " + line, flush=True)
    return 1 if alarms else 0


if __name__ == "__main__":
    sys.exit(main())
