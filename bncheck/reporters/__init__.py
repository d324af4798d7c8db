"""Reporters: each turns a report into a text. A module here that registers one is all that a new format needs."""

from __future__ import annotations

import os
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
    only : str
        The code of the one check to show of each target, "" for all of them.

    """

    width: int = 80
    color: bool = False
    ascii: bool = False
    verbose: bool = False
    only: str = ""


Reporter = Callable[[Report, Style], str]

# Formats that need more than is always installed: the extra has the format's name.
NEEDED = {"html": ("jinja2", "matplotlib")}
# Modules that take long to import, and are needed only when the report is written. A backend that matplotlib does not
# know makes its import fail: where one is chosen, that waits until the choice can be hidden.
AHEAD = {"html": ("jinja2",) if "MPLBACKEND" in os.environ else ("matplotlib.backends.backend_svg", "jinja2")}
# Other names of formats: what a file of that format ends in.
ENDINGS = {"xml": "junit", "md": "markdown", "htm": "html", "txt": "plain"}
# What people read, in the encoding of their terminal; all else is for programs, and UTF-8 everywhere.
FOR_PEOPLE = ("plain", "rich", "short")


class _Reporters(Registry[Reporter]):
    def get(self, name: str) -> Reporter:
        """Return a reporter; raise UsageError, before anything runs, if a library that it needs is not installed."""
        if name in ENDINGS:
            raise UsageError(f"no format is called {name!r}. Did you mean {ENDINGS[name]}?")
        reporter = super().get(name)
        if missing := [library for library in NEEDED.get(name, ()) if find_spec(library) is None]:
            raise UsageError(f"the format {name} needs {' and '.join(missing)}: pip install 'bncheck[{name}]'")
        return reporter


REPORTERS = _Reporters("format", "bncheck.reporters")
