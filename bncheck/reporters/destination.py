"""Where a report goes, standard output or a file, and what can be shown there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bncheck.errors import UsageError
from bncheck.reporters import Style

# Longer lines are hard to read; on a narrower screen the numbers no longer fit.
NARROWEST, WIDEST = 40, 120
# A file is read in an editor, or in a log.
IN_A_FILE = 100


def width() -> int:
    """Return the columns of the terminal, 80 where there is none, within what is readable."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, NARROWEST), WIDEST)


def style_for(output: Path | None, verbose: bool) -> Style:
    """Return what `output`, or standard output, can show.

    Colour only on a terminal, unless FORCE_COLOR asks for it; never where NO_COLOR is set.
    """
    if output is not None:
        return Style(width=IN_A_FILE, verbose=verbose)
    color = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    color = (color or bool(os.environ.get("FORCE_COLOR"))) and not os.environ.get("NO_COLOR")
    return Style(width(), color, not _encodes("✔✘◀─→·"), verbose)


def write_out(text: str) -> None:
    """Write to standard output; end quietly if nobody reads it any more (``| head``)."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it exits, and would complain; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def opened(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield what writes the report: to standard output, or to the file `path`, whole or not at all.

    The file is opened at once, so that a wrong path costs no run, under a temporary name in the same folder; it gets
    its own name when it is complete.

    Raises
    ------
    UsageError
        If the file cannot be written.

    """
    if path is None:
        yield write_out
        return
    path = Path(os.path.realpath(path))
    # A device or a pipe is written to, not replaced.
    special = path.exists() and not path.is_file()
    place = path if special else path.with_name(f".{path.name[:100]}.{os.getpid()}.tmp")
    texts: list[str] = []
    try:
        with _complaining(path):
            place.open("a" if special else "x").close()
        yield texts.append
        with _complaining(path):
            place.write_text("".join(texts), encoding="utf-8", errors="backslashreplace")
            if not special:
                place.replace(path)
    finally:
        if not special:
            place.unlink(missing_ok=True)


@contextmanager
def _complaining(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _encodes(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
