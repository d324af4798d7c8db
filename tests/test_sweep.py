"""Sweeps that end before their time, and sweeps in parts."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bncheck import pipeline, sweep
from bncheck.executors.in_process import InProcess
from bncheck.executors.isolated import Isolated
from bncheck.model import TargetSpec
from bncheck.report import Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.settings import Settings

FIXTURES = Path(__file__).parent.parent / "fixtures"
RIGHT, WRONG = FIXTURES / "correct" / "cs231n_staged.py", FIXTURES / "buggy" / "dx_gamma_lost.py"


def verify(path, executor=None, **options):
    return pipeline.run([TargetSpec(str(path))], Settings(**options), None, executor)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_ends_when_its_time_is_over_and_what_ran_decides(jobs):
    report = verify(RIGHT, cases=100_000, max_time=1.0, jobs=jobs)
    (target,) = report.targets
    assert report.verdict is Verdict.PASS
    assert 0 < target.cases < target.planned == 100_000
    assert target.stopped == "--max-time 1 was over"
    said = f"{target.cases:,} of 100,000 cases were run: --max-time 1 was over."
    for name in ("rich", "plain", "markdown"):
        assert said in " ".join(REPORTERS.get(name)(report, Style(100)).split())


def test_failures_that_were_seen_in_time_are_shown_shrunk_and_named():
    source = next(path for path in sorted((FIXTURES / "buggy").glob("*.py")) if "# wrong: dx\n" in path.read_text())
    (target,) = verify(source, cases=100_000, max_time=1.5, jobs=2).targets
    assert target.verdict is Verdict.FAIL
    assert target.exhibits
    assert target.diagnoses


def test_all_cases_in_time_is_no_stop():
    (target,) = verify(RIGHT, InProcess(), cases=5, max_time=60.0).targets
    assert (target.cases, target.planned, target.stopped) == (5, 5, "")


def test_no_case_in_time_decides_nothing():
    assert verify(RIGHT, InProcess(), cases=50, max_time=1e-9).verdict is not Verdict.PASS


def test_parts_are_one_sweep(monkeypatch):
    whole = verify(RIGHT, InProcess(), cases=120).targets[0]
    monkeypatch.setattr(sweep, "PART", 50)
    for place in (InProcess(), Isolated(20.0, 1), Isolated(20.0, 2)):
        parts = verify(RIGHT, place, cases=120).targets[0]
        assert (parts.digest, parts.findings) == (whole.digest, whole.findings)


def test_what_is_given_up_is_all_that_is_left(monkeypatch, tmp_path):
    monkeypatch.setattr(sweep, "PART", 60)
    source = tmp_path / "bn.py"
    text = RIGHT.read_text()
    head = next(line for line in text.splitlines(True) if line.startswith("def "))
    source.write_text(text.replace(head, f"{head}    if x.shape[0] == 16:\n        __import__('os')._exit(3)\n", 1))
    (target,) = verify(source, cases=1000).targets
    died = next(finding for finding in target.findings if finding.code == "BN506")
    assert f"after several such ends {1000 - target.cases} cases were not run" in died.message


def test_a_file_that_can_be_imported_once_decides_no_case_that_did_not_run(monkeypatch, tmp_path):
    monkeypatch.setattr(sweep, "PART", 60)
    source = tmp_path / "bn.py"
    text = RIGHT.read_text()
    head = next(line for line in text.splitlines(True) if line.startswith("def "))
    once = (
        "import os, pathlib\nclass Once:\n    mark = pathlib.Path(__file__ + '.mark')\n"
        "    if mark.exists(): os._exit(4)\n    mark.touch()\n"
    )
    ends = f"{head}    if x.shape[0] == 16:\n        os._exit(3)\n"
    source.write_text(once + text.replace(head, ends, 1))
    (target,) = verify(source, cases=300, jobs=1, select=("BN101", "BN506")).targets
    died = next(finding for finding in target.findings if finding.code == "BN506")
    assert died.counts["fail"] == 2  # the case that ended it, and the import behind
    assert target.cases < 60
    assert f"{300 - target.cases} cases were not run" in died.message


def test_a_file_that_is_saved_while_it_runs_is_not_mixed(monkeypatch, tmp_path):
    monkeypatch.setattr(sweep, "PART", 40)
    source = tmp_path / "bn.py"
    source.write_text(RIGHT.read_text())

    def save(progress):
        if progress.done == 30:
            source.write_text(RIGHT.read_text().replace("gamma *", "2 * gamma *"))

    (target,) = pipeline.run([TargetSpec(str(source))], Settings(cases=100), save, InProcess()).targets
    assert (target.verdict, target.cases) == (Verdict.INTERRUPTED, 40)
    assert target.stopped == "the file was changed while its cases ran"
    assert {finding.outcome.value for finding in target.findings} <= {"pass", "skip"}


def test_ctrl_c_while_failures_are_shown_keeps_what_was_found():
    class Interrupted(InProcess):
        def run(self, task, hear):
            if task.kind == "exhibit":
                raise KeyboardInterrupt
            super().run(task, hear)

    report = verify(FIXTURES / "buggy" / "misprinted_dx.py", Interrupted(), cases=20)
    assert report.verdict is Verdict.INTERRUPTED
    assert any(finding.code == "BN211" for finding in report.targets[0].findings)


def test_time_that_is_over_does_not_hide_ctrl_c(monkeypatch):
    """What is known is told after an interrupt, and the clock may have run out meanwhile."""
    clock = [0.0]
    monkeypatch.setattr(sweep, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    def interrupt(progress):
        if progress.done == 60:
            time.sleep(1.0)  # the other process goes on
            clock[0] = 1000.0
            raise KeyboardInterrupt

    settings = Settings(cases=4000, max_time=500.0)
    report = pipeline.run([TargetSpec(str(RIGHT))], settings, interrupt, Isolated(20.0, 2))
    assert report.verdict is Verdict.INTERRUPTED
    assert report.targets[0].cases >= 60
