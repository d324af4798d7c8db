"""Write docs/kill-matrix.md, which check catches which bug, and docs/bugs-in-the-wild.md, the bugs that others had.

Every wrong implementation of the project runs, and every right one: fixtures/buggy and fixtures/correct, the miniatures
of tests/adapters/conformance that need no framework with the bugs of their headers, and the plants of fixtures/wild.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bncheck.adapters import resolve
from bncheck.case import CaseSpec
from bncheck.cases.plan import cases_for
from bncheck.checks.catalogue import CHECKS, selected
from bncheck.driver import judge
from bncheck.guard import quiet
from bncheck.model import Conventions, Declared, Outcome, TargetSpec
from bncheck.settings import Settings
from bncheck.verdict import findings

ROOT = Path(__file__).resolve().parent.parent
CONFORMANCE = ROOT / "tests" / "adapters" / "conformance"
WILD = ROOT / "fixtures" / "wild"
MATRIX, IN_THE_WILD = ROOT / "docs" / "kill-matrix.md", ROOT / "docs" / "bugs-in-the-wild.md"

# The smallest cases of a default run, those of memory in other orders and of gamma (the smallest have no negative one),
# and two large ones: enough for every bug here, and fast.
SMALL, LARGE = 15, (64, 768)
CORNERS = ("gamma", "memory")

# Right implementations that are warned of, and rightly so.
DUE = {"eps_zero": {"BN402"}, "fixed_batch_shape": {"BN508"}, "prints_flood": {"BN507"}}
ALONE, WARNED, FOLLOWING, SILENT = "#", "w", "+", "."


@dataclass(frozen=True)
class Specimen:
    """An implementation: its group and name, where it lies, what is changed in it, and what bncheck is asked for."""

    group: str
    name: str
    path: Path
    changes: tuple[tuple[str, str], ...] = ()
    dtype: str = "float64"
    profile: str = "auto"


# ------------------------------------------------------------------------------------------------------------ specimens


def wrong_ones() -> list[Specimen]:
    """Return every wrong implementation, sorted."""
    files = [Specimen("fixtures/buggy", path.stem, path) for path in (ROOT / "fixtures" / "buggy").glob("*.py")]
    plants = [planted(entry) for entry in in_the_wild() if "changes" in entry and "caught" in entry]
    miniatures = [
        Specimen("conformance", f"{_called(path)}: {name}", path, (change,))
        for path in _miniatures()
        for name, change in _header(path)[1].items()
    ]
    return sorted((*files, *plants, *miniatures), key=lambda s: (s.group, s.name))


def right_ones() -> list[Specimen]:
    """Return every right implementation, sorted, but those whose header says that a finding is due all the same."""
    correct = [
        Specimen("fixtures/correct", path.stem, path)
        for path in (ROOT / "fixtures" / "correct").glob("*.py")
        if "import torch" not in path.read_text(encoding="utf-8")
    ]
    plain = [Specimen("fixtures/wild", "layer", WILD / "layer.py")]
    plants = [planted(entry) for entry in in_the_wild() if "caught" not in entry]
    miniatures = [Specimen("conformance", _called(p), p) for p in _miniatures() if "finding" not in _header(p)[0]]
    return sorted((*correct, *plain, *plants, *miniatures), key=lambda s: (s.group, s.name))


def in_the_wild() -> list[dict[str, Any]]:
    """Return the entries of fixtures/wild/bugs.toml, each with its list's name as "list"."""
    lists = tomllib.loads((WILD / "bugs.toml").read_text(encoding="utf-8"))
    return [{"list": name, **entry} for name, entries in lists.items() for entry in entries]


def planted(entry: dict[str, Any]) -> Specimen:
    """Return an entry's bug, planted in the layer."""
    asked = {key: entry[key] for key in ("dtype", "profile") if key in entry}
    return Specimen("fixtures/wild", entry["id"], WILD / "layer.py", tuple(map(tuple, entry["changes"])), **asked)


def _miniatures() -> Iterator[Path]:
    """Yield the miniatures that need no framework."""
    for path in sorted(CONFORMANCE.rglob("*")):
        if path.suffix in (".py", ".ipynb"):
            text = path.read_text(encoding="utf-8")
            if "# shape: " in text[:600] and not re.search(r"import (torch|jax|cupy)\b", text):
                yield path


