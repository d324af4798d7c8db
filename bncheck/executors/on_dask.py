"""Shares sweeps among the workers of a Dask cluster: other machines, or processes of this one.

A Dask worker does not run user code itself: each of its threads keeps a child process for that, as the isolated
executor does, so that code which takes its process down ends no Dask worker. What a worker cannot finish, because it or
the scheduler is gone, runs here: no case is lost, and none is counted twice, since a chunk's answers are taken once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
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
from bncheck.tasks import Task

# Some seconds of work: what goes over the wire, and what is done again after a worker's end, is little beside it.
_CHUNK = 100
# Seconds in which a scheduler has to answer, and after which a child without work ends.
_ANSWER, _IDLE = 10.0, 20.0


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
        self._folder = os.getcwd()
        self._told = False

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
        if self._address != "local":
            with suppress(Exception):  # a cluster that is gone has no children of ours
                self._client.run(_end_children, wait=False)
        self._open.close()

    def _connected(self, begun: ExitStack) -> Any:
        where: Any = self._address
        if where == "local":
            made = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
            where = begun.enter_context(self._dask.LocalCluster(n_workers=self._settings.jobs, **made))
        try:
            return self._dask.Client(where, timeout=_ANSWER, set_as_default=False)
        except (OSError, ValueError) as error:
            said = f"no Dask scheduler answers at {self._address}"
            raise UsageError(f"{said}: say --dask tcp://HOST:PORT, or --dask local for a cluster made here") from error

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
        left, deaths, untold = len(task.cases), 0, list(futures)
        try:
            for chunk, future in zip(chunks, futures, strict=True):
                del untold[0]
                for answer in self._answers(chunk, future):
                    if not isinstance(answer, Abandoned):
                        hear(answer)
                    left -= 1
                    deaths += isinstance(answer, Died)
                    if deaths == DEATHS:
                        hear(Abandoned(left))
                        return
        except KeyboardInterrupt:
            for future in untold:
                for line in future.result() if future is not None and future.status == "finished" else ():
                    hear(read_event(line))
            raise
        finally:
            with suppress(Exception):  # nobody is there to be told
                self._client.cancel([future for future in futures if future is not None])

    def _submitted(self, task: Task) -> Any:
        """Return the future of a chunk, None where nobody takes it."""
        key = f"bncheck-{uuid.uuid4().hex}"
        with suppress(Exception):  # a closed client raises what it likes
            return self._client.submit(_perform, task_line(task), self._folder, key=key, pure=False)
        return None

    def _answers(self, task: Task, future: Any) -> Sequence[Any]:
        """Return what a chunk came to; where the cluster does not say, ask it once more, then do it here."""
        for again in (True, False):
            try:
                lines = future.result() if future is not None else None
            except WorkerError:
                raise  # bncheck's own fault, here or there
            except Exception:  # whatever Dask raises where a worker, or the scheduler, is gone
                lines = None
            if lines is not None:
                return [read_event(line) for line in lines]
            future = self._submitted(task) if again and self._client.status == "running" else None
        if not self._told:
            self._told = True
            sys.stderr.write("bncheck: the Dask cluster does not answer; cases that it leaves undone run here\n")
        answers: list[Any] = []
        self._here.run(task, answers.append)
        return [answer for answer in answers if is_answer(answer)]


def is_answer(event: object) -> bool:
    """Tell what speaks of a whole case, or of all that are left, from signs of life."""
    from bncheck.tasks import Judged, Refused

    return isinstance(event, Judged | Died | Abandoned | Refused)


# ------------------------------------------------------------------------------------------ in a process of the cluster


class _Child:
    """The child process of one thread of a Dask worker; it ends when there was nothing to do for a while."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._place: Isolated | None = None
        self._idle: threading.Timer | None = None

    def perform(self, task: Task, folder: str) -> list[Any]:
        answers: list[Any] = []
        with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            if self._place is None:
                self._place = Isolated(task.settings.timeout, folder=folder)
            self._place.run(task, answers.append)
            self._idle = threading.Timer(_IDLE, self.end)
            self._idle.daemon = True
            self._idle.start()
        return answers

    def end(self) -> None:
        with self._turn:
            if self._place is not None:
                self._place.close()
            self._place = None


_children: dict[int, _Child] = {}


def _perform(line: bytes, folder: str) -> list[bytes]:
    """Perform a chunk of a sweep in a Dask worker; return what it came to, one line for each case."""
    child = _children.setdefault(threading.get_ident(), _Child())
    return [event_line(answer) for answer in child.perform(read_task(line), folder) if is_answer(answer)]


def _about(folder: str) -> tuple[str, bool]:
    return version("bncheck"), os.path.isdir(folder)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C on a terminal, which reaches every process there, to the one that ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_children() -> None:
    for child in list(_children.values()):
        child.end()
