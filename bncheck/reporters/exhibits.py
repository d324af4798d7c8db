"""The smallest failing case for the eye: its inputs, and expected and found values side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bncheck.model import Outcome
from bncheck.report import Comparison, Exhibit, Finding
from bncheck.reporters import Style
from bncheck.reporters.matrices import LARGEST, Pane, how_many_differ, inline, panes
from bncheck.reporters.wording import case_in_words, clean, number, several

# From this width on the long names of the two oracles fit beside a table, and a finding's figures beside its name.
ROOMY = 76
# More matrices than these push the verdict off the screen; --verbose shows them all.
MOST_MATRICES = 2
ORACLES = {"reference": "Batch Normalization", "numeric": "derivative of your forward"}
# Beside a value that is off, so that no colour is needed to see it.
MARK = "◀"
SHORT_ORACLES = {"reference": "reference", "numeric": "derivative"}


def indented(part: RenderableType, by: int = 2) -> Padding:
    """Return `part` moved to the right."""
    return Padding(part, (0, 0, 0, by))


def show_exhibit(exhibit: Exhibit, findings: Sequence[Finding], style: Style) -> Iterator[RenderableType]:
    """Yield the case in words, its inputs, what was expected and found, and the worst element."""
    finding = next((f for f in findings if f.case == exhibit.case and f.follows_from is None), None)
    titles = {Outcome.FAIL: "Smallest failing case: ", Outcome.WARN: "Smallest case that warns: "}
    title = titles.get(finding.outcome, "The case: ") if finding is not None else "The case: "
    yield Text()
    yield indented(Text.assemble((title, "bold"), clean(case_in_words(exhibit), style.ascii)))
    yield from _inputs(exhibit, style)
    differing = [c for c in exhibit.comparisons if how_many_differ(c)]
    shown = exhibit.comparisons if style.verbose else differing[:MOST_MATRICES]
    for comparison in shown:
        yield Text()
        yield indented(_comparison(comparison, style), 4)
    agreeing = several([c.tensor for c in exhibit.comparisons if c not in differing])
    hidden = several([c.tensor for c in differing if c not in shown])
    legend = (
        f"{MARK} off by more than allowed" if any(c in differing for c in shown) else "",
        f"as expected: {agreeing}" if agreeing else "",
        f"also off: {hidden} (-v shows them)" if hidden else "",
    )
    if any(legend):
        yield indented(Text("; ".join(filter(None, legend)), style="dim"), 4)
    if finding is not None and finding.error is not None and finding.allowed is not None:
        yield indented(_worst(finding), 4)


def _inputs(exhibit: Exhibit, style: Style) -> Iterator[RenderableType]:
    """Yield the inputs, as many on one line as fit."""
    room = style.width - 6
    line = ""
    for name, array in exhibit.inputs.items():
        text = f"{clean(name, style.ascii)} = {inline(array, room - 10)}".replace("= shape", "has shape")
        if line and len(line) + 3 + len(text) > room:
            yield indented(Text(line), 4)
            line = ""
        line = f"{line}   {text}" if line else text
    if line:
        yield indented(Text(line), 4)


def _worst(finding: Finding) -> Text:
    text = Text()
    if finding.got is not None and finding.want is not None and finding.index is not None:
        place = f"[{', '.join(map(str, finding.index))}]" if finding.index else ""
        digits = next((d for d in range(4, 17) if number(finding.got, d) != number(finding.want, d)), 17)
        text.append(f"{finding.tensor}{place} is {number(finding.got, digits)}, ")
        text.append(f"and should be {number(finding.want, digits)}; ")
    else:
        text.append("along the line that was probed: ")
    text.append(f"error {number(finding.error, 3)}")
    text.append(f", allowed {number(finding.allowed, 3)}")
    return text


def _comparison(comparison: Comparison, style: Style) -> RenderableType:
    """Return expected and found side by side if three columns fit, else one above the other."""
    room = style.width - 8
    columns = comparison.expected.shape[-1] if comparison.expected.shape else 1
    for most in range(min(columns, LARGEST), 0, -1):
        expected, found = panes(comparison, most)
        beside = _pane_width(expected) + _pane_width(found) <= room
        if beside and (most >= 3 or most == columns):
            return _two_panes(expected, found, comparison, style, beside=True)
        if not beside and most <= 3 and max(_pane_width(expected), _pane_width(found)) <= room:
            break
    for most in range(min(columns, LARGEST), 0, -1):
        expected, found = panes(comparison, most)
        if most == 1 or max(_pane_width(expected), _pane_width(found)) <= room:
            break
    return _two_panes(expected, found, comparison, style, beside=False)


def _pane_width(pane: Pane) -> int:
    return max((len(row) for row in pane.rows), default=0) * (pane.cell_width + 3)


def _two_panes(expected: Pane, found: Pane, comparison: Comparison, style: Style, beside: bool) -> RenderableType:
    names = ORACLES if style.width >= ROOMY else SHORT_ORACLES
    oracle = names.get(comparison.oracle, clean(comparison.oracle, style.ascii))
    heads = Text(f"{expected.title} expected ({oracle})", "dim"), Text(f"{found.title} found", "dim")
    bodies = _matrix(expected), _matrix(found)
    grid = Table.grid(padding=(0, 4 if beside else 0, 0, 0))
    if beside:
        grid.add_row(*heads)
        grid.add_row(*bodies)
    else:
        for part in (heads[0], bodies[0], heads[1], bodies[1]):
            grid.add_row(part)
    return grid


def _matrix(pane: Pane) -> Text:
    """Return the cells in columns; one that differs carries a mark, so that no colour is needed to see it."""
    text = Text(no_wrap=True)
    for i, row in enumerate(pane.rows):
        if i:
            text.append("\n")
        for cell in row:
            text.append(f" {cell.text:>{pane.cell_width}}", style="bold red" if cell.differs else "")
            text.append(f"{MARK} " if cell.differs else "  ", style="red")
    return text
