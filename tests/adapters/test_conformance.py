"""Every shape of code in conformance/, verified with no flag: right as it stands, its conventions found, its bugs seen.

The miniatures declare in their headers what discovery should find; conformance/README.md tells how.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bncheck import pipeline
from bncheck.adapters import resolve
from bncheck.cases.plan import cases_for
from bncheck.checks.catalogue import selected
from bncheck.driver import judge
from bncheck.executors.in_process import InProcess
from bncheck.guard import quiet
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

FOLDER = Path(__file__).parent / "conformance"
# Enough for every recipe of the smaller sizes; the calibration runs tell how often a right one is accused on more.
SETTINGS = Settings(cases=20)
FILES = sorted(p for p in FOLDER.rglob("*") if p.suffix in (".py", ".ipynb") and "# shape: " in p.read_text()[:600])
LIBRARIES = {"torch": "PyTorch", "jax": "JAX"}


def header(path):
    """Return the keys of a miniature's header, and its bugs: name -> (fragment, replacement)."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        text = "".join(json.loads(text)["cells"][0]["source"])
    lines = re.findall(r"# ([\w-]+): (.*)$", text, flags=re.MULTILINE)
    keys = {key: value.strip() for key, value in lines if not key.startswith("bug-")}
    bugs = {key[4:]: tuple(value.split(" ==> ")) for key, value in lines if key.startswith("bug-") and " ==> " in value}
    return keys, bugs


# Where less is found than there is: what is found is right.
DIFFERENT = {
    "build_first": {"layouts": "NC"},
    "torch_lecture_class": {"layouts": "NC"},
    # An attribute whose name does not say eps is measured.
    "flag_test_mode_positional": {"eps-source": "fixed"},
}


def miniatures():
    for path in FILES:
        needed = [name for name in LIBRARIES if f"import {name}" in path.read_text()]
        missing = [LIBRARIES[name] for name in needed if importlib.util.find_spec(name) is None]
        marks = [pytest.mark.skip(reason=f"{name} is not installed") for name in missing]
        yield pytest.param(path, id=path.stem, marks=marks)


def mutants():
    for parameter in miniatures():
        for bug in header(parameter.values[0])[1]:
            yield pytest.param(parameter.values[0], bug, id=f"{parameter.id}-{bug}", marks=parameter.marks)


def verified(source):
    return pipeline.run([TargetSpec(str(source))], SETTINGS, executor=InProcess())


def sense(found):
    """Return the momentum's sense; a fraction written into the formula is read as what is usual."""
    if found.momentum_sense == "fixed":
        return "kept" if found.momentum >= 0.5 else "new"
    return found.momentum_sense or "none"


@pytest.mark.parametrize("path", list(miniatures()))
def test_a_right_miniature_passes_with_its_conventions(path):
    report = verified(path)
    keys, _ = header(path)
    failing = {f.code for t in report.targets for f in t.findings if f.outcome == "fail" and f.follows_from is None}
    assert failing == set(filter(None, [keys.get("finding", "").split(":")[0]])), report.raise_for_failure()
    assert report.verdict is (Verdict.FAIL if failing else Verdict.PASS), report.raise_for_failure()
    found = next(t for t in report.targets if t.name.endswith(keys.get("name", ""))).conventions
    said = {
        "layouts": ", ".join(found.layouts),
        "parameter-shape": found.parameter_shape,
        "eps-source": found.eps_source,
        "momentum": sense(found),
        "running-var": found.running_var or "none",
    }
    wanted = {key: keys[key] for key in said} | DIFFERENT.get(path.stem, {})
    assert said == wanted
    if found.eps_source == "fixed":
        assert found.eps == pytest.approx(float(keys["eps"]))
    told = not keys["mode-switch"].startswith(("none", "another function"))
    assert bool(found.mode_switch) is told


@pytest.mark.parametrize(("path", "bug"), list(mutants()))
def test_a_bug_in_it_fails(path, bug, tmp_path):
    source = path.read_text()
    old, new = header(path)[1][bug]
    # The header quotes the fragment too; the last place is the code's.
    spoiled = json_replaced(source, old, new) if path.suffix == ".ipynb" else new.join(source.rsplit(old, 1))
    folder = tmp_path / path.parent.name
    shutil.copytree(path.parent, folder) if path.parent != FOLDER else folder.mkdir()
    (folder / path.name).write_text(spoiled)
    assert some_check_fails(TargetSpec(str(folder / path.name)))


def some_check_fails(spec):
    """Judge case after case until one fails; no shrinking, no report."""
    checks = selected((), ())
    for card in resolve.cards(spec):
        target = resolve.target(spec, card.name)
        for case in cases_for(target.conventions, SETTINGS):
            with quiet():
                judgements = judge(target, case, checks)[0].judgements.values()
            if any(judgement.outcome is Outcome.FAIL for judgement in judgements):
                return True
    return False


def json_replaced(source, old, new):
    """Return a notebook with a fragment of its code cells replaced; its first cell is the header."""
    notebook = json.loads(source)
    for cell in notebook["cells"][1:]:
        cell["source"] = "".join(cell["source"]).replace(old, new)
    return json.dumps(notebook)


def test_the_page_of_shapes_is_current():
    script = FOLDER.parents[2] / "scripts" / "make_shapes.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0
