"""Reports in which everything that comes from the user is hostile, made from one that has something of everything."""

from __future__ import annotations

import dataclasses
from enum import Enum

from render import located
from render import report as report_of

PAYLOADS = {
    "markup": "<bncheck-evil onload=x> <script>evil()</script> & &amp; ]]> --> \"' [red]x[/] [a](http://evil.example) "
    "![b](c) @octocat #1 *d* _e_ ~~f~~ | g || h \\| i ` j `` k ``` {0} {{1}} ${{ l }} {% m %} $n$ https://evil.example",
    "commands": "::error::a%0A::stop-commands::b\n::error file=c,line=1::d\r\n  ::warning::e\n##[error]f %25 %3A",
    "control": "a\x00\x1b[31mb\x1b]0;c\x07\x7f\x9b31m\x85\udfff\ud800\ufffe\uffff\u202ed\u2066\u200f\u2028\u2029\te",
    "lines": "\n```\n````\n~~~\n# a\n- b\n> c\n| d |\n|---|\n<b>\n\n    e\n===\n",
    "long": "ab<|`" * 4000,
    "path": "../../C:\\a b/%2e%2e/:c,d?e#f[g]\u00e9.py",
    "empty": "",
}
# What bncheck itself says: the words of its own registries.
_OURS = {"schema", "severity", "code", "follows_from"}
_OURS_IN = {("Finding", "name"), ("Diagnosis", "name")}


def hostile(payload: str):
    """Return a report with this text in every place that is not bncheck's own."""
    return _spoiled(report_of(located()), payload, ())


def _spoiled(value, payload, place):
    if isinstance(value, Enum) or (place and (place[-1][1] in _OURS or place[-1] in _OURS_IN)):
        return value
    if isinstance(value, str):
        return payload
    if isinstance(value, tuple):
        return tuple(_spoiled(item, payload, place) for item in value)
    if isinstance(value, dict):
        ours = place[-1][1] == "counts"
        return {key if ours else f"{key}{payload}": _spoiled(item, payload, place) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        kind = type(value).__name__
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return type(value)(**{name: _spoiled(item, payload, (*place, (kind, name))) for name, item in fields.items()})
    return value
