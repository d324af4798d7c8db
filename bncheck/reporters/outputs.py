"""Which formats of a report go where: the one rule for the command line and for pytest."""

from __future__ import annotations

import importlib
import os
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bncheck.errors import BncheckError, UsageError
from bncheck.registry import did_you_mean
from bncheck.report import Report
from bncheck.reporters import AHEAD, ENDINGS, FOR_PEOPLE, REPORTERS
from bncheck.reporters.destination import SOURCES, opened, style_for
from bncheck.reporters.wording import clean, several

STANDARD_OUTPUT = "-"
# A path is told whole, so that it can be copied.
_LONGEST_PATH = 5000


@dataclass(frozen=True, slots=True)
class Output:
    """One format of a report and its file; None is standard output."""

    form: str
    path: Path | None

    @property
    def is_for_programs(self) -> bool:
        """Tell whether it is read by programs, which expect UTF-8, and not only by people."""
        return self.form not in FOR_PEOPLE


def outputs(forms: Sequence[str], paths: Sequence[Path], quiet: bool = False) -> list[Output]:
    """Return what is to be written where.

    The n-th format goes to the n-th file, one format more to standard output. Where there are fewer formats than files,
    each file has the format that its name ends in, and the format that none of them ends in goes to standard output.

    Parameters
    ----------
    forms : sequence of str
        Names of formats.
    paths : sequence of Path
        The files; "-" is standard output.
    quiet : bool
        Whether standard output gets one line per target where nothing else goes there.

    Raises
    ------
    UsageError
        If they do not pair up, or two would be written to one place.

    """
    forms = [form.lower() for form in forms]
    for form in forms:
        REPORTERS.get(form)
    default = "short" if quiet else "rich"
    places = [None if str(path) == STANDARD_OUTPUT else path for path in paths]
    if len(places) > len(forms):
        found = _by_endings(forms, places, default)
    else:
        found = [Output(form, place) for form, place in zip(forms, _filled(places, len(forms)), strict=True)]
        _refuse_exchanged(found)
    if not found or (quiet and all(output.path is not None for output in found)):
        found.append(Output(default, None))
    for output in found:
        REPORTERS.get(output.form)
    _refuse_shared(found)
    return found


# What texts end in that say no more of their format: a slip is none of them.
_TEXTS = ("", "log", "out", "text")


def form_of(path: Path) -> str:
    """Return the format that a file's name ends in, plain text where it says no more; refuse what may be a slip."""
    form = _ending(path)
    ending = path.suffix.removeprefix(".").lower()
    # A pipe has any name; source code that is there is refused for what it is, where it would be written to.
    told_later = path.exists() and (not path.is_file() or path.suffix.lower() in SOURCES)
    if form is not None or ending in _TEXTS or told_later:
        return form or "plain"
    known = sorted({*ENDINGS, *REPORTERS.names()})
    raise UsageError(
        f"{path} ends in the name of no format. {did_you_mean(ending, known)} What ends in .txt is text; where "
        "the format is given, a file may be called anything"
    )


def _ending(path: Path) -> str | None:
    """Return the format that a file's name ends in, if any; SARIF may be called ``.sarif.json``."""
    if [suffix.lower() for suffix in path.suffixes[-2:]] == [".sarif", ".json"]:
        return "sarif"
    ending = path.suffix.removeprefix(".").lower()
    form = ENDINGS.get(ending, ending)
    return form if form in REPORTERS.names() else None


def _filled(places: list[Path | None], size: int) -> list[Path | None]:
    return [*places, *[None] * (size - len(places))]


def _by_endings(forms: Sequence[str], places: Sequence[Path | None], default: str) -> list[Output]:
    """Return the files with the formats that they end in; what no file claims is printed."""
    odd = next((place for place in places if place is not None and forms and _ending(place) is None), None)
    if odd is not None:
        raise UsageError(
            f"{len(places)} outputs and {len(forms)} formats: each --output belongs to one --format, "
            f"or ends in the name of its own, and {odd} does not"
        )
    files = [Output(form_of(place), place) for place in places if place is not None]
    left = [form for form in forms if form not in {output.form for output in files}]
    return [*files, *(Output(form, None) for form in left or [default] * places.count(None))]


def _refuse_exchanged(found: Sequence[Output]) -> None:
    """Refuse a file that says by its ending that it is meant for another format. Any text may be in a ``.txt``."""
    for output in found:
        if output.path is not None and (meant := _ending(output.path)) not in (None, "plain", output.form):
            raise UsageError(
                f"{output.path} ends in the name of {meant}, and would get {output.form}, as the first output belongs "
                f"to the first format: {_put_right(found)}"
            )


def _put_right(found: Sequence[Output]) -> str:
    """Return the options in an order in which every ending has its format."""
    files = [output.path for output in found if output.path is not None]
    left = [output.form for output in found if output.form not in map(_ending, files)]
    words = []
    for path in files:
        words += ["--format", _ending(path) or (left.pop(0) if left else "plain"), "-o", str(path)]
    if len(left) > 1:
        return "name each --output after the --format that it belongs to"
    return shlex.join([*words, *(word for form in left for word in ("--format", form))])


def _refuse_shared(found: Sequence[Output]) -> None:
    printed = [output.form for output in found if output.path is None]
    if len(printed) > 1:
        raise UsageError(f"{several(printed)} cannot both be printed: give --output FILE for all but one")
    paths = [output.path for output in found if output.path is not None]
    real = [os.path.realpath(path) for path in paths]
    twice = next((i for i, path in enumerate(real) if path in real[:i] and path != os.devnull), None)
    if twice is not None:
        raise UsageError(f"two formats cannot both be written to {paths[twice]}")


@contextmanager
def writing(wanted: Sequence[Output], verbose: bool) -> Iterator[Callable[[Report], None]]:
    """Yield what writes a report to its places; each file whole or not at all, whatever comes of the others.

    Raises
    ------
    UsageError
        If a file cannot be written: at once, before there is a report, or where that turns out only then.
    RuntimeError
        If a format failed, which is a fault of bncheck; the others are written.

    """
    _load_ahead({output.form for output in wanted})
    with ExitStack() as stack:
        writers = [(output, stack.enter_context(opened(output.path, output.is_for_programs))) for output in wanted]

        def write(report: Report) -> None:
            failed: list[tuple[Output, Exception]] = []
            for output, to in writers:
                try:
                    to(REPORTERS.get(output.form)(report, style_for(output.path, verbose)))
                except Exception as error:  # the other formats are worth having all the same
                    failed.append((output, error))
            if failed:
                raise _one_of(failed, [output for output in wanted if output not in [bad for bad, _ in failed]])

        yield write


def _one_of(failed: Sequence[tuple[Output, Exception]], written: Sequence[Output]) -> Exception:
    """Return one exception for what failed: a fault of bncheck before what the user can mend."""
    where = f"; {there}" if (there := written_to(written)) else ""
    for output, error in failed:
        if not isinstance(error, BncheckError):
            own = RuntimeError(f"the format {output.form} ends in {type(error).__name__}: {error}{where}")
            own.__cause__ = error
            return own
    return UsageError("; ".join(str(error) for _, error in failed) + where)


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
    """Return in words where the files are, "" if there are none; a name is shown, not obeyed."""
    paths = [clean(str(output.path), longest=_LONGEST_PATH) for output in wanted if output.path is not None]
    return f"the {'report is' if len(paths) == 1 else 'reports are'} in {several(paths)}" if paths else ""
