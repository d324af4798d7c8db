"""Write docs/reference and docs/tutorial/questions.md anew, from what bncheck's own registries, options and types say.

Nothing on these pages is written by hand: who wants another sentence there changes the docstring or the help text that
it comes from, and runs `make reference`.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import reference_types
from docstrings import doc_of, first, page

from bncheck import pytest_plugin
from bncheck.adapters.protocol import ADAPTERS
from bncheck.bugs.catalogue import BUGS
from bncheck.cases.recipes import RECIPES
from bncheck.checks.catalogue import CHECKS
from bncheck.cli import EXIT_HELP, cli
from bncheck.pages.catalogue import PAGES
from bncheck.reporters import NEEDED, REPORTERS
from bncheck.reporters.markup import code, fenced, prose

DOCS = Path(__file__).resolve().parent.parent / "docs"
WRITTEN = "<!-- Written by `make reference`: do not edit. -->\n\n"
# The page for what no known bug explains; it has a code, and stands with the bugs.
NAMELESS = "BUG000"


class Family(NamedTuple):
    """The checks, or the bugs, whose codes begin alike: the name of their page, its title."""

    prefix: str
    page: str
    title: str


CHECK_FAMILIES = (
    Family("BN1", "forward", "Forward"),
    Family("BN2", "gradients", "Gradients"),
    Family("BN3", "running-statistics", "Running statistics and eval mode"),
    Family("BN4", "numerics", "Numerics"),
    Family("BN5", "contract", "Contract"),
    Family("BN6", "laws", "Laws"),
    Family("BN7", "initial-values", "Initial values"),
    Family("BN8", "learning", "Learning"),
)
BUG_FAMILIES = (
    Family("BUG0", "without-a-name", "Without a name"),
    Family("BUG1", "forward", "Forward"),
    Family("BUG2", "dx", "dx"),
    Family("BUG3", "dgamma", "dgamma"),
    Family("BUG4", "dbeta", "dbeta"),
    Family("BUG5", "precision", "Precision"),
    Family("BUG6", "running-statistics", "Running statistics"),
    Family("BUG7", "eval-mode", "Eval mode"),
    Family("BUG9", "later-steps", "Later steps"),
)


def pages() -> dict[str, str]:
    """Return the text of every page by its path below docs."""
    made = {
        "tutorial/questions.md": questions(),
        "reference/commands.md": commands(),
        "reference/settings.md": reference_types.settings(option),
        "reference/python.md": reference_types.python(),
        "reference/json.md": reference_types.json_schema(),
        "reference/lists.md": lists(),
        "reference/checks.md": index("Checks", _CHECKS_SAY, CHECK_FAMILIES, "checks", _checks()),
        "reference/bugs.md": index("Bugs", _BUGS_SAY, BUG_FAMILIES, "bugs", _bugs()),
    }
    for folder, families, entries in (("checks", CHECK_FAMILIES, _checks()), ("bugs", BUG_FAMILIES, _bugs())):
        for family in families:
            here = f"reference/{folder}/{family.page}.md"
            made[here] = f"# {family.title}\n" + "".join(
                f"\n## {code_} {entry.name}\n\n{linked(entry.text, here)}" for code_, entry in _of(family, entries)
            )
    return {path: f"{WRITTEN}{text.rstrip()}\n" for path, text in made.items()}


# ------------------------------------------------------------------------------------------------------ checks and bugs


class Entry(NamedTuple):
    """A check or a bug: its name, what it is in one sentence, its page."""

    name: str
    short: str
    text: str


_CHECKS_SAY = (
    "What bncheck promises to look at, one check for each promise. `bncheck explain CODE` shows the same page; "
    "`--select` and `--ignore` take codes, and beginnings of codes."
)
_BUGS_SAY = (
    "What a report calls by its name. `bncheck explain CODE` shows the same page. `...` in a line stands for what the "
    "report fills in: a factor, an axis, a number."
)


@cache
def _checks() -> dict[str, Entry]:
    return {
        key: Entry(check.name, first(check.doc), f"{page(check.doc)}\n\n{_about(check)}\n")
        for key, check in CHECKS.items()
    }


def _about(check: Any) -> str:
    """Return a line on how the check judges, and what explains its failure."""
    told = {
        "reference": "Judged against the reference.",
        "numeric": "Judged against the derivative of the code's own forward.",
    }
    sentences = [told.get(check.oracle, "Judged without an oracle.")]
    if check.of_backward:
        sentences.append("Does not apply to a forward alone.")
    if check.follows:
        sentences.append(f"Folded under the first of these that fails: {', '.join(check.follows)}.")
    return " ".join(sentences)


@cache
def _bugs() -> dict[str, Entry]:
    nameless = PAGES.get(NAMELESS)
    bugs = {key: Entry(bug.name, first(bug.doc), page(bug.doc)) for key, bug in BUGS.items()}
    return {NAMELESS: Entry("no-known-bug", first(nameless.doc), page(nameless.doc)), **dict(sorted(bugs.items()))}


def _of(family: Family, entries: Mapping[str, Entry]) -> list[tuple[str, Entry]]:
    return [(key, entry) for key, entry in entries.items() if key.startswith(family.prefix)]


def index(title: str, says: str, families: Iterable[Family], folder: str, entries: Mapping[str, Entry]) -> str:
    """Return the page that lists the checks, or the bugs, and links to each."""
    parts = [f"# {title}", says]
    for family in families:
        rows = [
            f"| [{key}]({folder}/{family.page}.md#{anchor(key, entry.name)}) | {entry.name} | {prose(entry.short)} |"
            for key, entry in _of(family, entries)
        ]
        parts += [f"## {family.title}", "\n".join(["| code | name | |", "|---|---|---|", *rows])]
    return "\n\n".join(parts)


def anchor(key: str, name: str) -> str:
    """Return what a heading is linked by, here and on GitHub."""
    return f"{key} {name}".lower().replace(" ", "-")


def linked(text: str, here: str) -> str:
    """Return Markdown in which codes of checks and bugs are links, seen from the page `here`; code stays as it is."""
    places = _places()

    def link(found: re.Match[str]) -> str:
        if found[0] not in places:
            return found[0]
        path, heading = places[found[0]]
        return f"[{found[0]}]({'' if path == here else _seen_from(here, path)}#{heading})"

    parts = re.split(r"(^```.*?^```$|^#.*?$|`[^`\n]+`)", text, flags=re.M | re.S)
    return "".join(part if at % 2 else re.sub(r"\b(?:BN|BUG)\d{3}\b", link, part) for at, part in enumerate(parts))


@cache
def _places() -> dict[str, tuple[str, str]]:
    """Return the page and the heading of every check and every bug."""
    return {
        key: (f"reference/{folder}/{family.page}.md", anchor(key, entry.name))
        for folder, families, entries in (("checks", CHECK_FAMILIES, _checks()), ("bugs", BUG_FAMILIES, _bugs()))
        for family in families
        for key, entry in _of(family, entries)
    }


def _seen_from(here: str, path: str) -> str:
    return str(Path(*[".."] * here.count("/"), path).as_posix())


# Every page for beginners as somebody asks for it, in the order in which that comes up.
ASKED = {
    "gamma": "What shape have gamma and beta?",
    "initial-values": "What do gamma and beta start from?",
    "gradients": "What are the three gradients?",
    "learning": "How do gamma and beta learn?",
    "train-and-eval": "What differs between training and eval mode?",
    "running-statistics": "Which momentum and which variance belong to the running statistics?",
    "variance": "Is the variance divided by m or by m - 1?",
    "eps": "Where does eps stand?",
    "feature-maps": "What is a channel of an image?",
    "one-value": "What comes out with one value per channel?",
    "beta": "Does the layer before need a bias?",
    "misprint": "Which formula for dx is misprinted?",
    "zero-term": "Is a term of dmu missing?",
    "testing": "How is all this tested?",
}


def questions() -> str:
    """Return the pages for beginners as one."""
    says = "What is asked most, and what is got wrong most. `bncheck explain NAME` shows each answer on the terminal."
    listed = "\n".join(f"- [{question}](#{name})" for name, question in ASKED.items())
    parts = [f"## {name}\n\n{linked(page(PAGES.get(name).doc), 'tutorial/questions.md')}" for name in ASKED]
    return "\n\n".join(["# Questions beginners ask", says, listed, *parts])


# ----------------------------------------------------------------------------------------------------------- commands


def commands() -> str:
    """Return the page of the command line, and of what pytest gets."""
    own = [p for p in cli.params if isinstance(p, click.Option)]
    parts = ["# Commands", "`bncheck COMMAND --help` shows the same on the terminal.", prose(EXIT_HELP)]
    parts.append("\n".join(option(p, reference_types.of(cli)) for p in own))
    for name, command in cli.commands.items():
        context = reference_types.of(command, f"bncheck {name}")
        says, _, examples = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        parts += [f"## bncheck {name}", fenced(usage), prose(_joined(says))]
        parts += [fenced("\n".join(line.strip() for line in examples.splitlines()), "sh")] if examples else []
        options = [p for p in command.params if isinstance(p, click.Option)]
        parts += ["\n".join(option(p, context) for p in options)] if options else []
    asked = Asked()
    pytest_plugin.pytest_addoption(asked)  # type: ignore[arg-type]
    parts += ["## pytest", "What the plugin adds to pytest:", "\n".join(asked.told)]
    return "\n\n".join(parts)


def _joined(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def option(parameter: click.Option, context: click.Context) -> str:
    """Return the line of an option."""
    names = [*parameter.opts, *parameter.secondary_opts]
    metavar = "" if parameter.is_flag else f" {parameter.make_metavar(context)}"
    again = (
        " May be given several times." if parameter.multiple and "several times" not in (parameter.help or "") else ""
    )
    spelled = ", ".join(code(f"{name}{metavar}" if name == names[0] else name) for name in names)
    # Help texts name pages as they lie in the repository.
    says = re.sub(r"docs/([\w-]+\.md)", r"[docs/\1](../\1)", prose(parameter.help or ""))
    return f"- {spelled}: {says}{again}"


class Asked:
    """Takes the place of pytest's parser, and notes what is added to it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def getgroup(self, name: str, description: str = "") -> Asked:
        """Return where options of a group are added."""
        return self

    def addoption(self, name: str, *, metavar: str, **more: Any) -> None:
        """Note an option."""
        self.told.append(f"- {code(f'{name} {metavar}')}: {prose(more['help'])}")

    def addini(self, name: str, says: str, **more: Any) -> None:
        """Note a setting of pytest's own."""
        self.told.append(f"- {code(name)} in pytest's settings: {prose(says)}")


def lists() -> str:
    """Return the page of what else is known by name: adapters, recipes, formats."""
    needs = {name: f" Needs {' and '.join(libraries)}." for name, libraries in NEEDED.items()}
    parts = ["# Adapters, recipes, formats"]
    for title, says, rows in (
        ("Adapters", "Ways of finding code; `--as NAME` tries one alone.", ADAPTERS.items()),
        ("Recipes", "The corners that a sweep begins with; the rest of its cases are drawn.", RECIPES.items()),
    ):
        listed = [f"- {code(name)}: {prose(first(doc_of(item)))}" for name, item in rows]
        parts += [f"## {title}", says, "\n".join(listed)]
    formats = [f"- {code(name)}.{needs.get(name, '')}" for name in REPORTERS.names()]
    return "\n\n".join(
        [*parts, "## Formats", "What `--format` takes; [Reports](../reports.md) says more.", "\n".join(formats)]
    )


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where a page is not what it should be"
    )
    check = parser.parse_args(words).check
    stale = []
    for path, text in pages().items():
        place = DOCS / path
        if place.is_file() and place.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not check:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    print("\n".join(f"{'stale' if check else 'written'}: docs/{path}" for path in stale) or "nothing has changed")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
