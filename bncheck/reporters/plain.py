"""The terminal's report without colour, for files, logs and e-mail."""

from __future__ import annotations

from dataclasses import replace

from bncheck.report import Report
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.terminal import terminal


@REPORTERS.register("plain")
def plain(report: Report, style: Style) -> str:
    """Show the same as rich without colour, even where FORCE_COLOR is set."""
    return terminal(report, replace(style, color=False))
