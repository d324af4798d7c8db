"""Run the examples of the documentation, and write what they print into the pages again.

On a page a block with a title is a file, `$ command` in a console block is run beside those files, and what stands
below it is what it printed. Python without a title is run in the order of the page.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# The pages with examples, and what each needs beside Python and NumPy: a module, or a program where it begins with "$".
PAGES = {
    "index.md": "",
    "tutorial/mending.md": "",
    "how-to/ci.md": "",
    "how-to/notebook.md": "",
    "how-to/legacy-code.md": "",
    "how-to/c-program.md": "$cc",
    "how-to/pytorch.md": "torch",
    "how-to/jax.md": "jax",
    "explanation/line-probe.md": "",
    "explanation/laws.md": "",
    "explanation/misprint.md": "",
}
# Files that a page speaks of and shows elsewhere.
SUPPLIED = {"how-to/c-program.md": {"bn.c": ROOT / "fixtures" / "exec" / "bn.c"}}
_BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)^```$', re.M | re.S)
_PYTHON = ("bncheck", "pytest", "python")
_SECONDS = 300


def lacks(page: str) -> bool:
    """Tell whether something that a page needs is not there."""
    need = PAGES[page]
    return bool(need) and (shutil.which(need[1:]) if need.startswith("$") else find_spec(need)) is None


def ran(page: str) -> str:
    """Return the page with what its examples print now."""
    text = (DOCS / page).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, source in SUPPLIED.get(page, {}).items():
            (folder / file).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        cells: list[str] = []
        return _BLOCK.sub(lambda block: _done(block, folder, cells), text)


def _done(block: re.Match[str], folder: Path, cells: list[str]) -> str:
    kind, title, body = block["kind"], block["title"], block["body"]
    if title:
        (folder / title).parent.mkdir(parents=True, exist_ok=True)
        (folder / title).write_text(body, encoding="utf-8")
    elif kind == "python":
        cells.append(body)
        # Earlier cells run again, so that each may count on those before it.
        told = _output([sys.executable, "-c", "\n".join(cells)], folder)
        if "Traceback" in told:
            raise RuntimeError(told)
    elif kind == "console":
        commands = re.findall(r"^\$ .*$", body, re.M)
        return "```console\n" + "".join(f"{line}\n{_printed(line[2:], folder)}" for line in commands) + "```"
    return block[0]


def _printed(line: str, folder: Path) -> str:
    first, *rest = shlex.split(line)
    if first in _PYTHON:
        more = ["-p", "no:cacheprovider"] if first == "pytest" else []
        return _output([sys.executable, *(["-m", first] if first != "python" else []), *more, *rest], folder)
    return _output([first, *rest], folder)


def _output(command: list[str], folder: Path) -> str:
    """Return what a command prints on a terminal of 80 columns, without colours."""
    done = subprocess.run(
        command, cwd=folder, env=_environment(os.environ), capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    lines = (done.stdout + done.stderr).rstrip().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    dropped = ("PYTEST_", "FORCE_COLOR", "GITHUB_", "COV_")
    kept = {name: value for name, value in ours.items() if not name.startswith(dropped)}
    return {**kept, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}


_VARYING = (
    r"\d+(?:\.\d+)? ?s\b",
    r"\d(?:\.\d+)?e[+-]?\d+",
    r"(?<=reaches )[\d.]+",
    r"(?<=bound )[\d.]+",
    r"(?<=error )[\d.]+(?= × )",
)


def steady(text: str) -> list[str]:
    """Return the words of a page without what differs from run to run: times, sizes of errors, room between words."""
    for varying in _VARYING:
        text = re.sub(varying, "#", text)
    return text.split()


def main(words: list[str]) -> int:
    """Run the pages that are named, or all."""
    for page in words or PAGES:
        if lacks(page):
            print(f"left out: docs/{page} needs {PAGES[page].removeprefix('$')}")
            continue
        place, text = DOCS / page, ran(page)
        if steady(text) != steady(place.read_text(encoding="utf-8")):
            place.write_text(text, encoding="utf-8")
            print(f"written: docs/{page}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
