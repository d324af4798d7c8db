"""Start-up and the default verify: how long a command takes from a cold start.

Every figure is the minimum, median and maximum over repeated cold processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from common import BUGGY, CORRECT, ROOT, reached, spread

PAIR, WRONG = CORRECT / "cs231n_staged.py", BUGGY / "misprinted_dx.py"
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


def all_formats(bncheck: Sequence[str]) -> tuple[list[float], list[float]]:
    """Return the wall times of a failing run without further formats, and with six of them."""
    verify = [*bncheck, "verify", str(WRONG)]
    forms = ("json", "sarif", "junit", "github", "markdown", "html")
    with tempfile.TemporaryDirectory() as folder:
        further = [part for form in forms for part in ("--format", form, "--output", f"{folder}/report.{form}")]
        return seconds(verify, fails=True), seconds([*verify, *further], fails=True)


def section() -> Iterator[str]:
    """Yield the lines of the report."""
    bncheck = [sys.executable, "-m", "bncheck"]
    numpy_only = seconds([sys.executable, "-c", "import numpy"])
    shown_help = seconds([*bncheck, "--help"])
    verify = seconds([*bncheck, "verify", str(PAIR), "--format", "json"])
    alone = seconds([*bncheck, "verify", str(PAIR), "--format", "json", "--jobs", "1"])
    shown, six = all_formats(bncheck)
    ratio = [a / b for a, b in zip(shown_help, numpy_only, strict=True)]
    more = reached(statistics.median(six) <= statistics.median(shown) + 1)
    soon, quick = reached(statistics.median(ratio) <= 3), reached(statistics.median(verify) <= 1.5)
    yield from (
        f"Minimum - median - maximum of {REPEATS} cold runs.",
        "",
        "| what | seconds | goal |",
        "|---|---|---|",
        f"| `python -c 'import numpy'` | {spread(numpy_only)} | |",
        f"| `bncheck --help` | {spread(shown_help)} | |",
        f"| ratio of the two | {spread(ratio)} | at most 3, {soon} |",
        f"| `bncheck verify` of a NumPy pair, default cases | {spread(verify)} | at most 1.5, {quick} |",
        f"| the same with `--jobs 1` | {spread(alone)} | |",
        f"| `bncheck verify` of a wrong pair, shown on the terminal | {spread(shown)} | |",
        f"| the same in six formats at once, HTML with its plots among them | {spread(six)} | at most 1 more, {more} |",
        "",
    )


if __name__ == "__main__":
    print("\n".join(section()))
