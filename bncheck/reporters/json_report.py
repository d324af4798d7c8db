"""The report as one JSON object, from which every other report can be made."""

from __future__ import annotations

import json

from bncheck.codec import to_json
from bncheck.report import Report
from bncheck.reporters import REPORTERS, Style


@REPORTERS.register("json")
def json_report(report: Report, style: Style) -> str:
    """Write everything that was found out as strict JSON, for machines."""
    return json.dumps(to_json(report), indent=2, allow_nan=False) + "\n"
