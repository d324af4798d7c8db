"""Reporters: each turns a report into a text. A module here that registers one is all that a new format needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from bncheck.errors import UsageError
from bncheck.registry import Registry
from bncheck.report import Report


@dataclass(frozen=True, slots=True)
class Style:
    """What the reader's screen can show.

    Attributes
    ----------
    width : int
        Columns; only the replay command may be longer, so that it can be copied whole.
    color : bool
        Whether ANSI colours are understood.
    ascii : bool
        Whether only ASCII can be shown.
    verbose : bool
        Whether to show what passed, and every number.

    """

    width: int = 80
    color: bool = False
    ascii: bool = False
    verbose: bool = False


Reporter = Callable[[Report, Style], str]

# Formats that need more than is always installed: the extra has the format's name.
NEEDED = {"html": ("jinja2", "matplotlib")}
# Modules that take long to import, and are needed only when the report is written.
AHEAD = {"html": ("matplotlib.figure", "matplotlib.backends.backend_svg", "jinja2")}


class _Reporters(Registry[Reporter]):
    def get(self, name: str) -> Reporter:
        """Return a reporter; raise UsageError, before anything runs, if a library that it needs is not installed."""
        reporter = super().get(name)
        for library in NEEDED.get(name, ()):
            if find_spec(library) is None:
                raise UsageError(f"the format {name} needs {library}: pip install 'bncheck[{name}]'")
        return reporter


REPORTERS = _Reporters("format", "bncheck.reporters")
