"""Sweeps on a Dask cluster: the same numbers as here, whatever happens to its workers and its scheduler."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bncheck import pipeline
from bncheck.errors import UsageError
from bncheck.executors import on_dask
from bncheck.executors.in_process import InProcess
from bncheck.executors.isolated import Isolated
from bncheck.executors.on_dask import OnDask
from bncheck.model import TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

pytest.importorskip("distributed")

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
RIGHT = str(FIXTURES / "correct" / "cs231n_staged.py")
SETTINGS = Settings(cases=600, select=("BN1", "BN2", "BN503", "BN506"), jobs=2)


@pytest.fixture(scope="module")
def digest():
    """What the sweep comes to here."""
    return swept(InProcess()).digest


def swept(executor, show=None, source=RIGHT, settings=SETTINGS):
    (report,) = pipeline.run([TargetSpec(source)], settings, show, executor).targets
    return report


def at(case, act):
    """Return what a run calls after every case: `act`, once, after that many."""

    def show(progress):
        if progress.done == case:
            act()

    return show


def pids(place):
    return sorted(place._client.run(os.getpid).values())


class Cluster:
    """A scheduler and a worker, each a process of its own, at an address that stays the same."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.address = folder, f"tcp://127.0.0.1:{self.port}"
        self._running = []

    def _start(self, kind, *arguments):
        command = [sys.executable, "-W", "ignore", "-m", f"distributed.cli.dask_{kind}", *arguments]
        quiet = {"cwd": self.folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._running.append(subprocess.Popen(command, **quiet, start_new_session=True))
        return self._running[-1]

    def start_scheduler(self):
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"]
        self.scheduler = self._start("scheduler", *address)

    def start_worker(self):
        self._start("worker", self.address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")

    def close(self):
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.start_scheduler()
    cluster.start_worker()
    deadline = time.monotonic() + 30
    while True:
        try:
            with OnDask(cluster.address, SETTINGS):
                break
        except UsageError:  # the worker has not come yet
            assert time.monotonic() < deadline
            time.sleep(0.2)
    yield cluster
    cluster.close()


def test_a_local_cluster_gives_the_same_numbers(digest):
    report = swept(OnDask("local", SETTINGS))
    assert (report.verdict, report.cases, report.digest) == (Verdict.PASS, 600, digest)
    assert swept(Isolated(20.0, 2)).digest == digest


def test_a_worker_that_is_killed_loses_no_case(digest):
    place = OnDask("local", SETTINGS)
    killed = []

    def kill():
        killed.append(pids(place)[0])
        os.kill(killed[0], signal.SIGKILL)

    report = swept(place, at(110, kill))
    assert (report.cases, report.digest) == (600, digest)
    assert killed


def test_a_worker_that_stands_still_for_a_while_loses_no_case(digest):
    place = OnDask("local", SETTINGS)
    stopped = []

    def stop():
        stopped.append(pids(place)[0])
        os.kill(stopped[0], signal.SIGSTOP)
        subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {stopped[0]}"]).wait()

    report = swept(place, at(110, stop))
    assert (report.cases, report.digest) == (600, digest)
    assert stopped


def test_a_scheduler_that_is_killed_leaves_the_rest_to_this_machine(cluster, digest, capfd):
    def kill():
        os.kill(cluster.scheduler.pid, signal.SIGKILL)

    report = swept(OnDask(cluster.address, SETTINGS), at(110, kill))
    assert (report.cases, report.digest) == (600, digest)
    assert capfd.readouterr().err == "bncheck: the Dask cluster does not answer; cases that it leaves undone run here\n"


def test_a_scheduler_that_is_started_anew_counts_no_case_twice(cluster, digest):
    def restart():
        cluster.scheduler.kill()
        cluster.scheduler.wait()
        cluster.start_scheduler()
        cluster.start_worker()

    report = swept(OnDask(cluster.address, SETTINGS), at(110, restart))
    assert (report.cases, report.digest) == (600, digest)


def test_code_that_ends_its_process_ends_no_worker(tmp_path):
    source = tmp_path / "bn.py"
    ends = "    if x.shape[0] == 129:\n        __import__('os')._exit(3)\n"
    text = Path(RIGHT).read_text()
    head = next(line for line in text.splitlines(True) if line.startswith("def "))
    source.write_text(text.replace(head, head + ends, 1))
    settings = Settings(cases=180, select=("BN101", "BN506"), jobs=2)  # two of them have 129 rows
    place = OnDask("local", settings)
    before, after = [], []
    there, here = (
        swept(place, lambda p: {1: before, 180: after}.get(p.done, []).extend(pids(place)), str(source), settings),
        swept(Isolated(20.0), None, str(source), settings),
    )
    assert there.findings == here.findings
    assert "code 3" in next(found for found in there.findings if found.code == "BN506").message
    assert before == after != []


def test_ctrl_c_keeps_what_is_known_and_leaves_no_process():
    place = OnDask("local", SETTINGS)
    running = []

    def interrupt():
        running.extend(pids(place))
        raise KeyboardInterrupt

    report = swept(place, at(120, interrupt))
    assert report.verdict is Verdict.INTERRUPTED
    assert 120 <= report.cases < 600
    assert running
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in running):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_nobody_at_the_address(monkeypatch):
    monkeypatch.setattr(on_dask, "_ANSWER", 0.3)
    with (
        pytest.raises(UsageError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"),
        OnDask("tcp://127.0.0.1:9", SETTINGS),
    ):
        pass
    with pytest.raises(UsageError, match="no Dask scheduler answers at nonsense"), OnDask("nonsense", SETTINGS):
        pass


def test_workers_that_do_not_see_the_files_are_refused(cluster, monkeypatch):
    place = OnDask(cluster.address, SETTINGS)
    monkeypatch.setattr(place, "_folder", "/nowhere/at/all")
    with pytest.raises(UsageError, match="has no /nowhere/at/all: workers need the same files"), place:
        pass


def test_another_version_on_a_worker_is_refused(cluster, monkeypatch):
    monkeypatch.setattr(on_dask, "version", lambda name: "0.0.7")
    with pytest.raises(UsageError, match=r"and this is 0.0.7"), OnDask(cluster.address, SETTINGS):
        pass


def test_ctrl_c_on_a_terminal_prints_nothing_of_dask(tmp_path, monkeypatch):
    """All processes of a terminal get it, those of the cluster too."""
    line = [
        sys.executable,
        "-m",
        "bncheck",
        "verify",
        RIGHT,
        "--cases",
        "100000",
        "--dask",
        "local",
        "--jobs",
        "2",
        "-q",
    ]
    journal = ["--journal", "run.jsonl"]
    monkeypatch.chdir(tmp_path)
    with subprocess.Popen(
        [*line, *journal], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not Path("run.jsonl").exists() or Path("run.jsonl").stat().st_size < 100_000:
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err) == (130, "")
    assert "INTERRUPTED" in out


def test_the_extra_is_named_where_it_is_missing():
    code = "import sys; sys.modules['distributed'] = None; from bncheck.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", RIGHT, "--dask", "local"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bncheck: --dask needs the extra 'dask': pip install 'bncheck[dask]'\n"
