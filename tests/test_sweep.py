"""Sweeps that end before their time, and sweeps in parts."""

import signal
import time
from pathlib import Path

import pytest

from bncheck import pipeline, sweep
from bncheck.executors.in_process import InProcess
from bncheck.executors.isolated import Isolated
from bncheck.model import TargetSpec
from bncheck.report import Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.parts import ended
from bncheck.settings import Settings
from bncheck.tally import Tally

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
    ends = died.counts["fail"]
    assert ends >= 3
    assert f"after {ends} such ends {1000 - target.cases} cases were not run" in died.message
    assert ended(target) == f"{target.cases:,} of 1,000 cases were run: its process ended {ends} times."


def test_code_that_raises_is_no_end_of_its_process(tmp_path):
    source = tmp_path / "bn.py"
    text = RIGHT.read_text()
    head = next(line for line in text.splitlines(True) if line.startswith("def "))
    inside = "    if x.shape[0] == 63: raise MemoryError\n    if x.shape[0] == 16: __import__('os')._exit(3)\n"
    source.write_text(text.replace(head, head + inside, 1))
    (target,) = verify(source, cases=300, select=("BN506",)).targets
    died = next(finding for finding in target.findings if finding.code == "BN506")
    assert died.counts["fail"] > 3
    assert target.stopped == "its process ended 3 times"


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
    assert f"after 2 such ends {300 - target.cases} cases were not run" in died.message


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


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_the_digest_of_an_interrupted_sweep_is_that_of_the_cases_that_ran(jobs):
    def interrupt(progress):
        if progress.done == 30:
            time.sleep(0.5)  # other processes go on
            raise KeyboardInterrupt

    place = Isolated(20.0, jobs) if jobs else InProcess()
    (target,) = pipeline.run([TargetSpec(str(RIGHT))], Settings(cases=200), interrupt, place).targets
    assert (target.verdict, target.cases) == (Verdict.INTERRUPTED, 30)
    assert target.digest == verify(RIGHT, InProcess(), cases=30).targets[0].digest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_a_result_is_counted_waits_until_it_is(monkeypatch, number):
    """A tally that was left in the middle would be of no case, or of half of one."""
    add = Tally.add

    def interrupted(tally, result, text):
        if tally.cases == 7:
            signal.raise_signal(number)
        add(tally, result)

    monkeypatch.setattr(Tally, "add", interrupted)
    before = signal.signal(number, signal.default_int_handler)
    try:
        (target,) = verify(RIGHT, InProcess(), cases=20).targets
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert (target.verdict, target.cases) == (Verdict.INTERRUPTED, 8)


def test_a_second_ctrl_c_does_not_wait(monkeypatch):
    def stuck(tally, result, text):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")

    monkeypatch.setattr(Tally, "add", stuck)
    assert verify(RIGHT, InProcess(), cases=20).verdict is Verdict.INTERRUPTED
