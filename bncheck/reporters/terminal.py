"""The report for people: one screen per target, readable with and without colour. Run it to see a specimen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import StringIO
from itertools import accumulate

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.errors import NOTHING
from bncheck.model import TENSORS, Outcome
from bncheck.report import Diagnosis, Report, TargetReport, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.exhibits import ROOMY, indented, show_exhibit
from bncheck.reporters.findings import LOUD, show_findings
from bncheck.reporters.parts import answer, ended, meaning, named, narrowed, of_journal, roots, tally
from bncheck.reporters.short import beside, in_one_line, nameless
from bncheck.reporters.wording import (
    DASH,
    ORACLES,
    SHORT_ORACLES,
    clean,
    conventions_in_words,
    count,
    decided_share,
    excess,
    explained_in_words,
    number,
    share_in_words,
    to_ascii,
    verdict_in_words,
    verdict_sign,
)

# Only the terminal's own sixteen colours, and no yellow or white: they follow the reader's light or dark theme.
VERDICT_COLORS = {Verdict.PASS: "bold green", Verdict.FAIL: "bold red", Verdict.INCONCLUSIVE: "bold magenta"}
# More notes than these push the verdict off the screen; --verbose shows them all.
MOST_NOTES = 2


@REPORTERS.register("rich")
def terminal(report: Report, style: Style) -> str:
    """Show people the verdict, both oracles, the findings and a small failing case."""
    out = StringIO()
    print_report(report, style, _console(out, style))
    lines = out.getvalue() if style.color else "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
    return to_ascii(lines) if style.ascii else lines


def print_report(report: Report, style: Style, console: Console) -> None:
    """Print a report for people on a console of the style's width."""
    blocks: list[list[RenderableType]] = []
    if len(report.targets) > 1:
        blocks.append(list(_summary(report, style)))
    shown = [t for t in report.targets if len(report.targets) == 1 or style.verbose or not _is_all_said(t)]
    blocks += list(_blocks(shown, report, style))
    for i, block in enumerate(blocks):
        if i:
            console.print(Text("─" * style.width, style="dim"))
        for part in block:
            console.print(part, soft_wrap=isinstance(part, Text) and part.no_wrap is True)


def _blocks(targets: Sequence[TargetReport], report: Report, style: Style) -> Iterator[list[RenderableType]]:
    """Yield what is shown of each target; what is wrong at the same lines in another one is told there."""
    told: dict[tuple[object, ...], str] = {}
    for target in targets:
        first = told.setdefault(_wrong_at(target), target.name)
        if style.verbose or first == target.name or not target.diagnoses:
            yield list(_target(target, report, style))
        else:
            there = f"The same lines are wrong as in {clean(first, style.ascii)}, see there (-v shows this report too)."
            yield [_verdict_line(target, style), indented(Text(there))]


def _wrong_at(target: TargetReport) -> tuple[object, ...]:
    """Return which bugs a target has at which lines, and what else is said of it.

    Its name too, where a line is unknown, or something is wrong that no bug is about: that may be at other lines.
    """
    bugs = [(d.code, d.line, d.wrong) for d in target.diagnoses]
    said = [(f.code, f.outcome, f.message, f.follows_from) for f in target.findings]
    placed = all(named(target, finding) for finding in roots(target, *LOUD)) and all(line for _, line, _ in bugs)
    return (target.verdict, target.error, *bugs, *said, *([] if placed else [target.name]))


def _console(out: StringIO, style: Style) -> Console:
    return Console(
        file=out,
        width=style.width,
        force_terminal=style.color,
        color_system="standard" if style.color else None,
        no_color=not style.color,
        force_jupyter=False,  # in a notebook rich would show the text at once, too
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
    )


def _is_all_said(target: TargetReport) -> bool:
    """Tell whether a line of the summary says all: what is right without a warning, and what never ran."""
    if target.verdict is Verdict.INTERRUPTED:
        return not target.cases and not target.findings
    return target.verdict is Verdict.PASS and all(f.outcome in (Outcome.PASS, Outcome.SKIP) for f in target.findings)


# ----------------------------------------------------------------------------------------------------------- one target


