"""Where in the user's source a target is defined."""

from __future__ import annotations

import inspect
import linecache
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

from bncheck.adapters.hidden import revealed
from bncheck.model import SourceLine

# Longer lines are cut.
_WIDEST = 160


def defined(things: Mapping[str, Any], name: str, source: str) -> SourceLine | None:
    """Return the line where a target begins, None where that cannot be known.

    Parameters
    ----------
    things : mapping
        What the user's module holds, by name.
    name : str
        The name of the target in it, "batchnorm_forward" or "Net.norm".
    source : str
        What the user called the target; the file is named after it.

    """
    try:
        return _line(_named(things, name), source)
    except Exception:  # a hint is not worth a report: whatever user code holds, it does without
        return None


def as_named(file: str, source: str) -> str:
    """Return a file as reports name it: as the user did, or relative to where we are."""
    file, comma, cell = file.partition(".ipynb, ")
    file += ".ipynb" if comma else ""
    named = source.partition("::")[0]
    if not os.path.exists(file):
        file = _cell(file)
    elif os.path.exists(named) and os.path.samefile(named, file):
        file = named
    elif Path(file).is_relative_to(Path.cwd()):
        file = str(Path(file).relative_to(Path.cwd()))
    return f"{file}, {cell}" if comma else file


def shortened(text: str) -> str:
    """Return a line of source that is not too long to be shown."""
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _cell(name: str) -> str:
    """Return what a notebook calls the cell that it runs under the name of a file: "cell In[3]"."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    label = shell.compile.format_code_name(name) if shell is not None else None
    return " ".join((label[0].lower(), *label[1:])) if label else name


def _named(things: Mapping[str, Any], name: str) -> Any:
    """Return what a dotted name stands for, as far as it leads without running anything."""
    head, *rest = name.split(".")
    thing = things[head]
    for part in rest:
        inner = inspect.getattr_static(thing, part, None)
        if not isinstance(inner, FunctionType | type):
            break
        thing = inner
    return thing


def _line(thing: Any, source: str) -> SourceLine | None:
    place = _of_class(thing) if isinstance(thing, type) else _of_code(inspect.unwrap(revealed(thing)))
    if place is None:
        return None
    file, number = place
    lines = linecache.getlines(file)
    text = lines[number - 1].strip() if number <= len(lines) else ""
    return SourceLine(as_named(file, source), number, shortened(text))


def _of_code(thing: Any) -> tuple[str, int] | None:
    """Return the file and the line that a function begins in."""
    code = getattr(thing, "__code__", None)
    return None if code is None else (code.co_filename, code.co_firstlineno)


def _of_class(thing: type) -> tuple[str, int] | None:
    """Return the file and the line of a class statement; the line of the first method where that is not seen."""
    methods = (getattr(value, "__func__", value) for value in vars(thing).values())  # static ones, and of the class
    own = [value for value in methods if isinstance(value, FunctionType)]
    places = [_of_code(method) for method in own if method.__qualname__.startswith(f"{thing.__qualname__}.")]
    first = min((place for place in places if place is not None), key=lambda place: place[1], default=None)
    # Without a method of its own all are those of a class that it derives from.
    file = first[0] if first is not None else str(sys.modules[thing.__module__].__file__)
    lines = linecache.getlines(file)
    number = _head(lines[: first[1]] if first is not None else lines, thing.__name__)
    return (file, number) if number else first


def _head(lines: list[str], name: str) -> int:
    """Return the line of the last statement of a class of that name, 0 where there is none."""
    heads = [at for at, line in enumerate(lines, 1) if line.split("(")[0].split(":")[0].split() == ["class", name]]
    return heads[-1] if heads else 0
