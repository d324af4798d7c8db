"""The journal of long sweeps: what each case came to, line by line, so that a sweep can go on after its end.

A line is JSON: ``["1c291ca3",record]``, the CRC-32 of the record's text in front of it. Records are one of the run
(``{"bncheck": ..., "settings": ...}``), then for each target one that begins it (``{"target": ...}``), and behind that
the results of its cases, in their order (see compact.py). A file is only ever appended to.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

from bncheck.codec import encode
from bncheck.compact import read_result, result_text
from bncheck.errors import UsageError
from bncheck.model import CaseResult, TargetSpec
from bncheck.settings import Settings

# The settings that change no result of a case: more cases than before are the same ones, and some behind them.
_FREE = ("cases", "strict", "targets", "expected", "jobs", "max_time")
# ["12345678", is as long as this; the text of a record stands between it and ]\n.
_BEFORE = 12
# A line of a case has some thousand bytes.
_LONGEST = 1 << 20


class Journal:
    """A file that results of cases are appended to.

    Parameters
    ----------
    path : Path
        The file.
    settings : Settings
        Those of the run; a journal that was begun with others is refused.
    resume : bool
        Whether a file that is there is resumed, and not refused.

    Attributes
    ----------
    torn : bool
        Whether the last line was torn as its writer ended, or is damaged; it is taken away, and its case run again.
    is_new : bool
        Whether there was nothing in it.

    Raises
    ------
    UsageError
        If the file cannot be opened, is no journal, is damaged, is of another run, or is being written by another.

    """

    def __init__(self, path: Path, settings: Settings, resume: bool) -> None:
        self.path, self.torn, self.is_new = path, False, False
        self._file = _opened(path, resume)  # without a buffer: what had no room must not be tried again at the end
        try:
            with _told(path):
                self._begin(_head(settings))
        except BaseException:
            self._file.close()
            raise

    def _begin(self, head: dict[str, Any]) -> None:
        _lock(self._file, self.path)
        first, good = None, 0
        for number, line in enumerate(self._lines(), 1):
            record = _record(line)
            if record is None:
                if good + len(line) < os.fstat(self._file.fileno()).st_size:
                    said = "this is no line of a journal, or it is damaged."
                    raise UsageError(f"{self.path}, line {number}: {said} {self.before(number)}".rstrip())
                self.torn = True
                break
            first, good = first or record, good + len(line)
        if first is not None and first != head:
            raise UsageError(f"{self.path} cannot be resumed: {_difference(first, head)}")
        self._file.truncate(good)
        self.is_new = first is None
        if first is None:
            self._write(json.dumps(head))

    def _lines(self) -> Iterator[bytes]:
        with open(self.path, "rb") as file:
            while line := file.readline(_LONGEST):
                yield line

    def before(self, number: int) -> str:
        """Return what to do about a line that is wrong: what stands before it is good."""
        if number == 1:
            return ""
        file = shlex.quote(str(self.path))
        return f"What is before it can be kept: head -n {number - 1} {file} > GOOD.jsonl, and resume from that."

    def results(self, target: str, spec: TargetSpec) -> Iterator[tuple[int, CaseResult]]:
        """Yield the results that a target has, in the order of its cases, with the numbers of their lines.

        Raises
        ------
        UsageError
            If the file of the target was another one then.

        """
        record: Any = None
        source = sum_of(spec)
        for number, line in enumerate(self._lines(), 1):
            found = _record(line)
            if isinstance(found, dict):
                record = found
                if _is_of(record, target, spec) and record.get("sum") != source:
                    raise UsageError(f"{target} has changed since {self.path} was begun: its cases ran other code")
            elif isinstance(record, dict) and _is_of(record, target, spec):
                yield number, read_result(found)

    def begin(self, target: str, spec: TargetSpec) -> None:
        """Note that what follows is about this target."""
        self._write(json.dumps({"target": target, "source": spec.source, "sum": sum_of(spec)}))

    def add(self, result: CaseResult, text: str = "") -> None:
        """Append a result; `text` is what `result_text` makes of it, where that is known. OSError: there is no room."""
        self._write(text or result_text(result))

    def _write(self, text: str) -> None:
        line = b'["%08x",%s]\n' % (crc32(text.encode()), text.encode())
        while line:
            line = line[self._file.write(line) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with contextlib.suppress(OSError):  # what had no room was told when it was written
            self._file.close()


def _opened(path: Path, resume: bool) -> FileIO:
    with _told(path):
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file that a journal can be")
        if not resume and path.exists() and path.stat().st_size:
            raise UsageError(f"{path} is there already: --resume goes on behind it, or name another file")
        return open(path, "ab", buffering=0)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say what the system says of a file in one line."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error


def _lock(file: FileIO, path: Path) -> None:
    """Keep a second run away from the file, where the system can."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"another bncheck is writing {path}") from None
    except OSError:  # a file system without locks
        return


def _head(settings: Settings) -> dict[str, Any]:
    data = {name: value for name, value in encode(settings).items() if name not in _FREE}
    return {"bncheck": version("bncheck"), "settings": data}


def _difference(first: Any, head: dict[str, Any]) -> str:
    """Return what is different in a journal's first record, in words."""
    if not isinstance(first, dict) or not isinstance(first.get("settings"), dict):
        return "it is no journal of bncheck"
    if first.get("bncheck") != head["bncheck"]:
        return f"bncheck {first.get('bncheck')!r:.20} wrote it, and this is {head['bncheck']!r}"
    theirs, ours = first["settings"], head["settings"]
    name = next((name for name in ours if theirs.get(name) != ours[name]), "")
    return f"it was begun with {name.replace('_', '-')} {theirs.get(name)!r:.80}, and this is {ours.get(name)!r:.80}"


def _record(line: bytes) -> Any:
    """Return the record of a line, None if it is torn or damaged."""
    text = line[_BEFORE:-2]
    if line[:_BEFORE] != b'["%08x",' % crc32(text) or line[-2:] != b"]\n":
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # with the right sum: made by hand
        return None


def _is_of(record: dict[str, Any], target: str, spec: TargetSpec) -> bool:
    """Tell whether a record begins this target; files of one name may lie in several folders."""
    return record.get("target") == target and record.get("source") == spec.source


def sum_of(spec: TargetSpec) -> str:
    """Return the SHA-256 of the files that a target and its adapter stand in, of nothing where they stand in none."""
    found = sha256()
    for file in (spec.source.partition("::")[0], spec.declared.adapter_file):
        with contextlib.suppress(OSError):  # a module or a program, or a file that has gone since
            found.update(Path(file).read_bytes() if file else b"")
    return found.hexdigest()
