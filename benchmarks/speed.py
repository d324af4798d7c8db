"""Start-up and default verify, as ratios measured in one run; `make bench` writes benchmarks/RESULTS.md.

Every figure is the minimum, median and maximum over repeated cold processes on this machine.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np

from bncheck.adapters import resolve
from bncheck.case import Case, CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import selected
from bncheck.driver import judge
from bncheck.experiments.training import setup
from bncheck.model import Target, TargetSpec

ROOT = Path(__file__).resolve().parent.parent
PAIR = ROOT / "fixtures" / "correct" / "cs231n_staged.py"
REPEATS = 11


def seconds(command: Sequence[str], repeats: int = REPEATS) -> list[float]:
    """Return the wall time of a command, several times, each in a new process.

    Python finds everything compiled, as it does where a package is installed: a run before, which is not counted,
    leaves the bytecode in a folder of its own.
    """
    times = []
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(1 + repeats):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT, env=env)
            times.append(time.perf_counter() - start)
    return times[1:]


def spread(times: Sequence[float]) -> str:
    return f"{min(times):.2f} - {statistics.median(times):.2f} - {max(times):.2f}"


def case_costs() -> list[tuple[str, str, float]]:
    """Return, per shape, the cost of one case in units of the target's own forward + backward."""
    spec = TargetSpec(str(PAIR))
    target = resolve.target(spec, resolve.cards(spec)[0].name)
    rows = []
    gradients = selected(("BN201", "BN202", "BN203"), ())
    for n, c in ((8, 4), (64, 64), (128, 128), (1024, 256)):
        case_spec = CaseSpec(n=n, c=c)
        case = build(case_spec)
        unit = timed(partial(own_step, target, case))
        for label, checks in (("gradients", gradients), ("all checks", selected((), ()))):
            rows.append((f"{n} x {c}", label, timed(partial(judge, target, case_spec, checks)) / unit))
    return rows


def own_step(target: Target, case: Case) -> None:
    """Run the target's own forward and backward, as a training step does."""
    session = target.open(setup(case))
    session.forward(case.x)
    session.backward(case.dy)


def timed(action: Callable[[], object], repeats: int = 25) -> float:
    """Return the median time of one call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    bncheck = [sys.executable, "-m", "bncheck"]
    numpy_only = seconds([sys.executable, "-c", "import numpy"])
    shown_help = seconds([*bncheck, "--help"])
    verify = seconds([*bncheck, "verify", str(PAIR), "--format", "json"])
    alone = seconds([*bncheck, "verify", str(PAIR), "--format", "json", "--jobs", "1"])
    ratio = [a / b for a, b in zip(shown_help, numpy_only, strict=True)]
    lines = [
        "# Benchmarks",
        "",
        f"Measured by `make bench` on {date.today().isoformat()}: {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, NumPy {np.__version__}. Minimum - median - maximum of {REPEATS} "
        "cold runs.",
        "",
        "| what | seconds | goal |",
        "|---|---|---|",
        f"| `python -c 'import numpy'` | {spread(numpy_only)} | |",
        f"| `bncheck --help` | {spread(shown_help)} | |",
        f"| ratio of the two | {spread(ratio)} | at most 3 |",
        f"| `bncheck verify` of a NumPy pair, default cases | {spread(verify)} | at most 2.5 |",
        f"| the same with `--jobs 1` | {spread(alone)} | |",
        "",
        "Cost of one case in units of the target's own forward + backward (median of 25):",
        "",
        "| shape | checks | cost |",
        "|---|---|---|",
        *(f"| {shape} | {label} | {cost:.0f} |" for shape, label, cost in case_costs()),
        "",
    ]
    text = "\n".join(lines)
    (ROOT / "benchmarks" / "RESULTS.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
