"""What the page says of a report, part by part, as plain values; how it looks is the template's business."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bncheck.model import TENSORS, Outcome
from bncheck.report import Comparison, Diagnosis, Exhibit, Finding, Report, TargetReport, Verdict
from bncheck.reporters.document import formulas, tiles
from bncheck.reporters.manual import typical_causes
from bncheck.reporters.matrices import Pane, how_many_differ, inline, panes
from bncheck.reporters.parts import answer, ended, meaning, of_journal, tally
from bncheck.reporters.short import in_one_line, nameless
from bncheck.reporters.wording import (
    DASH,
    ORACLES,
    case_in_words,
    case_title,
    cases_in_words,
    conventions_in_words,
    count,
    decided_share,
    excess,
    explained_in_words,
    number,
    share_in_words,
    verdict_in_words,
    verdict_sign,
)

# Roles of the style sheet.
ROLES = {Verdict.PASS: "good", Verdict.FAIL: "bad"}
OUTCOMES = {
    Outcome.FAIL: ("✘", "fails", "bad"),
    Outcome.WARN: ("!", "warns", "warn"),
    Outcome.INCONCLUSIVE: ("?", "undecided", "warn"),
    Outcome.PASS: ("✔", "passes", "good"),
    Outcome.SKIP: (DASH, "does not apply", "faint"),
}
ANSWERS = {"yes": ("yes", "good"), "no": ("no", "bad"), "none": (DASH, "faint")}
# Characters of an input that is written out; a longer one has its shape and range.
_INLINE = 400
_PRINTED = 4000


@dataclass(frozen=True, slots=True)
class Answer:
    """A word of the two-oracle table, and its role."""

    word: str
    role: str


@dataclass(frozen=True, slots=True)
class Row:
    """A finding as a line of the list; `follows` are those that are folded under it."""

    finding: Finding
    sign: str
    word: str
    role: str
    cases: str
    ratio: str
    told: tuple[str, ...]
    follows: tuple[str, ...]


def heading(report: Report) -> str:
    """Return what the whole run comes to, in a few words."""
    if len(report.targets) == 1:
        return f"{verdict_sign(report.verdict)} {verdict_in_words(report.targets[0])}"
    return f"{report.verdict.value.upper()}: {tally(report) or 'nothing was verified'}"


def target_view(target: TargetReport, report: Report, place: int) -> dict[str, Any]:
    """Return everything that is shown of one target; `place` makes ids."""
    roots = [f for f in target.findings if f.follows_from is None]
    conventions = target.conventions
    return {
        "id": f"target-{place}",
        "report": target,
        "names": _names(target),
        "sign": verdict_sign(target.verdict),
        "word": verdict_in_words(target),
        "role": ROLES.get(target.verdict, "warn"),
        "why": in_one_line(target),
        "error": nameless(target),
        "meaning": list(filter(None, (ended(target), *meaning(target, report), of_journal(target)))),
        "facts": list(_facts(target, report)),
        "conventions": conventions_in_words(conventions) if conventions is not None else [],
        "notes": conventions.notes if conventions is not None else (),
        "diagnoses": [_diagnosis(d, target.diagnoses) for d in target.diagnoses],
        "oracles": oracle_rows(target),
        "rows": [_row(f, target.findings) for f in roots if f.outcome in (*_LOUD, Outcome.INCONCLUSIVE)],
        "passed": [(_row(f, ()), _rules_out(f)) for f in roots if f.outcome is Outcome.PASS],
        "skipped": [_row(f, ()) for f in roots if f.outcome is Outcome.SKIP],
        "exhibits": [_exhibit(e, target, f"e{place}-{i}") for i, e in enumerate(target.exhibits)],
        "trends": [(f, f"t{place}-{i}") for i, f in enumerate(roots) if f.trend is not None],
        "explain": [d.code for d in target.diagnoses][:1] + [f.code for f in roots if f.outcome in _LOUD][:1],
    }


def _names(target: TargetReport) -> list[str]:
    """Return the file and what is in it, between which a line is broken first."""
    file, joint, inside = target.name.partition("::")
    return [part for part in (file, joint + inside) if part]


_LOUD = (Outcome.FAIL, Outcome.WARN)


def _facts(target: TargetReport, report: Report) -> Iterator[str]:
    """Yield what the verdict rests on."""
    if target.cases:
        dtype = target.dtype or (target.conventions.dtype if target.conventions is not None else "") or report.dtype
        passed = sum(f.outcome is Outcome.PASS for f in target.findings)
        yield f"{count(passed, 'check')} passed on {count(target.cases, 'case')} in {dtype}"
    share = decided_share(target)
    if share is not None:
        hidden = f"{share_in_words(share)} of all answers are certain; rounding is too large to tell the others"
        yield "every answer is certain" if share == 1 else hidden
    measured = [(ratio, f) for f in target.findings if f.outcome is Outcome.PASS and (ratio := excess(f)) is not None]
    if measured and target.verdict is Verdict.PASS:
        ratio, worst = max(measured, key=lambda pair: pair[0])
        told = f"the error nearest to its limit is {number(ratio, 2)} times what rounding may do"
        yield f"{told} ({worst.code} {worst.name})"


def _diagnosis(diagnosis: Diagnosis, all_of_them: Sequence[Diagnosis]) -> dict[str, Any]:
    beside = [d.code for d in all_of_them if d.tensor == diagnosis.tensor and d is not diagnosis]
    return {
        "report": diagnosis,
        "lines": [
            (word, role, line, formulas.pieces(line))
            for word, role, line in (
                ("wrong" if diagnosis.is_named else "yours", "bad", diagnosis.wrong),
                ("right", "good", diagnosis.right),
            )
            if line
        ],
        "explained": explained_in_words(diagnosis, beside),
    }


def oracle_rows(target: TargetReport) -> list[tuple[str, list[Answer]]]:
    """Return the rows of the two-oracle table: forward, backward, then every tensor; nothing where none was asked."""
    oracles = target.oracles
    if oracles is None:
        return []
    rows = [
        (f"A  {ORACLES['reference']}", "reference", oracles.forward_is_reference, oracles.backward_is_reference),
        (f"B  {ORACLES['numeric']}", "numeric", "none", oracles.backward_is_own_derivative),
    ]
    shown = rows[:1] if oracles.backward_is_reference == "none" else rows
    return [
        (label, [_answer(forward), _answer(backward), *(_tensor(target.findings, t, oracle) for t in TENSORS)])
        for label, oracle, forward, backward in shown
    ]


def _answer(word: str) -> Answer:
    return Answer(*ANSWERS.get(word, ("?" if word == "unknown" else word, "faint")))


def _tensor(findings: Sequence[Finding], tensor: str, oracle: str) -> Answer:
    """Return what the cases say of a tensor, as a word."""
    words = {"no": Answer("wrong", "bad"), "yes": Answer("ok", "good"), "unknown": Answer("?", "faint")}
    return words.get(answer(findings, tensor, oracle), Answer(DASH, "faint"))


def _row(finding: Finding, beside: Sequence[Finding]) -> Row:
    sign, word, role = OUTCOMES[finding.outcome]
    ratio = excess(finding)
    told = (finding.message, finding.place, finding.condition.sentence if finding.condition else "", finding.boundary)
    return Row(
        finding,
        sign,
        word,
        role,
        cases="" if finding.outcome is Outcome.SKIP else cases_in_words(finding),
        ratio="" if ratio is None else f"{number(ratio, 2)}",
        told=tuple(filter(None, told)),
        follows=tuple(f"{f.code} {f.name}" for f in beside if f.follows_from == finding.code),
    )


def _rules_out(finding: Finding) -> list[tuple[str, bool]]:
    """Return the mistakes that usually make a check fail, as pieces of text and whether they are code."""
    causes = typical_causes(finding.code)
    # The beginning of a sentence, which it is no more; a name keeps its letters.
    starts_a_sentence = causes[:1].isupper() and causes[1:2].islower()
    causes = causes[:1].lower() + causes[1:] if starts_a_sentence else causes
    return [(part, at % 2 == 1) for at, part in enumerate(causes.split("``")) if part]


def _exhibit(exhibit: Exhibit, target: TargetReport, name: str) -> dict[str, Any]:
    finding = next((f for f in target.findings if f.case == exhibit.case and f.follows_from is None), None)
    differing = [c for c in exhibit.comparisons if how_many_differ(c)]
    return {
        "id": name,
        "report": exhibit,
        "finding": finding,
        "title": case_title(finding),
        "words": case_in_words(exhibit),
        "inputs": [(tensor, inline(array, _INLINE)) for tensor, array in exhibit.inputs.items()],
        "comparisons": [
            _comparison(c, f"{name}-{i}") for i, c in enumerate([*differing, *_agreeing(exhibit, differing)])
        ],
        "worst": _worst(finding),
        "worked": list(_worked(exhibit)),
        "printed": exhibit.printed[:_PRINTED],
    }


def _agreeing(exhibit: Exhibit, differing: Sequence[Comparison]) -> list[Comparison]:
    return [c for c in exhibit.comparisons if c not in differing]


def _comparison(comparison: Comparison, name: str) -> dict[str, Any]:
    expected, found = panes(comparison)
    off = how_many_differ(comparison)
    size = len(comparison.found.values)
    return {
        "id": name,
        "report": comparison,
        "oracle": ORACLES.get(comparison.oracle, comparison.oracle),
        "panes": [("expected", _numbered(expected, comparison)), ("found", _numbered(found, comparison))],
        "axes": _AXES if len(comparison.expected.shape) == 2 and comparison.tensor in ("y", "dx") else "",
        "off": off,
        "size": size,
        "picture": tiles.picture(comparison) if off and len(comparison.expected.values) > 1 else None,
    }


_AXES = "A row for each sample of the batch, a column for each channel."


def _numbered(pane: Pane, comparison: Comparison) -> dict[str, Any]:
    """Return a pane with the index of each row and column; a vector has no rows, and a number has neither."""
    top, left = pane.corner
    axes = len(comparison.expected.shape)
    wide = max((len(row) for row in pane.rows), default=0)
    return {
        "title": pane.title,
        "columns": [str(left + at) for at in range(wide)] if axes else [],
        "rows": [(str(top + at) if axes > 1 else "", row) for at, row in enumerate(pane.rows)],
    }


def _worst(finding: Finding | None) -> str:
    """Return the worst element in words, with as many digits as tell the two numbers apart."""
    if finding is None or finding.error is None or finding.allowed is None:
        return ""
    error = f"error {number(finding.error, 3)}, allowed for rounding {number(finding.allowed, 3)}"
    if finding.got is None or finding.want is None or finding.index is None:
        return error
    place = f"[{', '.join(map(str, finding.index))}]" if finding.index else ""
    digits = next((d for d in range(4, 17) if number(finding.got, d) != number(finding.want, d)), 17)
    got, want = number(finding.got, digits), number(finding.want, digits)
    return f"{finding.tensor}{place} is {got}, and should be {want}: {error}"


def _worked(exhibit: Exhibit) -> Iterator[tuple[str, list[formulas.Piece], str, bool]]:
    """Yield the steps of the formula: name, formula, values, whether they are the user's."""
    for quantity in exhibit.worked.quantities if exhibit.worked is not None else ():
        values = ", ".join(number(value, 5) for value in quantity.values[:12])
        more = ", …" if len(quantity.values) > 12 else ""
        yield (
            quantity.name,
            formulas.pieces(quantity.formula, side_by_side=True),
            values + more,
            quantity.name.startswith("your "),
        )
