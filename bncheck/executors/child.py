"""A child process that performs tasks, seen from the parent: what is sent, what comes back, how it ended."""

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
from collections.abc import Iterator
from typing import IO

# The child imports this very bncheck, installed or not; once its package is known, the folder is no longer needed.
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop()); import bncheck; sys.path.pop(0); "
    "from bncheck.executors.worker import main; main()"
)
# One thread for JAX: what the user says of its own follows, and wins.
_XLA = "--xla_cpu_multi_thread_eigen=false"
# What begins the line in which a worker that is asked to says which call of user code is under way.
CALL = "bncheck-call:"
# Bytes of standard error kept: enough for the traceback that a crash leaves.
_KEPT = 4000
# Bytes that any pipe takes at once.
_PIPE = 4096
# Bytes read at once: what a pipe holds on most systems.
_CHUNK = 65536
# Each time that this process wakes, a busy worker loses its core and its caches: so lines are taken up some at a time.
# No run is longer for it by more than this share, no line is late by more than these seconds.
_SHARE, _LATE = 0.01, 0.02


class Child:
    """A child process with its two reading threads."""

    def __init__(self, folder: str | None = None) -> None:
        # One thread in numerical libraries: small arrays gain nothing from more, and results stay the same bytes.
        threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "VECLIB", "NUMEXPR")}
        self._process = subprocess.Popen(
            # -P: what lies in the current folder must not pass for a module of Python's own.
            [sys.executable, "-P", "-c", _START, _folder_of_this_package()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **threads, "XLA_FLAGS": f"{_XLA} {os.environ.get('XLA_FLAGS', '')}".strip()},
            cwd=folder,
            start_new_session=True,
        )
        self._read: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._lines: list[bytes] = []  # the next one last
        self._stderr = b""
        self._readers = [
            threading.Thread(target=self._read_events, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def send(self, line: bytes) -> None:
        """Hand a task over; a worker that is gone already shows at the next read."""
        if len(line) < _PIPE:
            self._write(line)
        else:  # a worker that does not read would stop this process here
            threading.Thread(target=self._write, args=(line,), daemon=True).start()

    def _write(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # the worker has died, or was ended: its silence tells
            stdin.write(line)
            stdin.flush()

    def next(self, seconds: float) -> bytes | None:
        """Return the next line of the worker, or None when it ended or stayed silent for that long."""
        self._waited = seconds
        if not self._lines:
            try:
                lines = self._read.get(timeout=seconds)
            except queue.Empty:  # silence; the caller says what that means
                return None
            self._lines = lines[::-1] if lines is not None else []
        return self._lines.pop() if self._lines else None

    @property
    def alive(self) -> bool:
        """Whether the worker runs; one that ends has a moment to do so."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # it still runs
            self._process.wait(timeout=0.2)
        return self._process.poll() is None

    def stop(self, timeout: float) -> str:
        """Return how a worker that ended, or fell silent and is stopped here, came to its end.

        `timeout` is the user's number of seconds for a call: the first one has more.
        """
        process, alive = self._process, self.alive
        if alive and hasattr(signal, "SIGUSR1"):
            process.send_signal(signal.SIGUSR1)
            time.sleep(0.2)  # the traceback is on its way
        self.kill()
        text = self._stderr.decode(errors="replace")
        place = _user_line(text)
        if alive:
            times = self._waited / timeout
            first = f" (a first call has {times:g} times --timeout {timeout:g})" if times > 1 else ""
            said = f"no sign of life for {self._waited:g} seconds{first}{place}{_call(text)}"
            return f"{said}; if it is only slow, give it more (--timeout)"
        code = process.returncode
        if code < 0:
            return f"the process was killed by signal {-code} ({_signal_name(-code)}){place}"
        return f"the process exited with code {code}{place}"

    def kill(self) -> None:
        """End the process group at once."""
        _kill_group(self._process)
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):  # what is left to be written has no reader
                stream.close()

    def _read_events(self, stream: IO[bytes]) -> None:
        start, parts = time.monotonic(), [b""]
        for chunk in _chunks(stream):
            whole, end, rest = chunk.rpartition(b"\n")
            if end:
                self._read.put(b"".join([*parts, whole, end]).splitlines(keepends=True))
                parts = []
                if len(chunk) < _CHUNK:
                    time.sleep(min(_LATE, _SHARE * (time.monotonic() - start)))
            parts.append(rest)
        self._read.put(None)

    def _read_stderr(self, stream: IO[bytes]) -> None:
        for chunk in _chunks(stream):
            self._stderr = (self._stderr + chunk)[-_KEPT:]


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what comes out of a pipe, until it ends, or is closed here while somebody still holds its other end."""
    with contextlib.suppress(ValueError, OSError):  # closed here: this is the end
        while chunk := os.read(stream.fileno(), _CHUNK):
            yield chunk


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended by itself
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


def _call(text: str) -> str:
    """Return ", in backward with dy of shape (4, 3)" as a worker said it, "" if it could not."""
    said = re.findall(rf"^{CALL} (.{{1,80}})$", text, re.MULTILINE)
    return f", in {said[-1]}" if said else ""


def _folder_of_this_package() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
