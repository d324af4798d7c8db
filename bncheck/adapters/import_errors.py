"""What to say about a file or a module that cannot be loaded."""

from __future__ import annotations

import re
from pathlib import Path

from bncheck import guard
from bncheck.adapters.standins import misspelt
from bncheck.errors import TargetError

_PYTHON_2 = re.compile(
    rb"""^\s*(?:print\s+["'\w]|print$|exec\s+["'\w]|except\s+[\w.]+\s*,\s*\w+\s*:|raise\s+\w+\s*,)|<>|\bur["']""",
    re.MULTILINE,
)


def is_python_2(error: SyntaxError, text: bytes) -> bool:
    """Tell whether a source that is not valid Python looks like Python 2 at the place where it fails."""
    lines = text.splitlines()
    line = lines[error.lineno - 1] if error.lineno and error.lineno <= len(lines) else b""
    return bool(_PYTHON_2.search(line)) or "Missing parentheses" in error.msg


class explaining:  # noqa: N801 - used as a context manager, which reads as a verb
    """Turn whatever an import raises inside the block into one message."""

    def __init__(self, label: str, file: str) -> None:
        self._label, self._file = label, file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind_of: object, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt | TargetError):
            raise TargetError(explain(error, self._label, self._file)) from None


def explain(error: BaseException, label: str, file: str) -> str:
    """Return what to say about an import that failed."""
    line = next((n for f, n in reversed(list(guard.user_lines(error))) if f == file), None)
    place = f" (line {line})" if line else f" ({guard.where(error)})" if guard.where(error) else ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        if error.name == label or label.startswith(f"{error.name}."):
            return f"{label}: there is no module {error.name!r} on the path. Run from the folder that holds it."
        if meant := misspelt(error.name):
            return f"{label} imports {error.name!r}{place}: no such module is found. Did you mean {meant}?"
        return (
            f"{label} imports {error.name!r}{place}, which is not installed here. Install it, or, if the batch norm "
            "does not need it, move that import out of the way (into the function that uses it, or under try)."
        )
    if isinstance(error, SystemExit):
        return (
            f"{label} exits when it is imported{place}. Put what should only run as a script under "
            '`if __name__ == "__main__":`.'
        )
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{label} imports {Path(error.filename or '?').name}, which has a syntax error in line {error.lineno}."
    return f"importing {label} raised {type(error).__name__}: {guard.one_line(error)}{place}."
