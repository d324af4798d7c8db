"""What a notebook shows of a report or a finding: the report for people as HTML, for light and dark themes."""

from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from bncheck.report import Finding, Report, TargetReport, Verdict
from bncheck.reporters import Style
from bncheck.reporters.findings import show_findings
from bncheck.reporters.terminal import print_report

_WIDTH = 100
# Colours that stand for a role until the page's theme is known: what they are called, on light and on dark ground. All
# have a contrast of at least 4.5 to white and to #1e1e1e.
_ROLES = {
    "#010101": ("text", "#1f2328", "#e6e6e6"),
    "#c00001": ("red", "#b3261e", "#ff8a80"),
    "#00c001": ("green", "#1a7f37", "#56d364"),
    "#c000c1": ("magenta", "#8250df", "#d2a8ff"),
}
_DIM = ("dim", "#59636e", "#a0a8b0")


def fragment(thing: Report | Finding) -> str:
    """Return a report, or a finding by itself, as one element with its own style."""
    console = Console(
        file=StringIO(), record=True, width=_WIDTH, force_terminal=True, color_system="standard",
        force_jupyter=False, legacy_windows=False, markup=False, emoji=False, highlight=False,
    )  # fmt: skip
    style = Style(width=_WIDTH, color=True)
    if isinstance(thing, Report):
        print_report(thing, style, console)
    else:
        for part in show_findings(TargetReport("", Verdict.FAIL, findings=(thing,)), Style(_WIDTH, True, verbose=True)):
            console.print(part)
    text = console.export_html(theme=_theme(), inline_styles=True, code_format="{code}")
    for color, (role, _, _) in _ROLES.items():
        text = text.replace(color, f"var(--bncheck-{role})")
    text = text.replace(_blended(), f"var(--bncheck-{_DIM[0]})")
    return f'<div class="bncheck"><style>{_css()}</style><pre>{text.strip()}</pre></div>'


def _theme() -> TerminalTheme:
    text, red, green, magenta = (_rgb(color) for color in _ROLES)
    others = [text] * 8
    normal = [text, red, green, text, text, magenta, text, text]
    return TerminalTheme((255, 255, 255), text, normal, others)


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _blended() -> str:
    """Return the colour that dim text has: rich takes the middle between text and ground."""
    return "#{:02x}{:02x}{:02x}".format(*(int(c + (255 - c) * 0.5) for c in _rgb(next(iter(_ROLES)))))


def _css() -> str:
    """Return the style: the notebook's own theme decides where it tells, else the system's."""
    roles = [*_ROLES.values(), _DIM]
    light = "".join(f"--bncheck-{role}:{color};" for role, color, _ in roles)
    dark = "".join(f"--bncheck-{role}:{color};" for role, _, color in roles)
    return (
        f".bncheck{{{light}}}"
        f"@media (prefers-color-scheme:dark){{.bncheck{{{dark}}}}}"
        f'[data-jp-theme-light="true"] .bncheck,.vscode-light .bncheck{{{light}}}'
        f'[data-jp-theme-light="false"] .bncheck,.vscode-dark .bncheck{{{dark}}}'
        ".bncheck pre{color:var(--bncheck-text);font-family:Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        "line-height:1.25;overflow-x:auto}"
    )
