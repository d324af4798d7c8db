"""A sweep that several workers share tells what one alone would tell, whatever happens to any of them."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bncheck import pipeline
from bncheck.codec import encode
from bncheck.errors import UsageError
from bncheck.executors import isolated
from bncheck.executors.child import Child
from bncheck.executors.wire import DONE
from bncheck.model import TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings
from bncheck.tasks import Task

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
RIGHT = FIXTURES / "correct" / "cs231n_staged.py"


def verify(path, jobs, cases=90, **options):
    return pipeline.run([TargetSpec(str(path))], Settings(cases=cases, jobs=jobs, **options))


def told(report):
    """Return all that a report tells but its times, as JSON has it: NaN equals itself there."""
    return [encode(replace(target, seconds=0.0)) for target in report.targets]


def wrapped(folder, at_import="", inside=""):
    """Write a right implementation with statements at its import and in its forward; return its path."""
    path = folder / "wrapped.py"
    lines = "".join(f"    {line}\n" for line in inside.splitlines())
    path.write_text(
        f"import os, pathlib, time\nHERE = pathlib.Path(__file__).parent\n{at_import}\n{RIGHT.read_text()}\n"
        "plain = batchnorm_forward\n"
        f"def batchnorm_forward(x, gamma, beta, bn_param):\n{lines}    return plain(x, gamma, beta, bn_param)\n"
    )
    return path


@pytest.mark.parametrize(
    ("name", "jobs"),
    [("correct/cs231n_staged", 3), ("buggy/tail_block_lost", 2), ("buggy/statistics_updated_in_eval", 3)],
)
def test_the_same_report_with_any_number_of_workers(name, jobs):
    path = FIXTURES / f"{name}.py"
    assert told(verify(path, 1)) == told(verify(path, jobs))


@pytest.mark.parametrize(
    "deadly",
    ["x.shape == (2, 1)", "len(x) in (2, 3)", "len(x) > 4", "len(x) > 600"],
    ids=["one", "few", "most", "late"],
)
def test_deaths_are_told_as_by_one_worker(tmp_path, deadly):
    path = wrapped(tmp_path, inside=f"if {deadly}: os._exit(3)")
    options = {"select": ("BN101", "BN506")}
    assert told(verify(path, 1, **options)) == told(verify(path, 2, **options))


def test_the_others_take_their_share(tmp_path):
    path = wrapped(tmp_path, inside="time.sleep(0.015)\nopen(HERE / f'{os.getpid()}.pid', 'a').write('x')")
    assert verify(path, 3, select=("BN101",)).verdict is Verdict.PASS
    calls = sorted(len(file.read_text()) for file in tmp_path.glob("*.pid"))
    assert len(calls) == 3
    # A share of the cases, and discovery before it; the smallest did 16 cases at least.
    assert calls[0] >= 16
    for file in tmp_path.glob("*.pid"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.stem), 0)


# In the body of a class: of a file that writes at its top level, definitions alone are run.
SECOND = "class Once:\n  first = HERE / 'first'\n  if first.exists(): {}\n  first.touch()"


@pytest.mark.parametrize(
    "second", ["raise RuntimeError('once is enough')", "os._exit(1)", "raise SystemExit(0)", "time.sleep(60)"],
    ids=["raises", "dies", "exits", "takes for ever"],
)  # fmt: skip
def test_what_another_worker_cannot_import_the_first_does(tmp_path, second):
    """A file that can be imported once: all cases are judged, and nobody waits for the other."""
    path = wrapped(tmp_path, SECOND.format(second))
    start = time.monotonic()
    report = verify(path, 2)
    assert time.monotonic() - start < 30
    assert (report.verdict, report.targets[0].cases) == (Verdict.PASS, 90)
    assert not report.targets[0].conventions.notes  # it was imported whole


BUSY = """
class Busy:
    import time
    log = HERE / f"{os.getpid()}.pid"
    times = [time.time()]
    time.sleep(0.5)
    log.write_text(f"{times[0]} {time.time()}")
