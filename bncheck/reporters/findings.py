"""What each check says, in the report for people: failures first, consequences folded under their cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.model import Outcome
from bncheck.report import Finding, TargetReport, Verdict
from bncheck.reporters import Style
from bncheck.reporters.exhibits import ROOMY, indented
from bncheck.reporters.sparkline import sparkline
from bncheck.reporters.wording import DASH, TIMES, cases_in_words, clean, excess, number

OUTCOME_SIGNS = {Outcome.PASS: "✔", Outcome.FAIL: "✘", Outcome.WARN: "!", Outcome.INCONCLUSIVE: "?", Outcome.SKIP: DASH}
OUTCOME_COLORS = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.WARN: "magenta", Outcome.INCONCLUSIVE: "magenta"}
LOUD = (Outcome.FAIL, Outcome.WARN, Outcome.INCONCLUSIVE)
# More messages or findings than these push the verdict off the screen; --verbose shows them all.
MOST_MESSAGES, MOST_FINDINGS = 3, 8


def show_findings(target: TargetReport, style: Style) -> Iterator[RenderableType]:
    """Yield the findings that follow from no other, then those that do, then how many there are beside."""
    rank = (*LOUD, Outcome.PASS, Outcome.SKIP)
    roots = [f for outcome in rank for f in target.findings if f.outcome is outcome and f.follows_from is None]
    shown = roots if style.verbose else [f for f in roots if f.outcome in LOUD][:MOST_FINDINGS]
    folded = [f for f in target.findings if f.follows_from is not None]
    if shown or folded or target.verdict is not Verdict.PASS:
        yield Text()
    conditions: dict[str, str] = {}
    followers: dict[str, list[str]] = {}
    for finding in folded:
        followers.setdefault(finding.follows_from or "", []).append(f"{finding.code} {finding.name}")
    for i, finding in enumerate(shown):
        yield _finding_line(finding, style)
        words = finding.condition.words if finding.condition else ""
        if style.verbose or i < MOST_MESSAGES:
            sentence = finding.condition.sentence if finding.condition else ""
            said = any(sentence in diagnosis.condition for diagnosis in target.diagnoses)
            yield from _finding_message(finding, conditions.get(words, ""), "" if said else sentence, style)
        if words:
            conditions.setdefault(words, f"under the same condition as {finding.code}")
        yield from _following(finding.code, followers.pop(finding.code, []))
    for root, names in followers.items():
        yield from _following(root, names)
    rest = _rest_in_words([f for f in roots if f not in shown])
    more = "" if style.verbose or len(shown) <= MOST_MESSAGES else ", and what is wrong in each"
    if rest and (shown or target.verdict is not Verdict.PASS):
        yield indented(Text(f"{rest} (-v lists them{more})", style="dim"))


def _following(root: str, names: Sequence[str]) -> Iterator[RenderableType]:
    if names:
        yield indented(Text(f"follows from {root}: {', '.join(names)}", style="dim"), 4)


def _rest_in_words(findings: Sequence[Finding]) -> str:
    words = {Outcome.PASS: ("check passes", "checks pass"), Outcome.SKIP: ("does not apply", "do not apply")}
    parts = []
    for outcome, same in groupby(findings, lambda f: f.outcome):  # already in order of outcome
        n = len(list(same))
        one, many = words.get(outcome, (f"more {outcome.value}", f"more {outcome.value}"))
        parts.append(f"{n} {one if n == 1 else many}")
    return ", ".join(parts)


def _finding_line(finding: Finding, style: Style) -> RenderableType:
    color = OUTCOME_COLORS.get(finding.outcome, "dim")
    line = Text.assemble((f"{OUTCOME_SIGNS[finding.outcome]} ", color), (clean(finding.code), f"bold {color}"))
    line.append(f" {clean(finding.name)}")
    cases = cases_in_words(finding)
    ratio = excess(finding)
    figures = [cases if finding.outcome is not Outcome.SKIP else ""]
    if ratio is not None and style.width >= ROOMY:
        figures.append(f"error {number(ratio, 2)} {TIMES} allowed")
    grid = Table.grid(expand=True, padding=(0, 2, 0, 0))
    grid.add_column(ratio=1, overflow="fold")
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(line, Text(" · ".join(filter(None, figures)), style="dim"))
    return indented(grid)


def _finding_message(finding: Finding, known: str, sentence: str, style: Style) -> Iterator[RenderableType]:
    """Yield what is off, where, and under which condition; one that is `known` by now or above is not said again."""
    if finding.outcome is Outcome.PASS:
        return
    parts = [clean(text, style.ascii) for text in (finding.message, finding.place) if text]
    if parts:
        yield indented(Text("; ".join(parts)), 4)
    told = [] if known else [sentence, finding.boundary]
    when = [clean(text, style.ascii) for text in (known, *told) if text]
    if when:
        yield indented(Text(f"→ {'; '.join(when)}", style="bold" if finding.condition else ""), 4)
    if finding.trend is not None and finding.condition and not known:
        drawn = sparkline(finding.trend, style.ascii)
        yield from [indented(drawn, 4)] if drawn is not None else []
