"""The pages of checks and bugs, for reports that carry them along."""

from __future__ import annotations

import importlib
import re
from typing import Any, NamedTuple

from bncheck.errors import UsageError
from bncheck.reporters.markup import fenced, prose, words
from bncheck.reporters.pages import FORMULA, page, plain

# Editors wrap lines of their own; mails and logs do not.
_WIDTH = 100


class Entry(NamedTuple):
    """What is to be read about a check or a bug: one sentence, one paragraph, and the page in text and in Markdown."""

    short: str
    full: str
    text: str
    markdown: str


def entry(code: str, name: str) -> Entry:
    """Return the entry of a code; only its name is known of one that another version of bncheck had."""
    doc = _doc(code)
    if not doc:
        return Entry(name, name, name, words(name))
    first, _, rest = doc.partition("\n\n")
    short = plain(" ".join(first.split()))
    paragraph = plain(" ".join(_body(rest.partition("\n\n")[0]).split()))
    title = f"{code} {name}"
    return Entry(short, paragraph or short, page(title, doc, _WIDTH), _markdown(doc))


def typical_causes(code: str) -> str:
    """Return what usually makes a check fail, as its page has it; "" where this version has no page for it."""
    _, _, section = _doc(code).partition(f"{_CAUSES}\n{'-' * len(_CAUSES)}\n")
    return " ".join(section.partition("\n\n")[0].split())


_CAUSES = "Typical causes"


def _doc(code: str) -> str:
    """Return the page of a check or a bug; "" where this version has none for it."""
    place = "bugs" if code.startswith("BUG") else "checks"
    # Found by name, because checks and bugs live above the reporters.
    registry: Any = getattr(importlib.import_module(f"bncheck.{place}.catalogue"), place.upper())
    try:
        return str(registry.get(code).doc).strip()
    except UsageError:  # a stored report may hold a code of another version
        return ""


def _body(part: str) -> str:
    """Return a part of a page without the heading above it."""
    _, _, rest = part.partition("\n")
    underline, _, body = rest.partition("\n")
    return body if underline and set(underline.strip()) == {"-"} else part


def _markdown(doc: str) -> str:
    """Return a page in Markdown; its formulas, which are indented, as code."""
    parts = []
    for part in re.split(r"\n\s*\n", doc.strip()):
        body = _body(part)
        if body != part:
            parts.append(f"### {part.partition(chr(10))[0]}")
        if all(line.startswith(FORMULA) for line in body.splitlines()):
            parts.append(fenced("\n".join(line.removeprefix(FORMULA) for line in body.splitlines())))
        else:
            parts.append(prose(" ".join(body.split())))
    return "\n\n".join(parts) + "\n"
