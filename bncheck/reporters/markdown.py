"""The report in Markdown, for the summary of a CI step, a pull request, or an issue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bncheck.model import Outcome
from bncheck.report import Comparison, Diagnosis, Exhibit, Finding, Report, TargetReport, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.markup import cell, code, fenced, prose, words
from bncheck.reporters.matrices import inline, ratio
from bncheck.reporters.parts import ended, is_expected, meaning, of_journal, roots
from bncheck.reporters.short import in_one_line, nameless
from bncheck.reporters.wording import (
    ORACLES,
    case_in_words,
    case_title,
    cases_in_words,
    clean,
    conventions_in_words,
    count,
    explained_in_words,
    number,
    verdict_in_words,
    verdict_sign,
)

# More elements of a tensor than these are no table for the eye; the wrong ones come first.
_MOST_ROWS = 12
_MARK = "<- off"


@REPORTERS.register("markdown")
def markdown(report: Report, style: Style) -> str:
    """Write Markdown, for the summary of a CI step or for an issue: a table of targets, then what is wrong in each."""
    parts = [f"## bncheck: {report.verdict.value.upper()}", _table(report)]
    for target in report.targets:
        parts += [part for part in _target(target, report, style) if part]
    facts = f"bncheck {clean(report.version)}, seed {report.seed}, {clean(report.dtype)}"
    return "\n\n".join([*parts, words(facts)]) + "\n"


def _table(report: Report) -> str:
    rows = ["| | verdict | target | |", "|---|---|---|---|"]
    for target in report.targets:
        cells = (verdict_sign(target.verdict), verdict_in_words(target), cell(target.name), cell(in_one_line(target)))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _target(target: TargetReport, report: Report, style: Style) -> Iterator[str]:
    yield f"### {verdict_in_words(target)} {code(target.name)}"
    yield words(nameless(target))
    if target.oracles is not None and target.verdict is not Verdict.PASS:
        yield words(target.oracles.conclusion)
    yield words(ended(target))
    yield from (prose(sentence) for sentence in meaning(target, report))
    yield words(of_journal(target))
    for diagnosis in target.diagnoses:
        yield from _diagnosis(target, diagnosis)
    loud = roots(target, *_LOUD)
    if loud:
        yield "#### Checks"
        yield "\n".join(_finding(finding, target) for finding in loud)
    passed = sum(finding.outcome is Outcome.PASS for finding in target.findings)
    skipped = sum(finding.outcome is Outcome.SKIP for finding in target.findings)
    if target.findings:
        yield f"{count(passed, 'check')} passed, {skipped} did not apply; {count(target.cases, 'case')}."
    if target.conventions is not None:
        yield " · ".join(words(phrase) for phrase in conventions_in_words(target.conventions))
        yield "\n".join(f"- note: {words(note)}" for note in target.conventions.notes)
    for exhibit in target.exhibits if style.verbose else target.exhibits[:1]:
        shown = next((finding for finding in roots(target, *Outcome) if finding.case == exhibit.case), None)
        yield f"{case_title(shown)}: {words(case_in_words(exhibit))}"
        yield fenced("\n".join(_case(exhibit)), "text")
    if target.replay:
        yield "Run this case again:"
        yield fenced(clean(target.replay, longest=len(target.replay)), "sh")


_LOUD = (Outcome.FAIL, Outcome.WARN, Outcome.INCONCLUSIVE)


def _finding(finding: Finding, target: TargetReport) -> str:
    """Return a finding as an item of a list, with the codes of those that follow from it."""
    where = [finding.place, finding.condition.sentence if finding.condition is not None else finding.boundary]
    facts = [finding.message, *where, "" if finding.condition is not None else cases_in_words(finding)]
    if finding.error is not None and finding.allowed is not None:
        facts.append(f"error {number(finding.error, 3)}, allowed {number(finding.allowed, 3)}")
    if is_expected(finding):
        facts.append(f"expected: {finding.expected}")
    following = [other.code for other in target.findings if other.follows_from == finding.code]
    if following:
        facts.append(
            f"{', '.join(following)} follow from it" if len(following) > 1 else f"{following[0]} follows from it"
        )
    head = f"- **{finding.outcome.value.upper()}** {code(f'{finding.code} {finding.name}')}"
    return "; ".join([head, *(words(fact) for fact in facts if fact)]).replace(";", ":", 1)


def _diagnosis(target: TargetReport, diagnosis: Diagnosis) -> Iterator[str]:
    yield f"#### {code(f'{diagnosis.code} {diagnosis.name}')}: {words(diagnosis.title)}"
    lines = [("wrong" if diagnosis.is_named else "yours", diagnosis.wrong), ("right", diagnosis.right)]
    items = [f"- {word}: {code(line)}" for word, line in lines if line]
    if diagnosis.line is not None:
        there = code(f"{diagnosis.line.file}:{diagnosis.line.number}")
        items.append(f"- probably here: {there} {code(diagnosis.line.text)}".rstrip())
    if diagnosis.condition:
        items.append(f"- {words(diagnosis.condition)}")
    beside = [d.code for d in target.diagnoses if d.tensor == diagnosis.tensor and d is not diagnosis]
    items.append(f"- {words(explained_in_words(diagnosis, beside))}")
    if diagnosis.explanation:
        items.append(f"- {'to mend it: ' * diagnosis.is_named}{words(diagnosis.explanation)}")
    yield "\n".join(items)


# ---------------------------------------------------------------------------------------------------- a small case


def _case(exhibit: Exhibit) -> Iterator[str]:
    """Yield the lines of a case: the inputs, then each tensor that is off, element by element."""
    for name, array in exhibit.inputs.items():
        yield f"{clean(name)} = {inline(array, 200)}"
    for comparison in exhibit.comparisons:
        rows = _rows(comparison)
        if rows:
            oracle = ORACLES.get(comparison.oracle, clean(comparison.oracle))
            yield ""
            yield f"{clean(comparison.tensor)}, expected by: {oracle}"
            yield from _columns(rows)


def _rows(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """Return the elements in the order of the array, the wrong ones where there are too many; none if none is off."""
    expected, found = comparison.expected, comparison.found
    if expected.shape != found.shape:
        return [("", f"shape {expected.shape}", f"shape {found.shape}", _MARK)]
    off = [at for at in range(len(expected.values)) if ratio(comparison, at) > 1]
    every = range(len(expected.values))
    shown = every if len(every) <= _MOST_ROWS else off[:_MOST_ROWS]
    rows = [
        (
            _index(at, expected.shape),
            f"{expected.values[at]:.10g}",
            f"{found.values[at]:.10g}",
            _MARK if ratio(comparison, at) > 1 else "",
        )
        for at in shown
    ]
    rest = len(off) - len(shown)
    more = [("...", f"{rest} more", "", _MARK)] if rest > 0 else []
    return [("", "expected", "found", ""), *rows, *more] if off else []


def _index(at: int, shape: Sequence[int]) -> str:
    places = []
    for size in reversed(shape):
        places.append(at % size)
        at //= size
    return f"[{', '.join(map(str, reversed(places)))}]"


def _columns(rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for index, expected, found, mark in rows:
        yield f"{index:<{widths[0]}}  {expected:>{widths[1]}}  {found:>{widths[2]}}  {mark}".rstrip()
