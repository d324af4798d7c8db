"""Pages of documentation and lists for the terminal, from docstrings."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

INDENT = "  "
# A paragraph that is indented by this is kept as it stands.
FORMULA = "    "


def page(title: str, doc: str, width: int) -> str:
    """Return a docstring as a page: the title, the summary, then each section under its name, wrapped.

    Formulas, which are indented, keep their lines.
    """
    lines = [title]
    for part in re.split(r"\n\s*\n", plain(doc).strip()):
        name, _, rest = part.partition("\n")
        underline, _, body = rest.partition("\n")
        if underline and set(underline.strip()) == {"-"}:
            lines += ["", name]
        else:
            body = part
        if all(line.startswith(FORMULA) for line in body.splitlines()):
            lines += ["", *(INDENT + line for line in body.splitlines()), ""]
            continue
        lines += textwrap.wrap(" ".join(body.split()), width, initial_indent=INDENT, subsequent_indent=INDENT)
    # A formula and the heading behind it ask for a blank line each: one is enough.
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines).rstrip()) + "\n"


def plain(text: str) -> str:
    """Return text without the marks of code that docstrings have."""
    return text.replace("``", "")


def paragraph(text: str, width: int) -> str:
    """Return running text, wrapped."""
    return textwrap.fill(text, width) + "\n"


def columns(rows: Sequence[Sequence[str]], width: int) -> str:
    """Return rows of texts in columns; the last one is wrapped, and empty columns are left out."""
    kept = [column for column in zip(*rows, strict=True) if any(column)]
    widths = [max(map(len, column)) for column in kept[:-1]]
    indent = " " * sum(size + 2 for size in widths)
    lines: list[str] = []
    for row in zip(*kept, strict=True):
        start = "".join(f"{text:<{size}}  " for text, size in zip(row, widths, strict=False))
        room = max(width, len(indent) + 20)
        lines += textwrap.wrap(row[-1], room, initial_indent=start, subsequent_indent=indent) or [start.rstrip()]
    return "".join(f"{line}\n" for line in lines)
