"""Which formats of a report go where: the one rule for the command line and for pytest."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bncheck.errors import UsageError
from bncheck.report import Report
from bncheck.reporters import AHEAD, REPORTERS
from bncheck.reporters.destination import opened, style_for
from bncheck.reporters.wording import several

# Endings that are no names of formats, and not those of a format either.
_ENDINGS = {"xml": "junit", "md": "markdown", "htm": "html", "txt": "plain"}
STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class Output:
    """One format of a report and its file; None is standard output."""

    form: str
    path: Path | None


def outputs(forms: Sequence[str], paths: Sequence[Path], default: str) -> list[Output]:
    """Return what is to be written where: the n-th format goes to the n-th file, one format more to standard output.

    Parameters
    ----------
    forms : sequence of str
        Names of formats. Without any, each file has the format that its name ends in.
    paths : sequence of Path
        The files; "-" is standard output.
    default : str
        The format of standard output where none is given.

    Raises
    ------
    UsageError
        If they do not pair up, or two would be written to one place.

    """
    places = [None if str(path) == STANDARD_OUTPUT else path for path in paths]
    if not forms:
        found = [Output(default if place is None else form_of(place), place) for place in places]
        found = found or [Output(default, None)]
    elif len(places) > len(forms):
        raise UsageError(f"{len(places)} outputs and {len(forms)} formats: each --output belongs to one --format")
    else:
        rest = [None] * (len(forms) - len(places))
        found = [Output(form, place) for form, place in zip(forms, [*places, *rest], strict=True)]
        _refuse_exchanged(found)
    for output in found:
        REPORTERS.get(output.form)
    _refuse_shared(found)
    return found


def form_of(path: Path) -> str:
    """Return the format that a file's name ends in, plain text where it ends in none."""
    ending = path.suffix.removeprefix(".").lower()
    form = _ENDINGS.get(ending, ending)
    return form if form in REPORTERS.names() else "plain"


def _refuse_exchanged(found: list[Output]) -> None:
    """Refuse files that say by their ending that they are meant for a format that goes to standard output."""
    printed = [output.form for output in found if output.path is None]
    for output in found:
        if output.path is not None and output.form != (meant := form_of(output.path)) in printed:
            raise UsageError(
                f"{output.path} belongs to --format {output.form}, as the first output to the first format: "
                f"name {meant} before, or give standard output its place with --output -"
            )


def _refuse_shared(found: list[Output]) -> None:
    printed = [output.form for output in found if output.path is None]
    if len(printed) > 1:
        raise UsageError(f"{several(printed)} cannot both be printed: give --output FILE for all but one")
    real = [os.path.realpath(output.path) for output in found if output.path is not None]
    twice = next((path for at, path in enumerate(real) if path in real[:at] and path != os.devnull), None)
    if twice is not None:
        raise UsageError(f"two formats cannot both be written to {twice}")


@contextmanager
def writing(wanted: Sequence[Output], verbose: bool) -> Iterator[Callable[[Report], None]]:
    """Yield what writes a report to its places; each file whole or not at all.

    Raises
    ------
    UsageError
        If a file cannot be written: at once, before there is a report.

    """
    _load_ahead({output.form for output in wanted})
    with ExitStack() as stack:
        writers = [(output, stack.enter_context(opened(output.path))) for output in wanted]

        def write(report: Report) -> None:
            texts = [
                (to, REPORTERS.get(output.form)(report, style_for(output.path, verbose))) for output, to in writers
            ]
            for to, text in texts:
                to(text)

        yield write


def _load_ahead(forms: set[str]) -> None:
    """Import what formats need while the user's code runs: some libraries take as long as a small run."""
    modules = [module for form in forms for module in AHEAD.get(form, ())]
    if modules:
        threading.Thread(target=_load, args=(modules,), daemon=True).start()


def _load(modules: Sequence[str]) -> None:
    for module in modules:
        with suppress(Exception):  # a library that is broken is told of by the format that needs it
            importlib.import_module(module)


def written_to(wanted: Sequence[Output]) -> str:
    """Return in words where the files are, "" if there are none."""
    paths = [str(output.path) for output in wanted if output.path is not None]
    return f"the {'report is' if len(paths) == 1 else 'reports are'} in {several(paths)}" if paths else ""
