"""Performs tasks in a child process: a crash, an exit or an endless loop of user code ends the child, not the run."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import IO, Self

from bncheck.executors.base import Died, Hear
from bncheck.executors.wire import DONE, read_event, task_line
from bncheck.tasks import Begun, Judged, Task

# Reading a file means importing it, and whatever it imports: a framework takes many seconds on a cold disk.
_IMPORT_SECONDS = 120.0
# After this many deaths in one sweep the rest of the cases would tell the same story, a worker's start apiece.
_DEATHS = 3
# Bytes of standard error kept: enough for the traceback that a crash leaves.
_KEPT = 4000


class WorkerError(RuntimeError):
    """The worker failed outside of user code: bncheck's own fault. The text is the worker's traceback."""


class Isolated:
    """One child process, started when it is needed, and again after a death.

    Parameters
    ----------
    timeout : float
        Seconds without any event after which the worker is stopped.

    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._worker: _Worker | None = None

    def run(self, task: Task, hear: Hear) -> None:
        """Perform `task`; after a death go on with the cases that are left."""
        left = list(task.cases)
        for _ in range(_DEATHS):
            died = self._once(replace(task, cases=tuple(left)), hear, left)
            if died is None:
                return
            hear(died)
            if task.kind != "sweep" or died.case is None:
                return
            left.remove(died.case)

    def _once(self, task: Task, hear: Hear, left: list[str]) -> Died | None:
        """Run what is left of a task; strike judged cases off `left`; return how the worker died, or None."""
        if self._worker is None:
            self._worker = _Worker()
        worker = self._worker
        worker.send(task_line(task))
        current: str | None = None
        while True:
            # The first sign of life includes the import of the user's code.
            event = worker.next(self._timeout if current is not None else max(self._timeout, _IMPORT_SECONDS))
            if event is None:
                how = worker.stop()
                self._worker = None
                if how.own_fault:
                    raise WorkerError(f"{how.text.splitlines()[-1]} (in the worker)\n{how.text}")
                return Died(current or None, how.text)
            if event == DONE:
                return None
            told = read_event(event)
            if isinstance(told, Begun):
                current = told.case
            elif isinstance(told, Judged) and task.kind == "sweep":
                left.remove(told.result.case)
            hear(told)

    def __enter__(self) -> Self:
        # The worker loads its libraries while the caller does its own.
        self._worker = _Worker()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


class _Ending:
    """How a worker ended, in words."""

    def __init__(self, text: str, own_fault: bool) -> None:
        self.text = text
        self.own_fault = own_fault


class _Worker:
    """A child process with its two reading threads."""

    def __init__(self) -> None:
        # One thread in numerical libraries: small arrays gain nothing from more, and results stay the same bytes.
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "VECLIB", "NUMEXPR")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bncheck.executors.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **threads, "PYTHONPATH": _path_of_this_package()},
            start_new_session=True,
        )
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._stderr = b""
        self._readers = [
            threading.Thread(target=self._read_events, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def send(self, line: bytes) -> None:
        """Hand a task over; a worker that is gone already shows at the next read."""
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.write(line)
            stdin.flush()

    def next(self, seconds: float) -> bytes | None:
        """Return the next line of the worker, or None when it ended or stayed silent for that long."""
        self._waited = seconds
        try:
            return self._lines.get(timeout=seconds)
        except queue.Empty:
            return None

    def stop(self) -> _Ending:
        """Return how a worker that ended, or fell silent and is stopped here, came to its end."""
        process = self._process
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.2)
        alive = process.poll() is None
        if alive and hasattr(signal, "SIGUSR1"):
            process.send_signal(signal.SIGUSR1)
            time.sleep(0.2)  # the traceback is on its way
        self.kill()
        text = self._stderr.decode(errors="replace")
        place = _user_line(text)
        if alive:
            return _Ending(f"no sign of life for {self._waited:g} seconds{place}", own_fault=False)
        code = process.returncode
        if code < 0:
            return _Ending(f"the process was killed by signal {-code} ({_signal_name(-code)}){place}", own_fault=False)
        # An exception of bncheck itself ends the worker with a traceback and code 1; os._exit leaves no traceback.
        own_fault = code == 1 and "Traceback (most recent call last)" in text
        return _Ending(text if own_fault else f"the process exited with code {code}{place}", own_fault)

    def kill(self) -> None:
        """End the process group at once."""
        _kill_group(self._process)
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _read_events(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._lines.put(line)
        self._lines.put(None)

    def _read_stderr(self, stream: IO[bytes]) -> None:
        while chunk := os.read(stream.fileno(), 65536):
            self._stderr = (self._stderr + chunk)[-_KEPT:]


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def _user_line(text: str) -> str:
    """Return " (file.py:12, in forward)" from faulthandler's traceback, most recent call first, skipping ours."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for path, line, function in re.findall(r'File "([^"]+)", line (\d+) in (\S+)', text):
        if not path.startswith((ours, sys.base_prefix + os.sep + "lib", "<")) and "site-packages" not in path:
            return f" ({os.path.basename(path)}:{line}, in {function})"
    return ""


def _path_of_this_package() -> str:
    """Return PYTHONPATH for the child, so that it imports this very bncheck, installed or not."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
