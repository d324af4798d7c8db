"""The commands that show what bncheck knows: ``explain`` and ``list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from bncheck.errors import UsageError
from bncheck.options import examples
from bncheck.registry import Registry, did_you_mean

if TYPE_CHECKING:
    from bncheck.bugs.catalogue import Bug
    from bncheck.checks.catalogue import Check
    from bncheck.pages.catalogue import Page

LISTS = {
    "adapters": ("bncheck.adapters.protocol", "ADAPTERS"),
    "bugs": ("bncheck.bugs.catalogue", "BUGS"),
    "checks": ("bncheck.checks.catalogue", "CHECKS"),
    "pages": ("bncheck.pages.catalogue", "PAGES"),
    "recipes": ("bncheck.cases.recipes", "RECIPES"),
    "reporters": ("bncheck.reporters", "REPORTERS"),
}


@click.command()
@click.argument("codes", nargs=-1, metavar="CODE...")
@examples(
    "bncheck explain BN201",
    "bncheck explain dx-matches-numeric",
    "bncheck explain BUG211",
    "bncheck explain train-and-eval",
)
def explain(codes: tuple[str, ...]) -> None:
    """Explain a check (what it promises, why that matters, what usually breaks it), or a bug that reports name.

    There are pages for beginners too; without CODE they are listed.
    """
    from bncheck.bugs.catalogue import BUGS
    from bncheck.checks.catalogue import CHECKS
    from bncheck.pages.catalogue import PAGES, about
    from bncheck.reporters.destination import width, write_out
    from bncheck.reporters.pages import columns, page

    if not codes:
        rows = [(name, _first_line(item)) for name, item in PAGES.items()]
        write_out(f"Pages for beginners; checks and bugs have theirs by code.\n\n{columns(rows, width())}")
        return
    known: list[Check | Bug] = [item for registry in (CHECKS, BUGS) for _, item in registry.items()]
    by_name: dict[str, Check | Bug | Page] = {item.name: item for item in known}
    by_name |= {item.code: item for item in known} | dict(PAGES.items())
    wanted = [next((name for name in (code, code.upper(), code.lower()) if name in by_name), code) for code in codes]
    for code, name in zip(codes, wanted, strict=True):
        if name not in by_name:
            speaking = about(code, {item.name: item.doc for item in known}, {n: p.doc for n, p in PAGES.items()})
            is_code = code[:2].upper() in ("BN", "BU")  # two digits of a code that differ are no slip
            near = did_you_mean(code.upper() if is_code else code.lower(), by_name, 0.7 if is_code else 0.5)
            hint = f"Did you mean {' or '.join(speaking)}?" if speaking else near if "Did you" in near else ""
            listed = "bncheck explain lists the pages, bncheck list checks the checks."
            raise UsageError(f"no check, bug or page is called {code!r}. {hint or listed}")
    items = [by_name[name] for name in wanted]
    titles = [" ".join(filter(None, (getattr(item, "code", ""), item.name))) for item in items]
    write_out("\n".join(page(title, item.doc, width()) for title, item in zip(titles, items, strict=True)))


@click.command("list")
@click.argument("what", required=False, metavar=f"[{'|'.join(LISTS)}]")
@examples(
    "bncheck list checks",
    "bncheck list recipes",
)
def list_(what: str | None) -> None:
    """List what bncheck knows, one line each.

    Without a name: what can be listed.
    """
    import importlib

    from bncheck.reporters.destination import width, write_out
    from bncheck.reporters.pages import columns

    if what is None:
        write_out("".join(f"bncheck list {name}\n" for name in LISTS))
        return
    if what not in LISTS:
        raise UsageError(f"there is no list of {what!r}. {did_you_mean(what, LISTS)}")
    module, name = LISTS[what]
    registry: Registry[Any] = getattr(importlib.import_module(module), name)
    rows = [(key, getattr(item, "name", ""), _first_line(item)) for key, item in registry.items()]
    write_out(columns(rows, width()) if rows else f"No {what} are named yet.\n")


def _first_line(item: Any) -> str:
    doc = getattr(item, "doc", None) or getattr(item, "__doc__", None) or ""
    return str(doc).strip().partition("\n")[0]
