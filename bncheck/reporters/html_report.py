"""The report as one self-contained page for the browser; what draws it is imported when it is asked for."""

from __future__ import annotations

from bncheck.report import Report
from bncheck.reporters import REPORTERS, Style


@REPORTERS.register("html")
def html_report(report: Report, style: Style) -> str:
    """Write one page for the browser, with formulas and plots: no network, no script (extra 'html')."""
    from bncheck.reporters.document.page import page

    return page(report)
