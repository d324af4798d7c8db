"""All benchmarks, one after another: `make bench` writes benchmarks/RESULTS.md.

python benchmarks/bench.py                 every section; over an hour on an idle machine
python benchmarks/bench.py costs start     these alone; the others stay as they are
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date

import calibrate
import common
import costs
import probe_truth
import seen
import start
import sweeps

import numpy as np  # isort: skip

PAGE = common.ROOT / "benchmarks" / "RESULTS.md"
DOCS = common.ROOT / "docs"


def power() -> Iterator[str]:
    """Yield how large an error has to be to be seen: measured now, the page of it written anew."""
    ran("power.py")
    yield "Errors planted in 1000 random cases for each point; how, and the curves: [power](../docs/power.md)."
    yield from ("", *tables((DOCS / "power.md").read_text(encoding="utf-8"))[0])


def calibration() -> Iterator[str]:
    """Yield what `make calibrate` has counted, which takes an hour and is not counted anew."""
    page = (DOCS / "calibration.md").read_text(encoding="utf-8")
    counted = page[page.index(calibrate.BEGIN) : page.index(calibrate.END)].splitlines()[1:]
    yield "Right code that is not accused, as it was last counted ([calibration](../docs/calibration.md)):"
    yield from (*counted[: counted.index("")], "", *tables("\n".join(counted))[-1])


def gpu() -> Iterator[str]:
    """Yield what a torch layer on a GPU costs, or why that is not known."""
    yield from ran("gpu.py").splitlines()


def ran(script: str) -> str:
    """Return what another benchmark prints, run in a process of its own."""
    command = (sys.executable, str(common.ROOT / "benchmarks" / script))
    return subprocess.run(command, cwd=common.ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def tables(text: str) -> list[list[str]]:
    """Return the tables of a page."""
    return [table.splitlines() for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)]


SECTIONS: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "start": ("Start-up and the default verify", start.section),
    "costs": ("Cost of one case", costs.section),
    "peers": ("What is seen", seen.section),
    "probe": ("The line probe beside other derivatives", probe_truth.section),
    "sweeps": ("Long sweeps", sweeps.section),
    "power": ("Power", power),
    "calibration": ("Calibration", calibration),
    "gpu": ("On a GPU", gpu),
}


def measured(name: str) -> str:
    """Return the text of a section, measured now."""
    title, section = SECTIONS[name]
    asked = subprocess.run(("git", "rev-parse", "--short", "HEAD"), cwd=common.ROOT, capture_output=True, text=True)
    where = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}; "
        f"{date.today().isoformat()}, at {asked.stdout.strip()}."
    )
    return "\n".join([f"## {title}", "", where, "", *section()]).rstrip()


def known() -> dict[str, str]:
    """Return the sections that the page has."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n<!-- end -->", text, re.DOTALL))


def main() -> None:
    """Measure sections, and write the page after each."""
    names = sys.argv[1:] or list(SECTIONS)
    if unknown := set(names) - SECTIONS.keys():
        sys.exit(f"no section is called {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    for name in names:
        found = {**known(), name: measured(name)}
        parts = [f"<!-- {key} -->\n{found[key]}\n<!-- end -->" for key in SECTIONS if key in found]
        PAGE.write_text("\n\n".join([_HEAD, *parts]) + "\n", encoding="utf-8")
        print(found[name], flush=True)


_HEAD = """# Benchmarks

Measured by `make bench`, each section in one run; ratios are of figures of the same run. What misses its
goal says so."""


if __name__ == "__main__":
    main()
