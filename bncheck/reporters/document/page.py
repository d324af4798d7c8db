"""A report as one HTML file: jinja2 puts together what the other modules make.

Whatever comes out of a variable is cleaned and escaped; markup is what `formulas` and `pictures` made of numbers and
escaped names, and nothing else.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

from bncheck.report import Report
from bncheck.reporters.document.formulas import Piece
from bncheck.reporters.document.view import heading, target_view
from bncheck.reporters.wording import clean

# Longer texts than this are no report; every text that is meant to be shorter is cut where it is taken over.
_LONGEST = 20_000


def page(report: Report) -> str:
    """Return the page, in ASCII: other letters are character references, so that no encoding can spoil it."""
    targets = [target_view(target, report, place) for place, target in enumerate(report.targets)]
    text: str = (
        _environment()
        .get_template("report.html")
        .render(report=report, heading=heading(report), targets=targets, title=_title(report))
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _title(report: Report) -> str:
    names = ", ".join(clean(target.name, longest=60) for target in report.targets[:2])
    more = f" and {len(report.targets) - 2} more" if len(report.targets) > 2 else ""
    return f"{report.verdict.value.upper()}: {names}{more} - bncheck"


def _in_silence(plot: Callable[..., str], *given: object) -> str:
    """Return a plot; matplotlib warns of numbers near the end of their range, which are drawn at the edge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return plot(*given)


def _environment() -> Any:
    jinja2, markup = importlib.import_module("jinja2"), importlib.import_module("markupsafe").Markup
    pictures = importlib.import_module("bncheck.reporters.document.pictures")

    def harmless(value: object) -> object:
        """Return what a variable holds without characters that a browser obeys or hides."""
        if isinstance(value, markup):
            return value
        return clean(str(value), keep_lines=True, longest=_LONGEST)

    def formula(piece: Piece) -> object:
        return markup(piece.text) if piece.is_math else piece.text

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bncheck.reporters.document"),
        autoescape=True,
        finalize=harmless,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["formula"] = formula

    def drawn(plot: Callable[..., str]) -> Callable[..., object]:
        return lambda *given: markup(_in_silence(plot, *given))

    environment.globals["probe_plot"] = drawn(pictures.probe_plot)
    environment.globals["trend_plot"] = drawn(pictures.trend_plot)
    environment.globals["plot_size"] = tuple(round(inches * 72) for inches in pictures.SIZE)  # points, as in the SVG
    return environment
