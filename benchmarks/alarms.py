"""False alarms of all checks on right implementations, and the share of cases that were decided.

    python benchmarks/alarms.py                      every right fixture, 20 000 cases each
    python benchmarks/alarms.py --seconds 600        as many as ten minutes hold; the next run goes on
    python benchmarks/alarms.py torch.nn:BatchNorm2d flax.linen:BatchNorm --cases 1000
    python benchmarks/alarms.py --write              count nothing: put what has been counted into docs/calibration.md

Cases are those of `bncheck verify --cases N`: the recipes, then random draws. Two kinds of targets would take days, and
get others from case 800 on: what a library compiles for every shape gets draws that share the shape, eps and momentum
of another, 25 each; what loops over elements gets none of more than 1000. What has been counted is kept in a file, a
line per chunk; every target gets its first chunk before any gets a second. Chunks that failed are judged again. Exits
with 1 if any case of any target fails.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

# One thread for each process: the pool has the cores.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from bncheck.adapters import resolve
from bncheck.case import CaseSpec
from bncheck.cases.fit import fit
from bncheck.cases.plan import plan
from bncheck.checks.catalogue import CHECKS, selected
from bncheck.driver import judge
from bncheck.errors import BncheckError
from bncheck.guard import quiet
from bncheck.model import Outcome, TargetSpec
from bncheck.session import Target

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "calibration.md"
BEGIN, END = "<!-- alarms -->", "<!-- end of alarms -->"
SEED = 0
# Compiled anew for every shape, eps and momentum; and those whose time goes with the elements.
COMPILED = ("flax.", "keras.")
SLOW = ("explicit_jacobian.py", "loops_over_features.py")
ORDINARY, SHARING, MOST_ELEMENTS = 800, 25, 1000

Job = tuple[str, str, int, int]  # source, dtype, first and last case
Line = dict[str, Any]


@lru_cache(maxsize=4)
def targets(source: str) -> tuple[Target, ...]:
    """Return the right implementations of one source that this process can run."""
    spec = TargetSpec(str(ROOT / source) if source.endswith(".py") else source)
    resolve.load_source(spec)
    names = [card.name for card in resolve.cards(spec) if card.conventions is not None]
    return tuple(resolve.target(spec, name) for name in names)


@lru_cache(maxsize=16)
def cases(source: str, count: int, dtype: str, ranks: tuple[int, ...], eps: float | None) -> list[CaseSpec]:
    """Return the first cases for the targets of a source."""
    if source.startswith(COMPILED):
        specs = list(plan(count, SEED, dtype, ranks, eps))
        ahead = [specs[i - i % SHARING] for i in range(len(specs))]
        shared = [of_shape(spec, first, dtype, ranks, eps) for spec, first in zip(specs, ahead, strict=True)]
        return specs[:ORDINARY] + shared[ORDINARY:]
    if source.endswith(SLOW):
        specs = list(plan(2 * count, SEED, dtype, ranks, eps))
        small = [spec for spec in specs[ORDINARY:] if spec.m * spec.c <= MOST_ELEMENTS]
        assert len(small) >= count - ORDINARY
        return (specs[:ORDINARY] + small)[:count]
    return list(plan(count, SEED, dtype, ranks, eps))


def of_shape(spec: CaseSpec, other: CaseSpec, dtype: str, ranks: tuple[int, ...], eps: float | None) -> CaseSpec:
    """Return a case in the shape, and with the eps and momentum, of another."""
    same = replace(
        spec,
        n=other.n,
        c=other.c,
        spatial=other.spatial,
        eps=other.eps,
        momentum=other.momentum,
        constant=min(spec.constant, other.c),
    )
    return fit(same, dtype, ranks, eps) or other


def counted(job: Job) -> list[Line]:
    """Judge cases `first` to `last` of every target of a source: count outcomes by check, and name what fails."""
    source, dtype, first, last = job
    with quiet():
        try:
            return [_line(target, job) for target in targets(source)]
        except (BncheckError, ImportError) as error:
            return [{"source": source, "dtype": dtype, "first": first, "last": last, "not run": str(error)}]


def _line(target: Target, job: Job) -> Line:
    source, dtype, first, last = job
    conventions = target.conventions
    ranks = tuple(len(layout) - 2 for layout in conventions.layouts)
    outcomes: Counter[str] = Counter()
    undecided = 0
    failed: list[str] = []
    warned: list[str] = []
    start = time.perf_counter()
    for case in cases(source, last, conventions.dtype or dtype, ranks, conventions.eps)[first:last]:
        found = judge(target, case, selected((), ()))[0].judgements
        outcomes.update(f"{code} {judgement.outcome.value}" for code, judgement in found.items())
        undecided += any(judgement.outcome is Outcome.INCONCLUSIVE for judgement in found.values())
        for code, judgement in found.items():
            if judgement.outcome in (Outcome.FAIL, Outcome.WARN):
                worst = failed if judgement.outcome is Outcome.FAIL else warned
                worst.append(f"{code} {case.id}: {judgement.message}")
    return {
        "source": source,
        "name": target.name,
        "dtype": conventions.dtype or dtype,
        "first": first,
        "last": last,
        "commit": commit(),
        "seconds": round(time.perf_counter() - start, 2),
        "undecided": undecided,
        "failed": failed,
        "warned": warned[:20],
        "outcomes": dict(outcomes),
    }


@lru_cache(maxsize=1)
def commit() -> str:
    asked = subprocess.run(
        ("git", "rev-parse", "--short", "HEAD"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def read(path: Path) -> dict[tuple[str, str, str, int, int], Line]:
    """Return what the file holds; of a chunk that was judged twice, what came last."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return {(x["source"], x["name"], x["dtype"], x["first"], x["last"]): x for x in lines}


