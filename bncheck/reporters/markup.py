"""Foreign text in Markdown, as GitHub reads it.

Escaping with backslashes is not enough there: what looks like a web address, a @mention or an #issue becomes a link
after the Markdown has been read. In a code span nothing does, so everything that is not plain words stands in one.
"""

from __future__ import annotations

import re

from bncheck.reporters.wording import LONGEST, clean

# A word or a number of a sentence, without a character that Markdown, or GitHub after it, gives a meaning.
_NUMBER = r"(?:\.[0-9]+)?(?:e-?[0-9]+)?"
_PLAIN = re.compile(rf"\(?[A-Za-z0-9]+{_NUMBER}(?:['_/-][A-Za-z]+)*(?:=[A-Za-z0-9]+{_NUMBER})?%?[,;:.]?\)?[,;:.]?|[=/]")
_NUMBERED = re.compile(r"[0-9]+[.)]")
# What they escape in a sentence of our own; the rest of it is harmless.
_MEANT = re.compile(r"([\\`*_\[\]<>|#~])")
# A cell ends at a pipe, even in a code span.
_PIPE = "&#124;"
_FENCE = re.compile("`+")


def words(text: str) -> str:
    """Return foreign text for a paragraph: as it is where it is plain words, else as code."""
    text = clean(text)
    return text if _is_plain(text) else code(text)


def prose(text: str) -> str:
    """Return a sentence of our own pages, with what stands between two backticks as code."""
    parts = text.split("``")
    return "".join(code(part) if at % 2 else _MEANT.sub(r"\\\1", part) for at, part in enumerate(parts))


def code(text: str, longest: int = LONGEST) -> str:
    """Return foreign text, on one line, as a code span; "" for none."""
    text = clean(text, longest=longest)
    if not text.strip(" "):
        return ""
    marks = "`" * (_longest_run(text) + 1)
    # One blank on each side is taken off again; it keeps a backtick apart from the marks.
    room = " " if "`" in (text[0], text[-1]) or text[0] == text[-1] == " " else ""
    return f"{marks}{room}{text}{room}{marks}"


def cell(text: str) -> str:
    """Return foreign text for a cell of a table."""
    text = clean(text)
    return _PIPE.join(part if _is_plain(part) else code(part) for part in text.split("|"))


def fenced(text: str, language: str = "") -> str:
    """Return lines as a block of code whose fence is longer than any run of backticks in them."""
    marks = "`" * max(_longest_run(text) + 1, 3)
    return f"{marks}{language}\n{text}\n{marks}"


def _is_plain(text: str) -> bool:
    # What begins with a sign or with "1." might be a heading or a list.
    starts = text[:1] not in ("", "=", "/") and not _NUMBERED.match(text)
    return starts and all(_PLAIN.fullmatch(word) for word in text.split(" "))


def _longest_run(text: str) -> int:
    return max((len(run) for run in _FENCE.findall(text)), default=0)
