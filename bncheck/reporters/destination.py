"""Where a report goes, standard output or a file, and what can be shown there."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from bncheck.errors import UsageError
from bncheck.reporters import Style

# Longer lines are hard to read; on a narrower screen the numbers no longer fit.
NARROWEST, WIDEST = 40, 120
# A file is read in an editor, or in a log.
IN_A_FILE = 100
# What somebody wrote by hand, and no report: whoever names such a file that is there has named the wrong one.
SOURCES = frozenset(
    ".py .pyi .pyw .pyx .pxd .ipynb .toml .c .h .cc .cpp .cxx .hpp .cu .cuh .f90 .go .java .jl .js .m .rs .ts".split()
)
# What FORCE_COLOR holds where it does not ask for colour.
_NO = ("", "0", "false")


def width() -> int:
    """Return the columns of the terminal, 80 where there is none, within what is readable."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, NARROWEST), WIDEST)


def style_for(output: Path | None, verbose: bool) -> Style:
    """Return what `output`, or standard output, can show.

    Colour only on a terminal, unless FORCE_COLOR asks for it; never where NO_COLOR is set.
    """
    if output is not None:
        return Style(width=IN_A_FILE, verbose=verbose)
    color = standard_output().isatty() and os.environ.get("TERM") != "dumb"
    forced = os.environ.get("FORCE_COLOR", "").lower() not in _NO
    return Style(width(), (color or forced) and not os.environ.get("NO_COLOR"), not _encodes("✔✘◀─→·"), verbose)


def standard_output() -> TextIO:
    """Return standard output; raise UsageError where whoever started the process closed it (``>&-``)."""
    if sys.stdout is None:
        raise UsageError("cannot write to standard output: it is closed")
    return sys.stdout


def write_out(text: str, for_programs: bool = False) -> None:
    """Write to standard output; end quietly if nobody reads it any more (``| head``).

    What programs read is UTF-8, as in a file; what people read is in the encoding of their terminal.

    Raises
    ------
    UsageError
        If it cannot be written.

    """
    out = standard_output()
    encoding = out.encoding or "ascii"
    buffer = getattr(out, "buffer", None) if for_programs else None
    try:
        if buffer is None:
            out.write(text.encode(encoding, "backslashreplace").decode(encoding))
        else:
            out.flush()
            buffer.write(_bytes(text))
        out.flush()
    except BrokenPipeError:
        _silence(out)
    except OSError as error:
        _silence(out)
        raise UsageError(f"cannot write to standard output: {error.strerror or error}") from error


def _silence(out: TextIO) -> None:
    """Let what could not be written go nowhere: Python tries once more when it exits, and would complain."""
    with suppress(OSError, ValueError):  # a stream without a descriptor, in a notebook or a test, needs none of this
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


@contextmanager
def opened(path: Path | None, for_programs: bool = False) -> Iterator[Callable[[str], None]]:
    """Yield what writes the report, called once: to standard output, or to the file `path`, whole or not at all.

    The file is opened at once, so that a wrong path costs no run, under a temporary name in the same folder; it gets
    its own name when it is complete. A device, a pipe, or the file that standard output goes to is opened as it is, and
    stays open: who reads a pipe takes its closing for the end.

    Raises
    ------
    UsageError
        If the file cannot be written, or holds source code.

    """
    if path is None:
        standard_output()
        yield lambda text: write_out(text, for_programs)
        return
    with _complaining(path):
        is_kept = _is_kept(path)
        real = path if is_kept else Path(os.path.realpath(path))
        if not is_kept and real.exists() and {path.suffix.lower(), real.suffix.lower()} & SOURCES:
            raise UsageError(f"{path} is there already and is no report but source code: name another file")
        place = path if is_kept else real.with_name(f".bncheck-{secrets.token_hex(6)}.tmp")
        file = place.open("ab" if is_kept else "xb")

    def write(text: str) -> None:
        with _complaining(path):
            try:
                with file:
                    file.write(_bytes(text))
            except BrokenPipeError:  # nobody reads it any more
                return
            if not is_kept:
                place.replace(real)

    try:
        yield write
    finally:
        with suppress(OSError):  # what was written is on its way already, or has been complained of
            file.close()
        if not is_kept:
            with suppress(OSError):  # it may have its own name by now
                place.unlink()


def _is_kept(path: Path) -> bool:
    """Tell whether a place is written to, not replaced: a device, a pipe, or where standard output goes already."""
    try:
        there = path.stat()
    except FileNotFoundError:  # a new file
        return False
    return not stat.S_ISREG(there.st_mode) or any(_leads_to(there, descriptor) for descriptor in (1, 2))


def _leads_to(there: os.stat_result, descriptor: int) -> bool:
    try:
        return os.path.samestat(there, os.fstat(descriptor))
    except OSError:  # it is closed
        return False


@contextmanager
def _complaining(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _encodes(text: str) -> bool:
    try:
        text.encode(standard_output().encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