def left(sources: Sequence[str], dtype: str, count: int, chunk: int, known: Iterable[Line]) -> list[Job]:
    """Return the jobs that are to be done, the first cases of every source before the second ones of any."""
    done = {(x["source"], x["first"], x["last"]) for x in known if not x["failed"] and x["dtype"] == dtype}
    bounds = [(first, min(first + chunk, count)) for first in range(0, count, chunk)]
    return [(s, dtype, *bound) for bound in bounds for s in sources if (s, *bound) not in done]


def run(jobs: Sequence[Job], path: Path, seconds: float, judged: Callable[[Job], list[Line]] = counted) -> int:
    """Do the jobs until time is up, keep every line, and say what fails; return how many failures there were."""
    end, alarms, refused = time.monotonic() + seconds, 0, set()
    path.parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool, path.open("a", encoding="utf-8") as kept:
        for lines in pool.imap_unordered(judged, jobs):
            for line in lines:
                if "not run" in line:
                    if line["source"] not in refused:
                        print(f"{line['source']} is not run: {line['not run']}", flush=True)
                    refused.add(line["source"])
                    continue
                kept.write(json.dumps(line) + "\n")
                kept.flush()
                print(f"{line['name']} {line['dtype']} {line['last']}: {len(line['failed'])} failures", flush=True)
                for failure in line["failed"][:5]:
                    print("    " + failure, flush=True)
                alarms += len(line["failed"])
            if time.monotonic() > end:
                break
    return alarms


def page(lines: Sequence[Line]) -> str:
    """Return what has been counted, as Markdown: a row per target, and a row per check."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line["name"], line["dtype"]), []).append(line)
    rows = []
    for (name, dtype), group in sorted(groups.items()):
        judged = sum(x["last"] - x["first"] for x in group)
        decided = 1 - sum(x["undecided"] for x in group) / judged
        failures, warned = sum(len(x["failed"]) for x in group), _warned(group)
        rows.append(f"| `{name}` | {dtype} | {_spaced(judged)} | {failures} | {warned} | {decided:.2%} |")
    outcomes: Counter[str] = Counter()
    for line in lines:
        outcomes.update(line["outcomes"])
    kinds = [kind.value for kind in (Outcome.PASS, Outcome.WARN, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.SKIP)]
    checks = [
        f"| {code} {check.name} | " + " | ".join(_spaced(outcomes[f"{code} {kind}"]) for kind in kinds) + " |"
        for code, check in CHECKS.items()
        if any(outcomes[f"{code} {kind}"] for kind in kinds)
    ]
    total = sum(x["last"] - x["first"] for x in lines)
    commits = sorted({x["commit"] for x in lines}, key=[x["commit"] for x in lines].index)
    return "\n".join(
        [
            f"{len(checks)} checks on {_spaced(total)} cases, counted by `make alarms` at {', '.join(commits)}.",
            f"Cases are those of `bncheck verify --cases N --seed {SEED}`: recipes, then random draws. From case",
            f"{ORDINARY} on, layers of Flax and Keras get draws of which {SHARING} share shape, eps and momentum",
            f"(they are compiled for each), and {' and '.join(f'`{name}`' for name in SLOW)} draws of at most",
            f"{MOST_ELEMENTS} elements. A case is decided where no check leaves it",
            "open. Warnings are counted by check.",
            "",
            "| implementation | dtype | cases | failures | warnings | cases decided |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            "What each check said in these cases; one that skips has nothing to judge there, or looks at few cases:",
            "",
            f"| check | {' | '.join(kinds)} |",
            "|---" * (1 + len(kinds)) + "|",
            *checks,
        ]
    )


def _warned(group: Sequence[Line]) -> str:
    counts: Counter[str] = Counter()
    for line in group:
        counts.update({key.split()[0]: n for key, n in line["outcomes"].items() if key.endswith(" warn")})
    return ", ".join(f"{code}: {_spaced(n)}" for code, n in sorted(counts.items())) or "none"


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def main() -> int:
    """Count, or write what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="targets as the command line takes them; all right fixtures if none")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--chunk", type=int, default=200, help="cases of one line; fewer where a library compiles")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    parser.add_argument("--kept", type=Path, default=ROOT / "build" / "alarms.jsonl", help="what has been counted")
    parser.add_argument("--write", action="store_true", help="put what has been counted into docs/calibration.md")
    options = parser.parse_args()
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\n{page(list(read(options.kept).values()))}\n{END}{after}", encoding="utf-8")
        return 0
    fixtures = sorted(path.relative_to(ROOT) for path in (ROOT / "fixtures" / "correct").glob("*.py"))
    sources = options.targets or [str(path) for path in fixtures]
    jobs = left(sources, options.dtype, options.cases, options.chunk, read(options.kept).values())
    return 1 if run(jobs, options.kept, options.seconds) else 0


if __name__ == "__main__":
    sys.exit(main())
