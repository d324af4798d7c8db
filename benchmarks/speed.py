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
import sweeps

from bncheck.adapters import resolve
from bncheck.case import Case, CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import selected
from bncheck.driver import judge
from bncheck.experiments.training import setup
from bncheck.model import Target, TargetSpec

ROOT = Path(__file__).resolve().parent.parent
PAIR = ROOT / "fixtures" / "correct" / "cs231n_staged.py"
WRONG = ROOT / "fixtures" / "buggy" / "misprinted_dx.py"
REPEATS = 11


def seconds(command: Sequence[str], repeats: int = REPEATS, *, fails: bool = False) -> list[float]:
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
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT, env=env)
            if done.returncode != int(fails):
                raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()}")
            times.append(time.perf_counter() - start)
    return times[1:]


def spread(times: Sequence[float]) -> str:
    return f"{min(times):.2f} - {statistics.median(times):.2f} - {max(times):.2f}"


def all_formats(bncheck: Sequence[str]) -> tuple[list[float], list[float]]:
    """Return the wall times of a failing run without further formats, and with six of them."""
    verify = [*bncheck, "verify", str(WRONG)]
    forms = ("json", "sarif", "junit", "github", "markdown", "html")
    with tempfile.TemporaryDirectory() as folder:
        further = [part for form in forms for part in ("--format", form, "--output", f"{folder}/report.{form}")]
        return seconds(verify, fails=True), seconds([*verify, *further], fails=True)


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
    shown, six = all_formats(bncheck)
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
        f"| `bncheck verify` of a wrong pair, shown on the terminal | {spread(shown)} | |",
        f"| the same in six formats at once, HTML with its plots among them | {spread(six)} | at most 1 more |",
        "",
        "Cost of one case in units of the target's own forward + backward (median of 25):",
        "",
        "| shape | checks | cost |",
        "|---|---|---|",
        *(f"| {shape} | {label} | {cost:.0f} |" for shape, label, cost in case_costs()),
        "",
        "## Long sweeps",
        "",
        *sweeps.section(),
    ]
    text = "\n".join(lines)
    (ROOT / "benchmarks" / "RESULTS.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
