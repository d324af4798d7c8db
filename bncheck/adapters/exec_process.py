"""One running copy of a program: lines to its standard input, answers from its standard output, its last words kept.

Whatever goes wrong is told in one line. The program's own refusal is a ProgramError; all else is a ChildProcessError,
after which this copy is of no use, and whoever opens a fresh session gets another one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from bncheck.adapters import exec_files
from bncheck.adapters.other_code import unstarted
from bncheck.errors import TargetError

# The hello comes before a program loads anything: this is time for the slowest of runtimes to come up, and less than
# the minute that an isolated worker may spend on discovery without a sign of life.
HELLO_SECONDS = 30.0
# More than the text of any error; what has no end of line by then is no answer.
_LONGEST = 1 << 16
# What is told of the text of an error; reporters cut it shorter.
_LONGEST_ERROR = 1000
# Bytes of standard error kept, and characters of it told: with the rest of the line they stay under 200.
_KEPT = 2000
_TOLD = 110
_FOLDER = "bncheck-exec-"
# A program gets small numbers, so that it may keep its sessions in an array of fixed size.
SESSIONS = 256


class ProgramError(Exception):
    """What the program answered after "error"."""


def text_of(line: bytes) -> str:
    """Return what a program wrote up to the end of a line as one line, whatever else may pass for an end of line."""
    return " ".join(line.decode(errors="replace").splitlines()).strip()


def heed(answer: str, word: str, session: int) -> None:
    """Return if this is how a program says that it did what a word asks of a session.

    Raises
    ------
    ProgramError
        If it says that it could not.
    ChildProcessError
        If it says anything else.

    """
    first, _, rest = answer.partition(" ")
    if first == "error":
        text = rest.strip()[:_LONGEST_ERROR]
        raise ProgramError(text or f"it answered {word} with an error without a text")
    if first != "ok":
        raise ChildProcessError(
            f"the program answered {word} with {answer!r:.60}, and not with 'ok {session}' or 'error TEXT' (standard "
            "output is for answers only)"
        )
    if rest.strip() != str(session):
        said = f"for session {rest.strip()!r:.60}" if rest.strip() else "without a session"
        raise ChildProcessError(f"the program answered {word} {said} where session {session} was asked")


def _prepare_child() -> Callable[[], None] | None:
    """Return what makes a child on Linux die with its parent, however that ends; None where there is no such thing."""
    if sys.platform != "linux":
        return None
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):  # a C library without it: such a program may outlive its worker
        return None
    parent, pr_set_pdeathsig = os.getpid(), 1

    def prepare() -> None:
        prctl(pr_set_pdeathsig, int(signal.SIGKILL))
        if os.getppid() != parent:  # it was gone before this was set
            os._exit(1)

    return prepare


class Process:
    """A started program.

    Parameters
    ----------
    arguments : list of str
        The command line, taken apart.

    Raises
    ------
    TargetError
        If it cannot be started.

    """

    def __init__(self, arguments: list[str]) -> None:
        pipe = subprocess.PIPE
        try:
            # In the process group of this process: an isolated worker that is stopped takes the program with it.
            self._child = subprocess.Popen(
                arguments, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, preexec_fn=_prepare_child()
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            why = "; ".join(filter(None, (getattr(error, "strerror", None) or str(error), unstarted(arguments[0]))))
            raise TargetError(f"it cannot be started: {why}") from None
        self._heard = bytearray()
        self._last_words = bytearray()
        self._listener = threading.Thread(target=_listen, args=(self._child.stderr, self._last_words), daemon=True)
        self._listener.start()
        self._end = weakref.finalize(self, _end, self._child)
        self._numbers = list(range(SESSIONS - 1, -1, -1))
        self._closing: list[int] = []

    @property
    def alive(self) -> bool:
        """Whether it may be spoken to."""
        return self._end.alive

    def hello(self, line: str) -> str:
        """Return the answer to the first line; a program that is silent is stopped."""
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._child.kill()

        timer = threading.Timer(HELLO_SECONDS, stop)
        timer.daemon = True
        timer.start()
        try:
            return self._exchange(line + "\n")
        except ChildProcessError:
            if late.is_set():
                said = f"; it wrote {text_of(bytes(self._heard))!r:.60}, without an end of line" if self._heard else ""
                raise ChildProcessError(f"the program did not answer within {HELLO_SECONDS:g} seconds{said}") from None
            raise
        finally:
            timer.cancel()

    def open(self) -> int:
        """Return the number of a fresh session."""
        if not self._numbers:
            self._close_some()
        if not self._numbers:
            raise RuntimeError(f"more than {SESSIONS} sessions are open at once")
        return self._numbers.pop()

    def close(self, session: int) -> None:
        """Note that a session is over. The program hears of it with the next call: called wherever garbage falls."""
        self._closing.append(session)

    def call(self, word: str, session: int, given: Mapping[str, Any] | None, wanted: Iterable[str]) -> dict[str, Any]:
        """Say a word to a session, with the arrays given; return the arrays wanted, or raise what went wrong."""
        wanted = tuple(wanted)
        self._close_some()
        # One for each call: where a worker is killed between calls, nothing is left.
        folder = tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-")
        request = f"{folder}/request.npz" if given is not None else "-"
        response = f"{folder}/response.npz" if wanted else "-"
        try:
            if given is not None:
                exec_files.write(request, given)
            self._say(word, session, request, response)
            return exec_files.read(response, wanted) if wanted else {}
        except exec_files.DamagedError as error:
            raise ChildProcessError(f"the response to {word} {error}") from None
        finally:
            _remove(folder, request, response)

    def stop(self) -> None:
        """End it at once."""
        self._end()

    def _close_some(self) -> None:
        """Tell the program which sessions are over; what it answers, as long as it answers, is of no interest."""
        while self._closing:
            session = self._closing.pop()
            with contextlib.suppress(ProgramError):  # the program has ended, and its sessions with it
                self._say("close", session, "-", "-")
            self._numbers.append(session)

    def _say(self, word: str, session: int, request: str, response: str) -> None:
        answer = self._exchange(f"{word} {session} {request} {response}\n")
        try:
            heed(answer, word, session)
        except ChildProcessError:
            self.stop()
            raise

    def _exchange(self, line: str) -> str:
        """Return the line that answers a line. After an interruption nobody knows whose answer comes next: stop."""
        if not self.alive:
            raise ChildProcessError("the program ended while this session was open")
        try:
            assert self._child.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # how it ended shows below
                self._child.stdin.write(line.encode())
            return self._line()
        except BaseException:
            self.stop()
            raise

    def _line(self) -> str:
        assert self._child.stdout is not None
        while (end := self._heard.find(b"\n")) < 0:
            if len(self._heard) > _LONGEST:
                raise ChildProcessError(f"the program answered with {len(self._heard)} bytes without an end of line")
            chunk = os.read(self._child.stdout.fileno(), _LONGEST)
            if not chunk:
                raise ChildProcessError(self._obituary())
            self._heard += chunk
        line = text_of(bytes(self._heard[:end]))
        del self._heard[: end + 1]
        return line

    def _obituary(self) -> str:
        """Return how a program ended whose standard output did, with the last it wrote to standard error."""
        try:
            code = self._child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            how = "closed its standard output"
        else:
            how = f"was killed by {_signal(-code)}" if code < 0 else f"exited with code {code}"
        self._listener.join(timeout=0.5)
        lines = [line.strip() for line in self._last_words.decode(errors="replace").splitlines() if line.strip()]
        text = " | ".join(lines[-3:])
        told = text if len(text) <= _TOLD else f"...{text[-_TOLD:]}"
        return f"the program {how}; " + (f"its last words: {told}" if told else "it wrote nothing to standard error")


def remove_leftovers() -> None:
    """Remove the files of processes that were killed during a call."""
    if os.name == "nt":  # os.kill would end the process that it asks after
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        number = folder.name.removeprefix(_FOLDER).partition("-")[0]
        try:
            if number.isdigit():
                os.kill(int(number), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (PermissionError, OverflowError):  # somebody else's process, or no process's number
            continue


def _remove(folder: str, *files: str) -> None:
    try:
        for file in files:
            with contextlib.suppress(FileNotFoundError):  # the program never wrote it
                os.unlink(file)
        os.rmdir(folder)
    except OSError:  # the program has put more there
        shutil.rmtree(folder, ignore_errors=True)


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _listen(stream: IO[bytes], kept: bytearray) -> None:
    """Keep the last of what is written to standard error, and let nothing of it pile up."""
    with stream:
        while chunk := os.read(stream.fileno(), 65536):
            kept += chunk
            del kept[:-_KEPT]


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child; closing its input first tells the children it may have, which no signal reaches."""
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # what is left to be written has no reader
                stream.close()
    child.kill()
    child.wait()
