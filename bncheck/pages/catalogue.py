"""The registry of pages: a name, and a text of sections."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bncheck.registry import Registry


@dataclass(frozen=True, slots=True)
class Page:
    """A page: the first paragraph answers in short, "In full", "What goes wrong", "By hand" and "References" follow."""

    name: str
    doc: str


PAGES: Registry[Page] = Registry("page", "bncheck.pages")


def page(name: str, doc: str) -> None:
    """Register a page."""
    PAGES.add(name, Page(name, doc.strip()))


# How many pages are named to somebody who asked for a word that has none.
_NAMED = 3
# A page for beginners counts as much as a check that speaks of the word so much oftener.
_FOR_BEGINNERS = 4
_SHORT = 3


def about(word: str, docs: dict[str, str], pages: dict[str, str]) -> list[str]:
    """Return the names of the few that speak most of a word: those that have it in their name first.

    Parameters
    ----------
    word : str
        What was asked for: "momentum".
    docs, pages : dict of str to str
        Texts by name: of checks and bugs, and of pages for beginners.

    """
    whole = r"(?![a-z])" if len(word) <= _SHORT else ""  # a longer one may be the beginning of a word
    wanted = re.compile(rf"(?<![a-z]){re.escape(word.lower())}{whole}")
    ranks = {}
    for name, text in (docs | pages).items() if word else ():
        count = len(wanted.findall(text.lower())) * (_FOR_BEGINNERS if name in pages else 1)
        titled = wanted.search(name) is not None
        if count or titled:
            ranks[name] = (titled, titled and name in pages, count)
    return sorted(ranks, key=lambda name: ranks[name], reverse=True)[:_NAMED]
