"""What surrounds every call of user code: silence, a count of what it prints, and exceptions turned into faults."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bncheck.errors import AdapterError
from bncheck.guard import process
from bncheck.guard.process import Change, Process
from bncheck.guard.process import forget_replaced as forget_replaced
from bncheck.guard.process import replaced_in_numpy as replaced_in_numpy
from bncheck.guard.process import turn_to as turn_to
from bncheck.model import Fault

if TYPE_CHECKING:
    from typing_extensions import Buffer

_OWN = str(Path(__file__).resolve().parent.parent) + os.sep
# The samples that bncheck ships stand for user code.
_SAMPLES = str(Path(_OWN) / "samples") + os.sep
_NUMPY = str(Path(np.__file__).resolve().parent) + os.sep
_STDLIB = str(Path(sysconfig.get_paths()["stdlib"]).resolve()) + os.sep
_FRAMEWORK = re.compile(r"[\\/](?:site|dist)-packages[\\/](?:torch|jax|jaxlib|flax|keras)[\\/]")
_LONGEST = 200


class _Sink(io.BufferedIOBase):
    """A binary stream that keeps the beginning of what is written to it, as text, and counts the rest."""

    KEEP = 2000
    name = "<printed>"

    def __init__(self) -> None:
        self.size = 0
        self.beginning = ""

    def writable(self) -> bool:
        """Return True: this is an output stream."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Count the bytes of `data`, and return how many they are."""
        view = memoryview(data).cast("B")
        self.add(bytes(view[: self.KEEP]).decode(errors="replace"), view.nbytes)
        return view.nbytes

    def add(self, text: str, size: int) -> None:
        """Count `size`, and keep `text` if there is room."""
        if len(self.beginning) < self.KEEP:
            self.beginning += text[: self.KEEP - len(self.beginning)]
        self.size += size


class Printed(io.TextIOWrapper):
    """A text stream that keeps the beginning of what is written to it and counts the rest.

    It has what user code expects of sys.stdout: ``reconfigure``, ``buffer``, ``isatty``; no file descriptor.
    """

    def __init__(self) -> None:
        # Not self.buffer: user code may detach that.
        self._sink = _Sink()
        super().__init__(self._sink, encoding="utf-8")

    @property
    def characters(self) -> int:
        """How much was written: characters of text, and bytes of what went to ``buffer``."""
        return self._sink.size

    @property
    def beginning(self) -> str:
        """The beginning of it."""
        return self._sink.beginning

    def write(self, text: str, /) -> int:
        """Count `text`, keep it if there is room, and return its length."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        # Not encoded: nobody reads the bytes, and characters are what is counted.
        self._sink.add(text, len(text))
        return len(text)


@contextlib.contextmanager
def printing_counted() -> Iterator[Printed]:
    """Take what is printed to sys.stdout and sys.stderr inside the block."""
    printed = Printed()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield printed


@cache
def keep_freed_memory() -> None:
    """Let the C library keep up to 64 MiB that are freed, once for this process, rather than give them back each time.

    glibc gives back what is free above 128 KiB at the top of its heap, so that code whose arrays are a little larger
    gets new pages from the kernel at every call, and writes to each for the first time: that may cost ten times what
    the code computes. Both of its limits grow with the largest array that was ever freed, up to 32 MiB: one that is
    never written to, and takes no memory, does it. Other C libraries pay no heed.

    References
    ----------
    mallopt(3), M_MMAP_THRESHOLD: "dynamic mmap threshold", and M_TRIM_THRESHOLD, which becomes twice as large.
    """
    np.empty(_KEPT, np.uint8)


# Less than DEFAULT_MMAP_THRESHOLD_MAX, 32 MiB, by more than what the library adds for itself.
_KEPT = 2**25 - 2**16


@contextlib.contextmanager
def quiet() -> Iterator[Printed]:
    """Silence prints, Python warnings and NumPy's floating-point warnings inside the block.

    What user code changes of the process that it shares with bncheck is put back after every call of it, and after the
    block. What it may count on in its next call is there again then: what it has put in the place of NumPy's functions,
    variables of the environment, the current folder, a deeper recursion.
    """
    global _process
    outermost, usual = _process is None, np.geterr()
    with printing_counted() as printed, warnings.catch_warnings(), np.errstate(all="call", call=process.unheard):
        process.silence()
        if _process is None:
            _process = Process(usual)
        try:
            yield printed
        finally:
            put_back()
            if outermost:
                _process = None


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Silence an import of user code. What it changes in folder and environment stays, and is no call's doing."""
    with quiet():
        try:
            yield
        finally:
            if _process is not None:
                _process.accept()