def _target(whole: TargetReport, report: Report, style: Style) -> Iterator[RenderableType]:
    target = narrowed(whole, style.only) if style.only else whole
    yield _verdict_line(target, style)
    if target.error:
        yield indented(Text(clean(nameless(target), style.ascii, keep_lines=True)))
    if target.verdict is Verdict.PASS:
        yield indented(_what_was_verified(target, report, style))
    if target.stopped:
        yield indented(Text(clean(ended(target), style.ascii)))
    said: list[RenderableType] = [
        indented(Text(sentence, style="dim" * bool(target.error))) for sentence in meaning(target, report)
    ]
    if journal := of_journal(target):
        said.append(indented(Text(clean(journal, style.ascii, longest=len(journal)))))
    if target.verdict is not Verdict.INCONCLUSIVE:
        yield from said
    for diagnosis in target.diagnoses:
        beside = [d.code for d in target.diagnoses if d.tensor == diagnosis.tensor and d is not diagnosis]
        yield from _diagnosis(diagnosis, beside, style)
    if target.conventions is not None:
        if target.diagnoses:
            yield Text()
        yield from _conventions(target, style)
    if target.discovery and NOTHING in target.error and not style.verbose:
        yield indented(Text("-v shows what was looked at and tried", style="dim"))
    elif target.discovery and (style.verbose or (target.verdict is Verdict.ERROR and not target.stub)):
        yield from _discovery(target, style)
    if target.oracles is not None and target.verdict is not Verdict.PASS:
        yield from _oracles(whole, style)
    if target.findings:
        yield from show_findings(target, style)
    if target.verdict is Verdict.INCONCLUSIVE:  # behind the checks that were hidden by rounding
        yield Text()
        yield from said
    in_full = style.verbose or target.cases == 1  # one case alone was asked for
    for exhibit in target.exhibits if in_full else target.exhibits[:1]:
        yield from show_exhibit(exhibit, target.findings, style, in_full)
    if len(target.exhibits) > 1 and not in_full:
        yield indented(Text(f"{count(len(target.exhibits) - 1, 'more failing case')}: -v shows all", style="dim"))
    if target.replay:
        yield from _replay(target, style)


def _verdict_line(target: TargetReport, style: Style) -> RenderableType:
    color = VERDICT_COLORS.get(target.verdict, "bold magenta")
    head = Text.assemble((f"{verdict_sign(target.verdict)} {verdict_in_words(target)}", color))
    head.append(f"  {clean(target.name, style.ascii)}", style="bold")
    warned = beside(target) if target.verdict is Verdict.PASS else []
    ran = f"{count(target.cases, 'case')} · {target.seconds:.1f} s" if target.cases else ""
    facts = " · ".join(filter(None, (*warned, ran)))
    line = Table.grid(expand=True, padding=(0, 2, 0, 0))
    line.add_column(ratio=1, overflow="fold")
    line.add_column(justify="right", no_wrap=True)
    line.add_row(head, Text(facts, style="dim"))
    return line


# The check whose passing says that eval mode was seen, and right.
EVAL = "BN302"


def _what_was_verified(target: TargetReport, report: Report, style: Style) -> Text:
    passed = [f for f in target.findings if f.outcome is Outcome.PASS]
    share = decided_share(target)
    decided = "" if share is None else f"; {share_in_words(share)} of all answers were decided"
    hidden = "" if share in (None, 1) else " (rounding hid the others)"
    text = Text(f"{clean(target.oracles.conclusion, style.ascii)} " if target.oracles is not None else "")
    if any(finding.code == EVAL for finding in passed):
        text.append("Eval mode uses the running statistics. ")
    dtype = target.conventions.dtype if target.conventions is not None else ""
    said = clean(target.dtype or dtype or report.dtype)
    text.append(f"{count(len(passed), 'check')} passed on {count(target.cases, 'case')} in {said}")
    text.append(f"{decided}{hidden}.")
    measured = [(ratio, f) for f in passed if (ratio := excess(f)) is not None]
    if measured:
        ratio, worst = max(measured, key=lambda pair: pair[0])
        text.append(f" The error nearest to its bound reaches {number(ratio, 2)} of what rounding explains")
        text.append(f" ({worst.code} {worst.name}).")
    return text


def _conventions(target: TargetReport, style: Style) -> Iterator[RenderableType]:
    assert target.conventions is not None
    phrases = [clean(p, style.ascii) for p in conventions_in_words(target.conventions)]
    yield indented(Text(" · ".join(phrases), style="dim"))
    notes = target.conventions.notes
    shown = notes if style.verbose else notes[:MOST_NOTES]
    for note in shown:
        yield indented(Text(f"note: {clean(note, style.ascii)}", style="dim"))
    if len(notes) > len(shown):
        yield indented(Text(f"{count(len(notes) - len(shown), 'more note')}: -v shows all", style="dim"))


MOST_LINES = 12  # of what was tried, unless -v asks for all


def _discovery(target: TargetReport, style: Style) -> Iterator[RenderableType]:
    lines = target.discovery if style.verbose else _first_lines(target.discovery, style.width)
    yield Text()
    yield indented(Text("What discovery found and tried", style="bold"))
    for line in lines:
        depth = len(line) - len(line.lstrip())
        yield indented(Text(clean(line.strip(), style.ascii), style="dim"), 2 + depth)
    if len(lines) < len(target.discovery):
        rest = len(target.discovery) - len(lines)
        yield indented(Text(f"{count(rest, 'more line')}: -v shows all {len(target.discovery)}", style="dim"))


