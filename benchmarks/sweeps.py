"""Long sweeps: what isolation, a second process and Dask cost and bring, and that memory stays flat.

Each sweep is a process of its own, one after another on an idle machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from common import CORRECT, ROOT, reached

PAIR = CORRECT / "cs231n_staged.py"
CASES = 20_000
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
    ran = {place: sweep(place, CASES) for place in _PLACES}
    inline, one, two = (ran[place].seconds for place in ("inline", "1", "2"))
    few, many = (sweep("2", cases, CHECK) for cases in (FEW, MANY))
    own, child = many.own_peak - few.own_peak, many.child_peak - few.child_peak
    yield from (f"A sweep of {CASES} cases, all checks; one digest: {len({s.digest for s in ran.values()}) == 1}.", "")
    yield from ("| where | cases/s |", "|---|---|")
    yield from (f"| {name} | {CASES / ran[place].seconds:.0f} |" for place, name in _PLACES.items())
    yield from ("", "| what | measured | goal |", "|---|---|---|")
    yield f"| two processes over one | {one / two:.2f} | at least 1.7, {reached(one >= 1.7 * two)} |"
    cost, grown = one / inline - 1, f"{own:+.0f} MiB, workers {child:+.0f} MiB"
    yield f"| isolation over in process | {100 * cost:+.0f}% | less than 15%, {reached(cost < 0.15)} |"
    flat = reached(max(own, child) * 2**20 <= 50e6)
    yield f"| peak memory, {MANY} cases over {FEW} ({CHECK}) | {grown} | within 50 MB, {flat} |"
    yield ""


if __name__ == "__main__":
    print("\n".join(section()))
