"""A small failing case for the eye: its inputs, and expected and found values side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bncheck.report import Comparison, Exhibit, Finding, Worked
from bncheck.reporters import Style
from bncheck.reporters.heat import LEGEND, channel_bars, heat_map
from bncheck.reporters.matrices import LARGEST, Pane, how_many_differ, inline, panes
from bncheck.reporters.wording import (
    ORACLES,
    SHORT_ORACLES,
    case_in_words,
    case_title,
    clean,
    number,
    several,
)

# From this width on the long names of the two oracles fit beside a table, and a finding's figures beside its name.
ROOMY = 76
# More matrices than these push the verdict off the screen; --verbose shows them all.
MOST_MATRICES = 2
# Lines of a picture of the error; more of them push the rest off the screen.
FEW_CHANNELS, MOST_CHANNELS = 4, 16
# Beside a value that is off, so that no colour is needed to see it.
MARK = "◀"
# The colour of a value by how far off it is: small errors, of up to a tenth of the worst, half of it, and the worst.
MARKED = ("", "red", "red", "bold red", "bold reverse red")


def indented(part: RenderableType, by: int = 2) -> Padding:
    """Return `part` moved to the right."""
    return Padding(part, (0, 0, 0, by))


def show_exhibit(
    exhibit: Exhibit, findings: Sequence[Finding], style: Style, in_full: bool = False
) -> Iterator[RenderableType]:
    """Yield the case in words, its inputs, what was expected and found, and the worst element.

    In full, the picture of the error, all digits, and the formula worked out step by step come with it.
    """
    finding = next((f for f in findings if f.case == exhibit.case and f.follows_from is None), None)
    yield Text()
    yield indented(Text.assemble((f"{case_title(finding)}: ", "bold"), clean(case_in_words(exhibit), style.ascii)))
    yield from _inputs(exhibit, style)
    differing = [c for c in exhibit.comparisons if how_many_differ(c)]
    shown = exhibit.comparisons if in_full else differing[:MOST_MATRICES]
    for comparison in shown:
        yield Text()
        yield indented(_comparison(comparison, style), 4)
        if comparison not in differing:
            continue
        if in_full or not _fits(comparison):
            yield from _heat(comparison, style, MOST_CHANNELS if in_full else FEW_CHANNELS)
        elif bars := channel_bars(comparison):
            yield indented(bars, 4)
    agreeing = several([clean(c.tensor) for c in exhibit.comparisons if c not in differing])
    hidden = several([clean(c.tensor) for c in differing if c not in shown])
    legend = (
        f"{MARK} off by more than allowed" if any(c in differing and _is_marked(c) for c in shown) else "",
        f"right: {agreeing}" if agreeing else "",
        f"also off: {hidden} (-v shows them)" if hidden else "",
    )
    if any(legend):
        yield indented(Text("; ".join(filter(None, legend)), style="dim"), 4)
    if finding is not None and finding.error is not None and finding.allowed is not None:
        yield indented(_worst(finding), 4)
        if in_full and finding.got is not None and finding.want is not None:
            yield indented(Text(f"in all digits: {finding.got!r}, and should be {finding.want!r}", style="dim"), 4)
    if in_full and exhibit.worked is not None:
        yield from _worked(exhibit.worked, exhibit.eps, style)
    if in_full and exhibit.printed:
        yield Text()
        yield indented(Text("printed in one training step:", style="bold"))
        yield indented(Text(clean(exhibit.printed.rstrip(), style.ascii, keep_lines=True, longest=_PRINTED)), 4)


# Characters of what user code printed that are shown.
_PRINTED = 2000


def _is_marked(comparison: Comparison) -> bool:
    """Tell whether single elements are marked: where the shapes differ, nothing can be told about them."""
    return comparison.expected.shape == comparison.found.shape


def _fits(comparison: Comparison) -> bool:
    """Tell whether every element stands in the matrices."""
    shape = comparison.expected.shape
    return len(shape) < 3 and all(size <= LARGEST for size in shape)


def _heat(comparison: Comparison, style: Style, most: int) -> Iterator[RenderableType]:
    lines = list(heat_map(comparison, style.width - 6, most))
    if len(comparison.expected.values) > 1 and lines:
        along = ", the batch along the line" if len(comparison.expected.shape) > 1 else ""
        yield Text()
        yield indented(Text(f"error of {clean(comparison.tensor, style.ascii)} by channel{along}", style="dim"), 4)
        yield from (indented(line, 4) for line in lines)
        yield indented(Text(LEGEND, style="dim"), 4)


# Five digits can be followed with a pencil; "-1.234e-05" is as long as they get.
WIDEST = 9


def _worked(worked: Worked, eps: float, style: Style) -> Iterator[RenderableType]:
    """Yield the formulas line by line, so that the numbers can be followed by hand."""
    given = f"m = {worked.m}, gamma = {number(worked.gamma, 5)}, beta = {number(worked.beta, 5)}, eps = {number(eps)}"
    widest = max((len(quantity.name) + len(quantity.formula) for quantity in worked.quantities), default=0)
    most = max((style.width - 14 - widest) // (WIDEST + 1), 1)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for quantity in worked.quantities:
        values = [f"{value:>{WIDEST}.5g}" for value in quantity.values[:most]]
        more = " …" if len(quantity.values) > most else ""
        yours = "bold red" if quantity.name.startswith("your ") else ""
        name, formula = (clean(text, style.ascii) for text in (quantity.name, quantity.formula))
        line = Text(" ".join(values) + more, style=yours)
        grid.add_row(Text(name, style=yours), Text(f"= {formula}" if formula else "", style="dim"), line)
    yield Text()
    yield indented(Text.assemble((f"Worked out for channel {worked.channel}", "bold"), f" ({given})"), 4)
    yield indented(grid, 4)


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
        text.append(f"{clean(finding.tensor or '')}{place} is {number(finding.got, digits)}, ")
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
    heads = Text(f"{clean(expected.title)} expected ({oracle})", "dim"), Text(f"{clean(found.title)} found", "dim")
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
    """Return the cells in columns, coloured by error; one that differs has a mark, too, so that no colour is needed."""
    text = Text(no_wrap=True)
    for i, row in enumerate(pane.rows):
        if i:
            text.append("\n")
        for cell in row:
            text.append(" " * (1 + pane.cell_width - len(cell.text)))
            text.append(cell.text, style=MARKED[cell.level])
            text.append(f"{MARK} " if cell.differs else "  ", style="red")
    return text