def _first_lines(lines: Sequence[str], width: int) -> Sequence[str]:
    """Return the first lines, as many as take up the room of ``MOST_LINES`` when they are wrapped; at least one."""
    taken = [-(-len(line) // max(width - 4, 1)) for line in lines]
    return lines[: max(1, sum(rows <= MOST_LINES for rows in accumulate(taken)))]


# ---------------------------------------------------------------------------------------------------------- two oracles


def _oracles(target: TargetReport, style: Style) -> Iterator[RenderableType]:
    oracles = target.oracles
    assert oracles is not None
    names = ORACLES if style.width >= ROOMY else SHORT_ORACLES
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3 + len(TENSORS)):
        grid.add_column(no_wrap=True)
    grid.add_row(*(Text(t, style="dim") for t in ("agrees with", "forward", "backward", *TENSORS)))
    rows = (
        (f"A  {names['reference']}", "reference", oracles.forward_is_reference),
        (f"B  {names['numeric']}", "numeric", None),
    )
    backward = {"reference": oracles.backward_is_reference, "numeric": oracles.backward_is_own_derivative}
    for label, oracle, forward in rows[:1] if oracles.backward_is_reference == "none" else rows:
        cells = [_tensor_cell(answer(target.findings, tensor, oracle)) for tensor in TENSORS]
        grid.add_row(Text(label), _answer(forward), _answer(backward[oracle]), *cells)
    yield Text()
    yield indented(grid)
    yield indented(Text(f"→ {clean(oracles.conclusion, style.ascii)}", style="bold"))


def _answer(answer: str | None) -> Text:
    color = {"yes": "green", "no": "bold red"}.get(answer or "", "dim")
    return Text(DASH if answer in (None, "none") else "?" if answer == "unknown" else clean(answer), style=color)


def _tensor_cell(said: str) -> Text:
    words = {"no": ("WRONG", "bold red"), "yes": ("ok", "green"), "unknown": ("?", "dim")}
    return Text(*words.get(said, (DASH, "dim")))


# ----------------------------------------------------------------------------------------------------------- diagnoses


def _diagnosis(diagnosis: Diagnosis, beside: Sequence[str], style: Style) -> Iterator[RenderableType]:
    head = Text(f"{diagnosis.code} {diagnosis.name}: ", style="bold red")
    head.append(clean(diagnosis.title, style.ascii), style="bold")
    yield Text()
    yield indented(head)
    lines = (("wrong" if diagnosis.is_named else "yours", diagnosis.wrong, "red"), ("right", diagnosis.right, "green"))
    for word, line, color in lines:
        if line:
            yield indented(Text.assemble((f"{word}: ", color), clean(line, style.ascii)), 4)
    if diagnosis.line is not None:
        there = f"{diagnosis.line.file}:{diagnosis.line.number}   {diagnosis.line.text}"
        yield indented(Text(f"probably here: {clean(there, style.ascii)}", style="bold"), 4)
    if diagnosis.condition:
        yield indented(Text(f"→ {clean(diagnosis.condition, style.ascii)}", style="bold"), 4)
    yield indented(Text(explained_in_words(diagnosis, beside)), 4)
    if diagnosis.explanation:
        mend = "to mend it: " if diagnosis.is_named else ""
        yield indented(Text(f"{mend}{clean(diagnosis.explanation, style.ascii, keep_lines=True)}"), 4)


# ------------------------------------------------------------------------------------------------------ replay, summary


def _replay(target: TargetReport, style: Style) -> Iterator[RenderableType]:
    """Yield the command on a line of its own, which is never wrapped: a command that is copied has to be whole."""
    roots = [f.code for f in target.findings if f.outcome in (Outcome.FAIL, Outcome.WARN) and f.follows_from is None]
    pages = [code for codes in ([d.code for d in target.diagnoses], roots) for code in codes[:1]]
    yield Text()
    if pages:
        yield indented(Text(f"what it means: bncheck explain {' '.join(map(clean, pages))}", style="dim"))
    yield indented(Text("run this case again:", style="dim"))
    yield Text(f"  {clean(target.replay, style.ascii, longest=len(target.replay))}", style="bold", no_wrap=True)


def _summary(report: Report, style: Style) -> Iterator[RenderableType]:
    yield Text.assemble((count(len(report.targets), "target"), "bold"), f": {tally(report)}")
    grid = Table.grid(padding=(0, 2, 0, 0))
    longest = max(len(clean(t.name, style.ascii)) for t in report.targets)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold", width=min(longest, style.width * 3 // 5 - 6))
    grid.add_column(overflow="ellipsis")
    for target in report.targets:
        word = "STUB" if target.stub else verdict_in_words(target)
        head = Text(f"{verdict_sign(target.verdict)} {word}", VERDICT_COLORS.get(target.verdict, "bold magenta"))
        why = clean(in_one_line(target), style.ascii, longest=100)
        grid.add_row(head, Text(clean(target.name, style.ascii)), Text(why, "dim"))
    yield indented(grid)


def _main() -> None:
    """Print the specimen as this terminal shows it."""
    import shutil
    import sys

    from bncheck.reporters.specimen import specimen

    width = shutil.get_terminal_size((80, 24)).columns
    sys.stdout.write(terminal(specimen(), Style(width=width, color=sys.stdout.isatty())))


if __name__ == "__main__":
    _main()
