"""Notebooks: JSON of cells, Python with IPython's magics in between, to statements that know their cell."""

from __future__ import annotations

import ast
import json
import linecache
import re
import warnings
from typing import Any, NamedTuple

from bncheck.adapters.definitions import Statement, future_flags, statements_of
from bncheck.adapters.importing import prepare_keras
from bncheck.errors import TargetError

# Lines of IPython's: %magic, !shell, ?help, help?, and what is assigned from a magic or a shell command.
_MAGIC = re.compile(r"^\s*(?:[%!?]|[\w.]+\s*\?{1,2}\s*$|[\w, ]+=\s*[!%])")
# Cell magics behind which Python follows; the others are followed by another language, or by a file's text.
_PYTHON_CELLS = frozenset("time timeit capture prun python python3 py skip".split())
_PYLAB = re.compile(r"^\s*%pylab\b", re.MULTILINE)


class Cell(NamedTuple):
    """One code cell: its number among the code cells, from 1, and its text."""

    number: int
    text: str


def statements(label: str, file: str, text: bytes) -> list[Statement]:
    """Return the statements of a notebook, cell by cell; cells that are no Python are left out.

    Their text is registered with `linecache`, where :func:`inspect.getsource` finds it.

    Parameters
    ----------
    label : str
        What messages call the notebook.
    file : str
        Its path; code in the seventh code cell carries the file name ``path, code cell 7``.
    text : bytes
        Its JSON.

    Raises
    ------
    TargetError
        If it is no notebook, or no Python is in it.

    """
    found: list[Statement] = []
    wrong: list[str] = []
    flags = 0
    cells = _cells(label, text)
    for cell in cells:
        name = f"{file}, code cell {cell.number}"
        lines = without_magics(cell.text)
        try:
            tree = _parsed(lines, name)
        except (SyntaxError, ValueError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            wrong.append(f"code cell {cell.number}{line}: not valid Python ({getattr(error, 'msg', error)})")
            continue
        _register(name, lines)
        flags |= future_flags(tree)
        found += statements_of(tree, name, cell.number, flags)
    if not found:
        said = f": {wrong[0]}" if wrong else ""
        raise TargetError(f"{label}: there is no Python code in its {len(cells)} code cells{said}.")
    _register(file, _joined(found))
    prepare_keras("\n".join(cell.text for cell in cells).encode())
    return found


def _cells(label: str, text: bytes) -> list[Cell]:
    """Return the code cells of a notebook, of version 3 too; raise TargetError for what is none."""
    try:
        book = json.loads(text.decode("utf-8-sig"))
    except ValueError as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise TargetError(f"{label} is no notebook: its JSON is broken{where}. Save it again from Jupyter.") from None
    raw = _raw_cells(book)
    if raw is None:
        raise TargetError(f"{label} is no notebook: it is JSON, but without cells.")
    sources = [c.get("source", c.get("input", "")) for c in raw if isinstance(c, dict) and c.get("cell_type") == "code"]
    if not sources:
        raise TargetError(f"{label} is a notebook without code cells.")
    texts = ["".join(map(str, source)) if isinstance(source, list) else str(source) for source in sources]
    return [Cell(number, source) for number, source in enumerate(texts, 1)]


def _raw_cells(book: Any) -> list[Any] | None:
    if not isinstance(book, dict):
        return None
    if isinstance(book.get("cells"), list):
        cells: list[Any] = book["cells"]
        return cells
    sheets = book.get("worksheets")  # version 3
    if not isinstance(sheets, list):
        return None
    return [cell for sheet in sheets if isinstance(sheet, dict) for cell in sheet.get("cells", [])]


def without_magics(text: str) -> str:
    """Return a cell with a ``pass`` in the place of every line of IPython's; the other lines keep their numbers."""
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    cell_magic = re.match(r"\s*%%(\w+)(.*)", lines[first]) if lines else None
    if cell_magic and cell_magic[1] not in _PYTHON_CELLS:
        writes = cell_magic[1] in ("writefile", "file") and cell_magic[2].strip().endswith(".py")
        if not writes:
            return ""
    if cell_magic:
        lines[first] = ""
    if _is_python("\n".join(lines)):
        return "\n".join(lines) + "\n"
    pylab = "import numpy; import numpy as np" if _PYLAB.search(text) else "pass"
    kept = [_indent(line) + (pylab if "%pylab" in line else "pass") if _MAGIC.match(line) else line for line in lines]
    return "\n".join(kept) + "\n"


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _is_python(text: str) -> bool:
    try:
        _parsed(text, "<cell>")
    except (SyntaxError, ValueError):
        return False
    return True


def _parsed(text: str, name: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text, name)


def _register(name: str, text: str) -> None:
    """Let `inspect` and tracebacks find a text under a file name; without a time it is never looked for on disk."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


def _joined(found: list[Statement]) -> str:
    """Return the definitions of all cells as one text, in which `inspect` looks classes up: the last of each name."""
    last = {name: statement for statement in found if statement.is_definition for name in statement.binds}
    texts = [linecache.cache[s.file][2][s.node.lineno - 1 : s.node.end_lineno] for s in last.values()]  # type: ignore[misc]
    return "\n".join("".join(lines) for lines in texts)
