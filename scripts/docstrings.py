"""Docstrings, and pages of `bncheck explain`, into Markdown."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from bncheck.reporters.markup import code, fenced, prose

# Of a page's sections, those that hold a line of code.
_CODE = ("Wrong", "Right")


def doc_of(thing: Any) -> str:
    """Return the docstring without its indentation."""
    return inspect.getdoc(thing) or ""


def first(doc: str) -> str:
    """Return the first paragraph on one line."""
    return " ".join(doc.strip().partition("\n\n")[0].split())


def sections(doc: str) -> dict[str, str]:
    """Return the sections by their headings; what comes before the first has ""."""
    parts = re.split(r"^(\S.*)\n-{3,}$", doc.strip(), flags=re.M)
    return {"": parts[0].strip(), **{n: b.strip("\n") for n, b in zip(parts[1::2], parts[2::2], strict=True)}}


def page(doc: str) -> str:
    """Return a page of `bncheck explain`."""
    parts = []
    for name, body in sections(doc).items():
        parts += [f"### {name}"] * bool(name) + (
            [fenced(textwrap.dedent(body).strip())] if name in _CODE else [paragraphs(body)]
        )
    return "\n\n".join(parts) + "\n"


def paragraphs(text: str) -> str:
    """Return paragraphs; those that are indented are formulas."""
    parts = []
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        lines = part.splitlines()
        if all(line.startswith("    ") for line in lines):
            parts.append(fenced("\n".join(line.removeprefix("    ") for line in lines)))
        else:
            parts.append(inline(" ".join(part.split())))
    return "\n\n".join(parts)


def inline(text: str) -> str:
    """Return a paragraph; names between backticks and references to modules and classes are code."""
    text = re.sub(r"(?::\w+:)?(?<!`)`~?([^`]+)`(?!`)", r"``\1``", text)
    return prose(text)


def fields(body: str) -> dict[str, tuple[str, str]]:
    """Return the entries of a section such as "Attributes": type and text by name."""
    found: dict[str, tuple[str, str]] = {}
    for head, text in re.findall(r"^(\S.*)\n((?:[ ]{4}.*\n?|\n)*)", body + "\n", flags=re.M):
        names, _, kind = head.partition(" : ")
        for name in names.split(", "):
            found[name] = kind, " ".join(text.split())
    return found


def bullets(entries: Mapping[str, tuple[str, str]]) -> str:
    """Return the entries of a section as a list."""
    rows = [(code(name) + (f" ({prose(kind)})" if kind else ""), text) for name, (kind, text) in entries.items()]
    return "\n".join(f"- {name}: {inline(text)}" for name, text in rows)