def _called(path: Path) -> str:
    """Return a miniature's name: that of its file, and of the package that it belongs to."""
    return str(path.relative_to(CONFORMANCE).with_suffix(""))


def _header(path: Path) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return the keys of a miniature's header, and its bugs by name: a fragment and its replacement."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "".join(json.loads(text)["cells"][0]["source"])
    lines = re.findall(r"^# ([\w-]+): (.*)$", text, flags=re.MULTILINE)
    bugs = {}
    for key, value in lines:
        if key.startswith("bug-"):
            old, new = value.split(" ==> ")
            bugs[key.removeprefix("bug-")] = (old, new)
    return dict(lines), bugs


def written(specimen: Specimen, folder: Path) -> Path:
    """Return the path of a specimen's code; where something is changed in it, that of a spoiled copy in `folder`."""
    source = specimen.path
    if not specimen.changes:
        return source
    text = source.read_text(encoding="utf-8")
    for change in specimen.changes:
        old, new = (json.dumps(t)[1:-1] for t in change) if source.suffix == ".ipynb" else change
        # A header quotes the fragment too; the last place is the code's.
        head, found, tail = text.rpartition(old)
        if not found:
            raise ValueError(f"{specimen.name}: {old!r} is not in {source.name}")
        text = head + new + tail
    place = folder / source.parent.name
    if source.parent not in (CONFORMANCE, WILD):  # a package: its other files are needed
        shutil.copytree(source.parent, place, dirs_exist_ok=True)
    place.mkdir(exist_ok=True)
    (place / source.name).write_text(text, encoding="utf-8")
    return place / source.name


# ----------------------------------------------------------------------------------------------------------------- rows


def row(specimen: Specimen) -> dict[str, str]:
    """Return the mark of every check that has something to say of a specimen."""
    np.random.seed(0)  # noqa: NPY002 - one of the bugs draws from it
    with tempfile.TemporaryDirectory() as folder, quiet():
        source = str(written(specimen, Path(folder)))
        spec = TargetSpec(source, declared=Declared(profile=specimen.profile))
        marks: dict[str, str] = {}
        for card in (c for c in resolve.cards(spec) if c.conventions is not None):
            target = resolve.target(spec, card.name)
            results = [judge(target, case, selected((), ()))[0] for case in _cases(target.conventions, specimen.dtype)]
            for finding in findings(results):
                if finding.outcome in (Outcome.FAIL, Outcome.WARN):
                    alone = ALONE if finding.outcome is Outcome.FAIL else WARNED
                    mark = FOLLOWING if finding.follows_from else alone
                    marks[finding.code] = min(mark, marks.get(finding.code, mark))
    return marks


def _cases(conventions: Conventions, dtype: str) -> list[CaseSpec]:
    plan = list(cases_for(conventions, Settings(dtype=dtype)))
    large = [next((c for c in plan[SMALL:] if c.n > n and (c.spatial or n == LARGE[0])), None) for n in LARGE]
    others = (case for case in plan[SMALL:] if case.recipe in CORNERS or case in large)
    return [*plan[:SMALL], *others]


def rows(specimens: list[Specimen]) -> list[dict[str, str]]:
    """Return the marks of all specimens, each judged in some process."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(row, specimens, chunksize=4))


# ---------------------------------------------------------------------------------------------------------------- pages


def line(specimen: Specimen, marks: dict[str, str]) -> str:
    """Return a specimen's row of the matrix."""
    return "".join(marks.get(code, SILENT) for code in CHECKS.names()) + f"  {specimen.name}"


def read(page: str) -> list[tuple[str, dict[str, str]]]:
    """Return the rows of docs/kill-matrix.md: names and marks. none where its columns are not today's checks."""
    _, _, rest = page.partition("```text\n")
    lines = rest.partition("\n```")[0].splitlines()
    codes = ["BN" + "".join(digits) for digits in zip(*lines[:3], strict=False)]
    if codes != CHECKS.names():
        return []
    width = len(codes)
    found = [line for line in lines if re.match(rf"[#w+.]{{{width}}}  ", line)]
    return [
        (text[width + 2 :], {code: mark for code, mark in zip(codes, text, strict=False) if mark != SILENT})
        for text in found
    ]


