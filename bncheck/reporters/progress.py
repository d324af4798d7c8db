"""How far a run is, on a terminal or in a notebook; nothing is left of it behind."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from bncheck.report import Progress
from bncheck.reporters.wording import clean

Show = Callable[[Progress], None]


@contextmanager
def on_terminal(quiet: bool) -> Iterator[Show | None]:
    """Yield what shows a bar on standard error; None where that is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape as plain
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(progress: Progress) -> None:
            bar.update(task, description=plain(_said(progress)), completed=progress.done, total=progress.total)

        yield show


@contextmanager
def in_notebook() -> Iterator[Show | None]:
    """Yield what shows a bar below the running cell; None outside of notebooks."""
    shell = _shell()
    if shell is None:
        yield None
        return
    page: Any = importlib.import_module("IPython.display")
    handle = page.display(page.HTML(""), display_id=True)
    shown = -1

    def show(progress: Progress) -> None:
        nonlocal shown
        percent = 100 * progress.done // progress.total
        if percent != shown:  # a message for each case would be slower than the cases
            shown = percent
            bar = f'<progress value="{progress.done}" max="{progress.total}"></progress>'
            handle.update(page.HTML(f"{bar} {progress.done}/{progress.total} {escape(_said(progress))}"))

    try:
        yield show
    finally:
        handle.update(page.HTML(""))


def _shell() -> Any:
    """Return the shell of a notebook's kernel, None elsewhere; IPython in a terminal is no notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if shell is not None and hasattr(shell, "kernel") else None


def _said(progress: Progress) -> str:
    return clean(progress.target) + (f", {progress.failures} failing" if progress.failures else "")
