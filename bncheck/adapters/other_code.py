"""Files that are no Python: what they are, and how the program that they are, or become, is verified."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

# Source that a compiler makes a program of, and source that another program runs, by the ending of the file.
_COMPILED = frozenset(
    ".c .cc .cpp .cxx .c++ .cu .cs .d .f .f90 .f95 .f03 .go .hs .java .kt .ml .nim .pas .rs .swift .zig".split()
)
_RUN_BY = {
    ".jl": "julia",
    ".js": "node",
    ".lua": "lua",
    ".m": "octave",
    ".pl": "perl",
    ".py": "python",
    ".r": "Rscript",
    ".rb": "ruby",
    ".sh": "sh",
}


def as_program(file: Path) -> str:
    """Return in a sentence how a file that is no Python is verified; "" if it is not known to be a program."""
    if not file.is_file():
        return ""
    suffix = file.suffix.lower()
    if suffix in _COMPILED:
        return f"Compile it first, and verify the program: bncheck verify --exec {_called(file.stem, file)}"
    if suffix in _RUN_BY:
        return f"A program is verified with --exec: bncheck verify --exec {shlex.quote(f'{_RUN_BY[suffix]} {file}')}"
    if os.access(file, os.X_OK):
        return f"A program is verified with --exec: bncheck verify --exec {_called(file.name, file)}"
    return ""


def unstarted(command: str) -> str:
    """Return in a clause why a command may not have started, beside what the system says; "" where nothing is seen."""
    file = Path(command)
    suffix = file.suffix.lower()
    if command and file.is_dir():
        return "it is a folder"
    if not file.is_file():
        return ""
    if suffix in _COMPILED:
        return "it is source code: compile it first"
    if not os.access(file, os.X_OK):
        return f"give {_RUN_BY[suffix]} {file}" if suffix in _RUN_BY else f"it is no program, or not executable: {file}"
    if os.sep not in command:
        return f"a program of this folder is called with its path: {_called(file.name, file)}"
    return ""


def _called(name: str, file: Path) -> str:
    """Return a program's name with the folder of a file, as a shell wants it."""
    place = file.with_name(name)
    return shlex.quote(str(place) if place.is_absolute() or len(place.parts) > 1 else f".{os.sep}{place}")