@contextlib.contextmanager
def faults_of(stage: str, faults: list[Fault]) -> Iterator[None]:
    """Append what user code raises inside the block to `faults`; only the user's own Ctrl-C passes through."""
    with user_code(stage):
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            faults.append(describe(error, stage))


@contextlib.contextmanager
def user_code(stage: str = "") -> Iterator[None]:
    """Let user code find what it keeps changed in the process, and put back what it changes, and note it.

    A block inside another is a part of that one's call.
    """
    if _at_call is not None:
        _at_call()
    if _process is None or _process.in_call:
        yield
        return
    _process.begin()
    try:
        yield
    finally:
        put_back(stage)


@contextlib.contextmanager
def calls_told(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` before each call of user code inside the block."""
    global _at_call
    outer, _at_call = _at_call, tell
    try:
        yield
    finally:
        _at_call = outer


def put_back(stage: str = "") -> None:
    """Undo what user code has changed in the process, and note what a call of that stage has left changed."""
    if _process is None:
        return
    left = _process.put_back(stage)
    if _noted is not None:
        _noted.update(left)


@contextlib.contextmanager
def changes_noted() -> Iterator[set[Change]]:
    """Note what calls inside the block leave changed in the process."""
    global _noted
    noted: set[Change] = set()
    outer, _noted = _noted, noted
    try:
        yield noted
    finally:
        _noted = outer


_at_call: Callable[[], None] | None = None
_process: Process | None = None
_noted: set[Change] | None = None


def describe(error: BaseException, stage: str) -> Fault:
    """Return an exception that came out of user code as a Fault.

    Parameters
    ----------
    error : BaseException
        What was raised (SystemExit too).
    stage : str
        "forward" or "backward".

    """
    raised = error.raised if isinstance(error, AdapterError) else error
    return Fault(stage, class_name(raised), one_line(raised), where(raised), raised is not error)


def class_name(thing: object) -> str:
    """Return the name of a thing's class, at most 200 characters long; a metaclass of user code is not asked for it."""
    return _cut(type.__dict__["__name__"].__get__(type(thing)))


def one_line(error: BaseException) -> str:
    """Return the first line of an exception's message, at most 200 characters long."""
    try:
        text = str(error)
    except Exception:  # an exception of user code may raise when it is printed
        return "(its message cannot be shown)"
    return _cut(next((line.strip() for line in text.splitlines() if line.strip()), ""))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def where(error: BaseException) -> str:
    """Return "file.py:12" of the innermost frame that is in user code, "" if there is none.

    A line of a framework is named only where there is no other: the user's own line called it.
    """
    lines = list(user_lines(error))
    found = [line for line in lines if not _FRAMEWORK.search(line[0])] or lines
    if not found:
        return ""
    name, line = Path(found[-1][0]).name, found[-1][1]
    return f"{name}, line {line}" if ".ipynb, code cell " in name else f"{name}:{line}"


def user_lines(error: BaseException) -> Iterator[tuple[str, int]]:
    """Yield (file, line) of every frame of an exception that is in user code, outermost first."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if is_user_file(file):
            yield file, line


def is_user_file(file: str) -> bool:
    """Tell the user's files from those of bncheck, NumPy and Python itself."""
    if file.startswith("<frozen"):
        return False
    path = os.path.realpath(file) if os.path.isabs(file) else file
    if path.startswith(_OWN):
        return path.startswith(_SAMPLES)
    if path.startswith(_NUMPY):
        return False
    return not path.startswith(_STDLIB) or "site-packages" in path


@cache
def is_written_file(file: str) -> bool:
    """Tell what users write, bncheck's samples among it, from what they installed."""
    installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
    return is_user_file(file) and (not installed or os.path.realpath(file).startswith(_SAMPLES))