def matrix_page(wrong: list[tuple[Specimen, dict[str, str]]], right: list[Specimen]) -> str:
    """Return the text of docs/kill-matrix.md."""
    codes = CHECKS.names()
    heads = ["".join(code[i] for code in codes) for i in range(2, 5)]
    lines = []
    for group in dict.fromkeys(specimen.group for specimen, _ in wrong):
        lines += ["", *heads, *(line(s, marks) for s, marks in wrong if s.group == group)]
    counts = []
    for code in codes:
        said = [marks[code] for _, marks in wrong if code in marks]
        alone = sum(mark != FOLLOWING for mark in said)
        counts.append(f"| {code} | {CHECKS.get(code).name} | {alone} | {len(said) - alone} |")
    return _MATRIX.format(
        bugs=len(wrong), right=len(right), matrix="\n".join(lines[1:]), counts="\n".join(counts),
        alone=ALONE, warned=WARNED, following=FOLLOWING,
        due=", ".join(f"{name} ({', '.join(sorted(codes))})" for name, codes in DUE.items()),
    )  # fmt: skip


_MATRIX = """# Which check catches which bug

Written by `make matrix`. {bugs} wrong implementations, a row each: the files of `fixtures/buggy`, the miniatures of
`tests/adapters/conformance` with the bugs of their headers, and the plants of `fixtures/wild`. A column is a check, its
number (BN101 ...) read from top to bottom.

`{alone}` fails by itself, `{warned}` warns by itself, `{following}` follows from another check's failure, under which a
report folds it. {right} right implementations have no mark at all, but for what their names say:
{due}.

```text
{matrix}
```

| check | promise | bugs that it catches by itself | and in the wake of another |
|---|---|---|---|
{counts}
"""


def wild_page() -> str:
    """Return the text of docs/bugs-in-the-wild.md."""
    tables = {}
    for name in ("framework", "scratch", "design"):
        lines = []
        for entry in (e for e in in_the_wild() if e["list"] == name):
            code = entry.get("caught", "")
            asked = [f"`--{key} {entry[key]}`" for key in ("dtype", "profile") if key in entry]
            caught = " with ".join([f"{code} {CHECKS.get(code).name}", *asked]) if code else "nothing: it is right"
            where = [", ".join(entry.get("issues", []))] if name == "framework" else []
            lines.append(
                "| " + " | ".join([*where, entry["says"].replace("|", "\\|"), caught, f"`{_plant(entry)}`"]) + " |"
            )
        tables[name] = "\n".join(lines)
    return _WILD.format(**tables)


def _plant(entry: dict[str, Any]) -> str:
    return str(entry.get("file", entry["id"]))


_WILD = """# Bugs that Batch Normalization layers had, and what catches them

Written by `make matrix` from `fixtures/wild/bugs.toml`. Every line is planted and run by
`tests/test_bugs_in_the_wild.py`: a change of `fixtures/wild/layer.py` by its name in the last column, or a file of
`fixtures`. The check named is the one that fails, or warns, by itself.

## In frameworks

| reported in | what was wrong | caught by | plant |
|---|---|---|---|
{framework}

## In code written by hand

| what is wrong | caught by | plant |
|---|---|---|
{scratch}

## Designs of tests that hid bugs

Each hid the bug of its line from the tests of some library; bncheck's cases have random gamma, beta and dy of either
sign, odd and even sizes from 1 to 4096, channels of large and of no variance, and bounds that follow from rounding.

| design | caught by | plant |
|---|---|---|
{design}
"""


def main() -> int:
    """Write both pages, or with --check say whether they are current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page is out of date")
    parser.add_argument("--missing", action="store_true", help="run what has no row yet, and keep the other rows")
    asked = parser.parse_args()
    wrong, right = wrong_ones(), right_ones()
    kept = dict(read(MATRIX.read_text(encoding="utf-8"))) if asked.missing else {}
    run = [*(s for s in wrong if s.name not in kept), *([] if asked.missing else right)]
    marks = dict(zip(run, rows(run), strict=True))
    tripped = [(s.name, marks[s]) for s in right if s in marks and set(marks[s]) != DUE.get(s.name, set())]
    if tripped:
        sys.exit(f"right implementations are accused: {tripped}")
    found = [(s, marks[s] if s in marks else kept[s.name]) for s in wrong]
    pages = {MATRIX: matrix_page(found, right), IN_THE_WILD: wild_page()}
    if asked.check:
        return int(any(path.read_text(encoding="utf-8") != text for path, text in pages.items()))
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
