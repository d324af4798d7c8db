"""The registry of pages: a name, and a text of sections."""

from __future__ import annotations

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
