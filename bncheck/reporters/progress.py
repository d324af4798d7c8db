"""How far a run is, on a terminal or in a notebook; nothing is left of it behind."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from bncheck.report import Progress
from bncheck.reporters.wording import clean

if TYPE_CHECKING:
    from rich.console import OverflowMethod

Show = Callable[[Progress], None]
# Below these columns there is no room for a bar beside numbers and a name, or for anything beside the numbers.
_ROOMY, _NARROW = 76, 50
# Seconds before a notebook gets a bar: whatever is over sooner should leave nothing but its report in the cell.
PATIENCE = 2.0


@contextmanager
def on_terminal(quiet: bool) -> Iterator[Show | None]:
    """Yield what shows a bar on standard error; None where that is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape as plain
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    console = Console(stderr=True)
    # The rest of the line is for the name; a bar and the time that has gone give way on a narrow screen.
    cut: OverflowMethod = "crop" if console.options.ascii_only else "ellipsis"
    name = TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow=cut))
    failing = TextColumn("{task.fields[failing]}", table_column=Column(no_wrap=True))
    wide = (BarColumn(bar_width=12), TimeElapsedColumn()) if console.width >= _ROOMY else ()
    times = (TextColumn("{task.fields[rate]}"), TimeRemainingColumn(compact=True)) if console.width >= _NARROW else ()
    columns = (*wide[:1], MofNCompleteColumn(), *wide[1:], failing, *times, name)
    with Bar(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task("starting", total=None, rate="", failing="")

        def show(progress: Progress) -> None:
            if progress.done == 1 or progress.done == progress.read:
                # Another target, or what a journal has, which is read faster than it runs: rates begin anew.
                bar.reset(task, completed=progress.done)
            speed = bar.tasks[0].speed
            rate = f"{speed:.0f} cases/s, left:" if speed else ""
            bar.update(
                task, description=plain(clean(progress.target)), completed=progress.done, total=progress.total,
                rate=rate, failing=_failing(progress),
            )  # fmt: skip

        yield show


@contextmanager
def in_notebook() -> Iterator[Show | None]:
    """Yield what shows a bar below the running cell once it takes long; None outside of notebooks."""
    shell = _shell()
    if shell is None:
        yield None
        return
    page: Any = importlib.import_module("IPython.display")
    handle: Any = None
    shown, begun = -1, time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal handle, shown
        percent = 100 * progress.done // progress.total
        # A message for each case would be slower than the cases.
        if percent == shown or time.monotonic() - begun < PATIENCE:
            return
        shown = percent
        bar = f'<progress value="{progress.done}" max="{progress.total}"></progress>'
        said = ", ".join(filter(None, (_failing(progress), clean(progress.target))))
        picture = page.HTML(f"{bar} {progress.done}/{progress.total} {escape(said)}")
        if handle is None:
            handle = page.display(picture, display_id=True)
        else:
            handle.update(picture)

    try:
        yield show
    finally:
        if handle is not None:  # an output of a cell cannot be taken back, only emptied
            handle.update({"text/plain": ""}, raw=True)


def _shell() -> Any:
    """Return the shell of a notebook's kernel, None elsewhere; IPython in a terminal is no notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if shell is not None and hasattr(shell, "kernel") else None


def _failing(progress: Progress) -> str:
    return f"{progress.failures} failing" if progress.failures else ""
