"""Long sweeps: what isolation, a second process and Dask cost and bring, and that memory stays flat.

Each sweep is a process of its own, one after another on an idle machine, in rounds: a ratio is taken within its round,
for the speed of a machine changes with the minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple

from common import CORRECT, ROOT, reached, spread

PAIR = CORRECT / "cs231n_staged.py"
CASES, ROUNDS = 20_000, 3
# Memory is compared on one check: a million cases with all of them would take an hour and a half.
FEW, MANY, CHECK = 10_000, 1_000_000, "BN101"

_PLACES = {
    "inline": "in process",
    "1": "one isolated process",
    "2": "two isolated processes",
    "dask": "Dask, two workers",
}
_SWEEP = """
import json, resource, sys, time
from bncheck.executors.in_process import InProcess
from bncheck.executors.isolated import Isolated
from bncheck.model import TargetSpec
from bncheck.settings import Settings
from bncheck.pipeline import run

place, source, cases, check = sys.argv[1:]
settings = Settings(cases=int(cases), select=check.split(), jobs=2)
if place == "dask":
    from bncheck.executors.on_dask import OnDask
    where = OnDask("local", settings)
else:
    where = InProcess() if place == "inline" else Isolated(20.0, int(place))
start = time.perf_counter()
(target,) = run([TargetSpec(source)], settings, None, where).targets
seconds = time.perf_counter() - start
assert target.cases == int(cases) and target.verdict.value == "pass", target
peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([seconds, target.digest, *peaks]))
"""


class Sweep(NamedTuple):
    """Seconds, digest of all judgements, and peak MiB of the process and of the largest of its children."""

    seconds: float
    digest: str
    own_peak: float
    child_peak: float


def sweep(place: str, cases: int, check: str = "") -> Sweep:
    """Run a sweep in "inline", "1", "2" or "dask"."""
    command = [sys.executable, "-c", _SWEEP, place, str(PAIR), str(cases), check]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: list[Any] = json.loads(done.stdout)
    return Sweep(*found)


def section() -> Iterator[str]:
    """Yield the lines of the report."""
    rounds = [{place: sweep(place, CASES) for place in _PLACES} for _ in range(ROUNDS)]
    few, many = (sweep("2", cases, CHECK) for cases in (FEW, MANY))
    digests = {done.digest for ran in rounds for done in ran.values()}
    yield from (f"A sweep of {CASES} cases, all checks, {ROUNDS} rounds; one digest: {len(digests) == 1}.", "")
    yield from ("| where | cases/s, min-median-max |", "|---|---|")
    for place, name in _PLACES.items():
        yield f"| {name} | {spread([CASES / ran[place].seconds for ran in rounds], '.0f')} |"
    yield from ("", "| what | measured, min-median-max | goal of the median |", "|---|---|---|")
    twice = [ran["1"].seconds / ran["2"].seconds for ran in rounds]
    yield f"| two processes over one | {spread(twice)} | at least 1.7, {reached(median(twice) >= 1.7)} |"
    costs = [100 * (ran["1"].seconds / ran["inline"].seconds - 1) for ran in rounds]
    met = reached(median(costs) < 15)
    yield f"| isolation over in process, % | {spread(costs, '+.0f')} | less than 15, {met} |"
    own, child = many.own_peak - few.own_peak, many.child_peak - few.child_peak
    grown = f"{own:+.0f} MiB, workers {child:+.0f} MiB"
    flat = reached(max(own, child) * 2**20 <= 50e6)
    yield f"| peak memory, {MANY} cases over {FEW} ({CHECK}) | {grown} | within 50 MB, {flat} |"
    yield ""


if __name__ == "__main__":
    print("\n".join(section()))
