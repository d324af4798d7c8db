"""The miniatures as data: headers parse, every bug applies once, every version compiles. Nothing of bncheck is used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LAYOUTS = {"NC", "CN", "NCL", "NLC", "NCHW", "NHWC", "NCDHW", "NDHWC"}
ALLOWED = {
    "shape": r".+",
    "name": r"\w+",
    "layouts": r"[A-Z]+(, [A-Z]+)*",
    "parameter-shape": r"\(C,\)|\(1, C\)|\(C, 1\)|\(1, C, 1, 1\)|\(1, 1, 1, C\)|none",
    "eps-source": r"argument|attribute|fixed",
    "eps": r"-|[\d.e+-]+",
    "momentum": r"kept|new|none",
    "running-var": r"biased|unbiased|none",
    "mode-switch": r".+",
    "returns": r".+",
}
OPTIONAL = {
    "also": r"\w+ [A-Z]+(, [A-Z]+)*(; \w+ [A-Z]+(, [A-Z]+)*)*",
    "running-start": r".+",
    "needs": r".+",
    "note": r".+",
    "finding": r"BN\d{3}: .+",
}
BUG = re.compile(r"(?P<fragment>\S.*?) ==> (?P<replacement>\S.*)")


def sources(path: Path) -> list[str]:
    """Return the cells of a notebook that hold code, or the one text of a file."""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [path.read_text(encoding="utf-8")]


def is_miniature(path: Path) -> bool:
    return sources(path)[0].startswith("# shape: ")


def parts(path: Path) -> tuple[list[tuple[str, str]], str]:
    """Return the header as pairs, and the Python below it."""
    lines = "\n".join(sources(path)).split("\n")
    end = next(i for i, line in enumerate(lines) if not line.startswith("# "))
    header = [line[2:].partition(": ") for line in lines[:end]]
    body = [line for line in lines[end:] if path.suffix != ".ipynb" or not line.startswith(("%", "!"))]
    return [(key, value) for key, _, value in header], "\n".join(body)


FILES = sorted(p for p in HERE.rglob("*") if p.suffix in {".py", ".ipynb"} and not p.name.startswith("test_"))
MINIATURES = [pytest.param(p, id=p.relative_to(HERE).as_posix()) for p in FILES if is_miniature(p)]


def test_every_file_is_a_miniature_or_belongs_to_a_package_of_one():
    packages = {p.values[0].parent for p in MINIATURES} - {HERE}
    assert [p.name for p in FILES if not is_miniature(p) and p.parent not in packages] == []
    assert len(MINIATURES) >= 60


@pytest.mark.parametrize("path", MINIATURES)
def test_header_parses(path):
    header, _ = parts(path)
    keys = [key for key, _ in header]
    assert len(set(keys)) == len(keys)
    declared = {key: value for key, value in header if not key.startswith("bug-")}
    assert set(ALLOWED) <= set(declared) <= set(ALLOWED) | set(OPTIONAL)
    for key, value in declared.items():
        assert re.fullmatch((ALLOWED | OPTIONAL)[key], value), (key, value)
    assert set(declared["layouts"].split(", ")) <= LAYOUTS
    assert (declared["eps-source"] == "argument") == (declared["eps"] == "-")
    assert (declared["momentum"] == "none") == (declared["running-var"] == "none")
    assert (declared["momentum"] == "none") == ("running-start" not in declared)


@pytest.mark.parametrize("path", MINIATURES)
def test_name_is_defined(path):
    header, body = parts(path)
    names = [dict(header)["name"], *(item.split()[0] for item in dict(header).get("also", "").split("; ") if item)]
    for name in names:
        assert re.search(rf"^(class|def) {name}\b", body, re.MULTILINE), name


@pytest.mark.parametrize("path", MINIATURES)
def test_bugs_apply_once_and_compile(path):
    header, body = parts(path)
    compile(body, str(path), "exec")
    bugs = {key: BUG.fullmatch(value) for key, value in header if key.startswith("bug-")}
    assert len(bugs) == 3
    versions = {body}
    for key, bug in bugs.items():
        assert re.fullmatch(r"bug-[a-z0-9]+(-[a-z0-9]+)*", key)
        assert bug, f"{key} has no ==>"
        assert body.count(bug["fragment"]) == 1, (key, body.count(bug["fragment"]))
        wrong = body.replace(bug["fragment"], bug["replacement"])
        compile(wrong, str(path), "exec")
        versions.add(wrong)
    assert len(versions) == 4