"""


def test_an_import_is_not_begun_before_another_has_ended(tmp_path):
    path = wrapped(tmp_path, BUSY, "time.sleep(0.03)")
    report = verify(path, 2, select=("BN101",))
    assert report.verdict is Verdict.PASS
    times = sorted([float(word) for word in log.read_text().split()] for log in tmp_path.glob("*.pid"))
    assert len(times) == 2
    assert times[0][1] <= times[1][0]


def test_several_targets_of_a_source_are_shared_out_too():
    report = verify(FIXTURES / "correct" / "cs231n_alt_spatial.py", 2)
    alone = verify(FIXTURES / "correct" / "cs231n_alt_spatial.py", 1)
    assert len(report.targets) > 1
    assert told(report) == told(alone)


def test_an_interruption_leaves_no_gap(tmp_path):
    """What the others know of cases further on is not told: a journal could not have it."""
    path = wrapped(tmp_path, inside="time.sleep(0.002)")
    seen = []

    def interrupting(progress):
        seen.append(progress.done)
        if progress.done == 60:
            time.sleep(0.5)  # the others go on
            raise KeyboardInterrupt

    settings = Settings(cases=90, jobs=2, select=("BN101",))
    report = pipeline.run([TargetSpec(str(path))], settings, interrupting)
    assert report.verdict is Verdict.INTERRUPTED
    assert report.targets[0].cases == 60
    assert seen == list(range(1, 61))


def test_a_fault_of_bncheck_itself_in_any_worker_is_told(monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if '-c' in sys.orig_argv:\n"
        "    import bncheck.driver\n"
        "    judge = bncheck.driver.judge\n"
        "    def broken(target, case, checks):\n"
        "        if case.n == 65: raise RuntimeError('ours')\n"
        "        return judge(target, case, checks)\n"
        "    bncheck.driver.judge = broken\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(FIXTURES.parent)]))
    (target,) = verify(RIGHT, 2).targets
    assert target.own_fault
    assert "RuntimeError: ours" in target.error


@pytest.mark.parametrize(
    ("options", "cores", "wanted"),
    [
        ({}, 8, 2), ({}, 1, 1), ({"cases": 40}, 8, 1), ({"cases": 10_000}, 3, 3), ({"cases": 10_000}, 64, 4),
        ({"jobs": 7}, 2, 7), ({"device": "cuda"}, 8, 1), ({"device": "cuda", "jobs": 2}, 8, 2),
    ],
)  # fmt: skip
def test_how_many_workers_there_are(monkeypatch, options, cores, wanted):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert isolated.workers(Settings(**options)) == wanted


def test_what_a_first_worker_says_last_is_not_taken_for_the_end_of_its_next_task(monkeypatch):
    """A reader that is late by a tenth of a second, as on a busy machine: exhibits and names are there all the same."""
    plain = Child.next

    def late(self, seconds):
        line = plain(self, seconds)
        if line == DONE:
            time.sleep(0.1)
        return line

    monkeypatch.setattr(Child, "next", late)
    (target,) = verify(FIXTURES / "buggy" / "tail_block_lost.py", 2).targets
    assert target.exhibits
    assert target.diagnoses
    assert target.replay


def test_a_closed_place_starts_no_process_any_more():
    place = isolated._Place(20.0)
    place.close()
    place.run(Task("sweep", TargetSpec(str(RIGHT)), Settings(), "x", ("v1:custom:seed=0,n=2,c=1",)), pytest.fail)
    assert place.start() is None


@pytest.mark.parametrize("jobs", [0, -1, 65, 1000])
def test_how_many_workers_may_be_asked_for(jobs):
    with pytest.raises(UsageError, match="jobs must be between 1 and 64"):
        Settings(jobs=jobs)


def test_no_more_workers_than_have_a_share():
    assert isolated.workers(Settings(jobs=64, cases=23)) == 3
    assert isolated.workers(Settings(jobs=64, cases=20)) == 1
