"""Shares sweeps among the workers of a Dask cluster: other machines, or processes of this one.

A Dask worker does not run user code itself: each of its threads keeps a child process for that, as the isolated
executor does, so that code which takes its process down ends no Dask worker. What a worker cannot finish, because it or
the scheduler is gone, runs here: no case is lost, and none is counted twice, since a chunk's answers are taken once.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

from bncheck.errors import UsageError
from bncheck.executors.base import Abandoned, Died, Hear
from bncheck.executors.isolated import DEATHS, HEAD, Isolated, WorkerError
from bncheck.executors.wire import event_line, read_event, read_task, task_line
from bncheck.settings import Settings
from bncheck.tasks import Event, Judged, Refused, Task

# Some seconds of work: what goes over the wire, and what is done again after a worker's end, is little beside it.
_CHUNK = 100
# Seconds in which a scheduler, or a new worker, has to answer, between looks for one, and for a child without work.
_ANSWER, _LOOK, _IDLE = 10.0, 1.0, 20.0
_ADDRESS = re.compile(r"(tcp|tls|ucx|wss?)://\S+:\d+/?")
Answer = Event | Died | Abandoned


class OnDask:
    """A client of a Dask cluster; what is no sweep is performed in an isolated process of this machine.

    Parameters
    ----------
    address : str
        The scheduler's, such as "tcp://host:8786"; "local" for a cluster of processes that is made here.
    settings : Settings
        `timeout` of the processes, and `jobs` for a local cluster: by default as many as there are cores.

    Raises
    ------
    UsageError
        If Dask is not installed, nobody answers at the address, or a worker has another bncheck or other files.

    """

    def __init__(self, address: str, settings: Settings) -> None:
        try:
            import distributed
        except ImportError:
            raise UsageError("--dask needs the extra 'dask': pip install 'bncheck[dask]'") from None
        import logging

        # A worker that is gone is no news to anybody: its cases run elsewhere.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        self._address, self._settings = address, settings
        self._dask: Any = distributed
        self._here = Isolated(settings.timeout)
        self._open = ExitStack()
        self._folder, self._name = os.getcwd(), uuid.uuid4().hex
        self._told = self._gone = False

    def __enter__(self) -> Self:
        with ExitStack() as begun:
            begun.enter_context(self._here)
            self._client = begun.enter_context(self._connected(begun))
            self._check()
            if self._address == "local":
                self._client.run(_ignore_interrupts)
            self._open = begun.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with suppress(Exception):  # a cluster that is gone has no children of ours
            if self._client.status == "running":
                self._client.run(_end_children, self._name, on_error="ignore")
        self._open.close()

    def _connected(self, begun: ExitStack) -> Any:
        where: Any = self._address
        if where != "local" and not _ADDRESS.fullmatch(where):
            raise UsageError(f"--dask takes the address of a scheduler, tcp://HOST:PORT, or local, not {where!r:.80}")
        try:
            if where == "local":
                made = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
                where = begun.enter_context(self._dask.LocalCluster(n_workers=self._settings.jobs, **made))
            return self._dask.Client(where, timeout=_ANSWER, set_as_default=False)
        except Exception as error:  # whatever Dask raises where there is nobody, or no way to reach him
            if self._address == "local":
                raise UsageError(f"no Dask cluster can be made here: {type(error).__name__}: {error}") from error
            raise UsageError(f"no Dask scheduler answered at {self._address} within {_ANSWER:g} seconds") from error

    def _check(self) -> None:
        """Refuse a cluster whose workers have another bncheck, or do not see the files of this machine."""
        ours = version("bncheck")
        workers: dict[str, tuple[str, bool]] = self._client.run(_about, self._folder, on_error="return")
        if not workers:
            raise UsageError(f"the Dask cluster at {self._address} has no workers")
        for worker, about in workers.items():
            if isinstance(about, BaseException):
                raise UsageError(f"the Dask worker {worker} has no bncheck that answers: {type(about).__name__}")
            if about[0] != ours:
                raise UsageError(f"the Dask worker {worker} has bncheck {about[0]}, and this is {ours}")
            if not about[1]:
                raise UsageError(f"the Dask worker {worker} has no {self._folder}: workers need the same files")

    def run(self, task: Task, hear: Hear) -> None:
        """Perform `task`; tell what happens in a sweep in the order of its cases."""
        if task.kind != "sweep" or len(task.cases) <= HEAD:
            self._here.run(task, hear)
            return
        chunks = [replace(task, cases=task.cases[at : at + _CHUNK]) for at in range(0, len(task.cases), _CHUNK)]
        futures = [self._submitted(chunk) for chunk in chunks]
        deaths = 0
        try:
            for chunk, future in zip(chunks, futures, strict=True):
                for answer in self._answers(chunk, future):
                    hear(answer)
                    deaths += isinstance(answer, Died)
                    if isinstance(answer, Refused) or (isinstance(answer, Died) and answer.case is None):
                        return
                    if deaths == DEATHS:
                        hear(Abandoned())
                        return
        finally:
            with suppress(Exception):  # nobody is there to be told
                self._client.cancel([future for future in futures if future is not None])

    def _submitted(self, task: Task) -> Any:
        """Return the future of a chunk, None where nobody takes it."""
        if self._gone:
            return None
        key = f"bncheck-{uuid.uuid4().hex}"
        with suppress(Exception):  # a closed client raises what it likes
            return self._client.submit(_perform, task_line(task), self._folder, self._name, key=key, pure=False)
        return None

    def _answers(self, task: Task, future: Any) -> Sequence[Answer]:
        """Return what the cases of a chunk came to; what the cluster leaves undone twice is done here."""
        for again in (True, False):
            try:
                answers = [read_event(line) for line in self._result(future)] if future is not None else []
            except WorkerError:
                raise  # bncheck's own fault, here or there
            except Exception:  # whatever Dask raises where a worker, or the scheduler, is gone
                answers = []
            if _is_whole(task, answers):
                return answers
            future = self._submitted(task) if again and self._client.status == "running" else None
        if not self._told:
            self._told = True
            sys.stderr.write("bncheck: the Dask cluster leaves cases undone; they run here\n")
        answers = []
        self._here.run(task, answers.append)
        return [answer for answer in answers if is_answer(answer)]

    def _result(self, future: Any) -> list[bytes]:
        """Return what a worker sent; give the cluster up when it has had no worker for a while."""
        empty_since = None
        while not self._gone:
            try:
                found: list[bytes] = future.result(timeout=_LOOK)
                return found
            except TimeoutError:
                now = time.monotonic()
                empty_since = None if self._client.nthreads() else empty_since or now
                self._gone = empty_since is not None and now - empty_since > _ANSWER
        return []


def is_answer(event: object) -> bool:
    """Tell what speaks of a whole case, or of all that are left, from signs of life."""
    return isinstance(event, Judged | Died | Refused)


def _is_whole(task: Task, answers: Sequence[Answer]) -> bool:
    """Tell whether answers are those of all cases of a chunk, or end where a sweep is given up."""
    told = [a.result.case if isinstance(a, Judged) else getattr(a, "case", None) for a in answers]
    deaths = sum(isinstance(answer, Died) for answer in answers)
    return told == list(task.cases[: len(told)]) and (len(told) == len(task.cases) or deaths == DEATHS)


# ------------------------------------------------------------------------------------------ in a process of the cluster


class _Child:
    """The child process of one thread of a Dask worker, for one client; it ends when there was nothing to do."""

    def __init__(self, name: str, folder: str) -> None:
        self.name, self._folder = name, folder
        self._turn = threading.Lock()
        self._place: Isolated | None = None
        self._idle: threading.Timer | None = None

    def perform(self, task: Task) -> list[Any]:
        answers: list[Any] = []
        with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            place = self._place = self._place or Isolated(task.settings.timeout, folder=self._folder)
            place.run(task, answers.append)
            self._idle = threading.Timer(_IDLE, self._end_idle)
            self._idle.daemon = True
            self._idle.start()
        return answers

    def _end_idle(self) -> None:
        with self._turn:
            self.end()

    def end(self) -> None:
        """End the process, whatever it does: what is under way is cut off, and nobody takes its answers."""
        place, self._place = self._place, None
        if place is not None:
            place.close()


_children: dict[int, _Child] = {}


def _perform(line: bytes, folder: str, name: str) -> list[bytes]:
    """Perform a chunk of a sweep in a Dask worker; return what it came to, one line for each case."""
    child = _children.get(threading.get_ident())
    if child is None or child.name != name:
        if child is not None:
            child.end()
        child = _children[threading.get_ident()] = _Child(name, folder)
    return [event_line(answer) for answer in child.perform(read_task(line)) if is_answer(answer)]


def _about(folder: str) -> tuple[str, bool]:
    return version("bncheck"), os.path.isdir(folder)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C on a terminal, which reaches every process there, to the one that ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_children(name: str) -> None:
    for child in list(_children.values()):
        if child.name == name:
            child.end()
