"""Waiting for files to be saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bncheck.errors import UsageError
from bncheck.settings import is_file

# How long the first answer takes, in milliseconds, and how often an interrupt is looked for.
_BEAT = 100


def saved(targets: Sequence[str]) -> Iterator[None]:
    """Yield at once, and then whenever a source beside one of the targets was saved, until KeyboardInterrupt.

    What is saved while the caller is busy is not missed. What a target imports from its own folder counts, too; for
    targets that are modules the current folder is watched.

    Raises
    ------
    UsageError
        If watchfiles is not installed.

    """
    try:
        from watchfiles import PythonFilter, watch
    except ImportError:
        raise UsageError("watching needs the package watchfiles: pip install 'bncheck[watch]'") from None
    folders = {Path(t.partition("::")[0]).resolve().parent if is_file(t) else Path.cwd() for t in targets}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder}")
    sources = PythonFilter(extra_extensions=(".ipynb",))
    # The first answer comes from a watch that has begun.
    for i, changes in enumerate(watch(*folders, watch_filter=sources, rust_timeout=_BEAT, yield_on_timeout=True)):
        if changes or not i:
            yield
