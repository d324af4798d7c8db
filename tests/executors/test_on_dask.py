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
from bncheck.executors.base import Died
from bncheck.executors.in_process import InProcess
from bncheck.executors.isolated import Isolated
from bncheck.executors.on_dask import OnDask
from bncheck.model import CaseResult, TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings
from bncheck.tasks import Judged, Task

pytest.importorskip("distributed", reason="Dask is an extra")

FIXTURES = Path(__file__).parent.parent.parent / "fixtures"
RIGHT = str(FIXTURES / "correct" / "cs231n_staged.py")
SETTINGS = Settings(cases=300, select=("BN1", "BN2", "BN503", "BN506"), jobs=2)


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
        self.worker = self._start("worker", self.address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")

    def kill_worker(self):
        os.killpg(self.worker.pid, signal.SIGKILL)  # its nanny too, which would begin another

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
    assert (report.verdict, report.cases, report.digest) == (Verdict.PASS, 300, digest)
    assert swept(Isolated(20.0, 2)).digest == digest


def test_a_worker_that_is_killed_loses_no_case(digest):
    place = OnDask("local", SETTINGS)
    killed = []

    def kill():
        killed.append(pids(place)[0])
        os.kill(killed[0], signal.SIGKILL)

    report = swept(place, at(110, kill))
    assert (report.cases, report.digest) == (300, digest)
    assert killed


def test_a_worker_that_stands_still_for_a_while_loses_no_case(digest):
    place = OnDask("local", SETTINGS)
    stopped = []

    def stop():
        stopped.append(pids(place)[0])
        os.kill(stopped[0], signal.SIGSTOP)
        subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {stopped[0]}"]).wait()

    report = swept(place, at(110, stop))
    assert (report.cases, report.digest) == (300, digest)
    assert stopped


def test_a_scheduler_that_is_killed_leaves_the_rest_to_this_machine(cluster, digest, capfd):
    def kill():
        os.kill(cluster.scheduler.pid, signal.SIGKILL)

    report = swept(OnDask(cluster.address, SETTINGS), at(110, kill))
    assert (report.cases, report.digest) == (300, digest)
    assert capfd.readouterr().err == "bncheck: the Dask cluster leaves cases undone; they run here\n"


def test_a_scheduler_that_is_started_anew_counts_no_case_twice(cluster, digest):
    def restart():
        cluster.scheduler.kill()
        cluster.scheduler.wait()
        cluster.start_scheduler()
        cluster.start_worker()

    report = swept(OnDask(cluster.address, SETTINGS), at(110, restart))
    assert (report.cases, report.digest) == (300, digest)


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


def test_ctrl_c_leaves_no_gap_and_no_process():
    place = OnDask("local", SETTINGS)
    running = []

    def interrupt():
        running.extend(pids(place))
        time.sleep(3.0)  # other chunks are done meanwhile
        raise KeyboardInterrupt

    report = swept(place, at(120, interrupt))
    assert report.verdict is Verdict.INTERRUPTED
    assert report.cases == 120
    assert running
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in running):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_nobody_at_the_address(monkeypatch):
    monkeypatch.setattr(on_dask, "_ANSWER", 0.3)
    with (
        pytest.raises(UsageError, match=r"^no Dask scheduler answered at tcp://127\.0\.0\.1:9 within 0\.3 seconds$"),
        OnDask("tcp://127.0.0.1:9", SETTINGS),
    ):
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


def children_of(pids):
    """Return the processes that these have begun."""
    begun = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
        except OSError:  # it has ended meanwhile
            continue
        if int(fields["PPid"]) in pids:
            begun.add(int(fields["Pid"]))
    return begun


def test_another_folder_is_another_file_of_the_same_name(cluster, tmp_path, monkeypatch):
    verdicts, few = [], Settings(cases=120, select=("BN101",))
    for name, text in (
        ("a", Path(RIGHT).read_text()),
        ("b", Path(RIGHT).read_text().replace("gamma *", "2 * gamma *")),
    ):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Path("bn.py").write_text(text)
        verdicts.append(swept(OnDask(cluster.address, few), source="bn.py", settings=few).verdict)
    assert verdicts == [Verdict.PASS, Verdict.FAIL]


def test_children_end_with_the_run_and_workers_stay(cluster):
    place = OnDask(cluster.address, SETTINGS)
    seen = {}

    def look():
        seen.update(workers=pids(place))
        seen.update(children=children_of(seen["workers"]))

    swept(place, at(150, look))
    assert seen["children"]
    assert not children_of(seen["workers"])
    assert all(Path(f"/proc/{pid}").exists() for pid in seen["workers"])


def test_a_cluster_without_workers_leaves_the_rest_to_this_machine(cluster, digest, monkeypatch, capfd):
    monkeypatch.setattr(on_dask, "_ANSWER", 1.0)
    report = swept(OnDask(cluster.address, SETTINGS), at(110, cluster.kill_worker))
    assert (report.cases, report.digest) == (300, digest)
    assert capfd.readouterr().err == "bncheck: the Dask cluster leaves cases undone; they run here\n"


@pytest.mark.parametrize(
    ("told", "whole"),
    [
        ("abc", True),
        ("ab", False),
        ("acb", False),
        ("abcd", False),
        ("", False),
        ("aXc", True),
        ("XXX", True),
        ("XX", False),
    ],
)
def test_answers_are_taken_where_they_are_those_of_all_cases(told, whole):
    task = Task("sweep", TargetSpec("bn.py"), SETTINGS, cases=tuple("abc"))
    answers = [
        Died("abc"[at], "it ended", False) if letter == "X" else Judged(CaseResult(letter, {}))
        for at, letter in enumerate(told)
    ]
    assert on_dask._is_whole(task, answers) is whole


def test_what_a_worker_cannot_load_is_done_here(cluster, tmp_path, monkeypatch):
    """The workers do not have on their path what this process has."""
    (tmp_path / "only_here.py").write_text(Path(RIGHT).read_text())
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir("/")
    report = swept(OnDask(cluster.address, SETTINGS), source="only_here:batchnorm_forward")
    assert (report.verdict, report.cases) == (Verdict.PASS, 300)


@pytest.mark.parametrize("address", ["", "local:8786", "http://127.0.0.1:9", "tcp://127.0.0.1", "127.0.0.1:9"])
def test_what_is_no_address_is_refused_at_once(address):
    with pytest.raises(UsageError, match="--dask takes the address of a scheduler"), OnDask(address, SETTINGS):
        pass
