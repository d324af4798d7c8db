"""What several reporters pick out of a report: the findings that matter, and what belongs to one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bncheck.errors import NOTHING
from bncheck.model import Outcome
from bncheck.report import CHANGED, Diagnosis, Finding, Report, SourceLine, TargetReport, Verdict
from bncheck.reporters.short import in_one_line, nameless
from bncheck.reporters.wording import count

_TALLIED = {
    Verdict.PASS: "right",
    Verdict.FAIL: "wrong",
    Verdict.INCONCLUSIVE: "undecided",
    Verdict.ERROR: "not run",
    Verdict.INTERRUPTED: "interrupted",
}


def tally(report: Report) -> str:
    """Return how many targets came to what: "2 right, 1 wrong"; "" without any."""
    counted = [
        (sum(target.verdict is verdict for target in report.targets), word) for verdict, word in _TALLIED.items()
    ]
    return ", ".join(f"{n} {word}" for n, word in counted if n)


def meaning(target: TargetReport, report: Report) -> Iterator[str]:
    """Yield what a verdict means that its word alone does not tell, and what to do about it, in plain sentences."""
    failed = any(finding.outcome is Outcome.FAIL for finding in target.findings)
    if target.verdict is Verdict.INTERRUPTED and not target.cases:
        yield "None of its cases was run; nothing is known about it."
    elif target.verdict is Verdict.INTERRUPTED:
        yield f"Stopped after {count(target.cases, 'case')}; nothing is known about the others."
    elif target.verdict is Verdict.FAIL and not failed:
        yield "Nothing is wrong, but --strict asks that nothing is warned of either."
    elif target.verdict is Verdict.INCONCLUSIVE:
        yield _why_undecided(target, report)
    elif target.stub and not target.error:
        yield "It returns nothing or raises NotImplementedError. Fill it in, then verify it again."
    elif target.verdict is Verdict.ERROR and target.discovery and not target.stub and not target.own_fault:
        if "MemoryError" in target.error or NOTHING in target.error:
            return  # however it is called
        yield "An adapter of a few lines tells how to call it: bncheck init --adapter."


def ended(target: TargetReport) -> str:
    """Return why not all cases were run, in a sentence that names files of the user's; "" where they were."""
    return f"{target.cases:,} of {count(target.planned, 'case')} were run: {target.stopped}." if target.stopped else ""


def of_journal(target: TargetReport) -> str:
    """Return which cases come from a journal and how to go on, in sentences that name the file; "" without one."""
    sentences = []
    if target.resumed:
        were = "was" if target.resumed == 1 else "were"
        sentences.append(f"{target.resumed:,} of {count(target.cases, 'case')} {were} read from {target.journal}.")
    ended_early = target.verdict is Verdict.INTERRUPTED or target.cases < target.planned
    if target.journal and ended_early and target.stopped != CHANGED:
        sentences.append(f"The same command with --resume goes on where {target.journal} ends.")
    return " ".join(sentences)


def _why_undecided(target: TargetReport, report: Report) -> str:
    text = "Neither right nor wrong has been shown"
    outcomes = {finding.outcome for finding in target.findings}
    if Outcome.INCONCLUSIVE in outcomes:
        helps = "" if report.dtype == "float64" else "--dtype float64 makes rounding smaller; "
        text += ": rounding hid an answer in every case."
        return f"{text} What may help: {helps}--cases makes more cases, --seed others."
    if Outcome.PASS in outcomes:
        return f"{text}: the two oracles contradict each other. This should not happen; please report it."
    return f"{text}: no check applied to any case."


def roots(target: TargetReport, *outcomes: Outcome) -> list[Finding]:
    """Return the findings of these outcomes that follow from no other."""
    return [finding for finding in target.findings if finding.outcome in outcomes and finding.follows_from is None]


def is_expected(finding: Finding) -> bool:
    """Tell whether a finding is a failure that is known; one that is known and stays away fails."""
    return bool(finding.expected) and finding.outcome is Outcome.WARN


def has_ended(finding: Finding) -> bool:
    """Tell whether a failure is that an expected one stays away: no case fails."""
    return finding.outcome is Outcome.FAIL and bool(finding.counts) and not finding.counts.get(Outcome.FAIL)


def answer(findings: Sequence[Finding], tensor: str, oracle: str) -> str:
    """Return what the cases say of a tensor beside an oracle: "yes", "no", "unknown", or "none" where none compared it.

    A tensor of a wrong shape cannot be compared, and the check ``<tensor>-matches-<oracle>`` passes on the other cases.
    """
    fails = {f.code for f in findings if f.tensor == tensor and _has_failing_cases(f)}
    finding = next((f for f in findings if f.name == f"{tensor}-matches-{oracle}"), None)
    if SHAPES in fails or (finding is not None and _has_failing_cases(finding)):
        return "no"
    if finding is None:
        return "none"
    if finding.outcome in (Outcome.PASS, Outcome.WARN) or has_ended(finding):
        return "yes"
    if FINITE in fails:
        return "no"
    return "unknown" if finding.outcome is Outcome.INCONCLUSIVE else "none"


# The checks that leave nothing to compare where they fail.
SHAPES, FINITE = "BN501", "BN503"


def _has_failing_cases(finding: Finding) -> bool:
    return is_expected(finding) or (finding.outcome is Outcome.FAIL and not has_ended(finding))


def replaying(target: TargetReport, finding: Finding) -> str:
    """Return the command that replays a finding's case; the target's own is for its first exhibit."""
    first = target.exhibits[0].case if target.exhibits else ""
    return target.replay.replace(first, finding.case) if first and finding.case else target.replay


def narrowed(target: TargetReport, code: str) -> TargetReport:
    """Return the report of one check's finding alone, with its diagnoses and its case; as it is without that check."""
    finding = next((finding for finding in target.findings if finding.code == code), None)
    if finding is None:
        return target
    return replace(
        target,
        findings=(finding,),
        diagnoses=tuple(named(target, finding)),
        exhibits=tuple(exhibit for exhibit in target.exhibits if exhibit.case == finding.case),
        replay=replaying(target, finding),
    )


def named(target: TargetReport, finding: Finding) -> list[Diagnosis]:
    """Return the diagnoses of what a finding is about."""
    return [diagnosis for diagnosis in target.diagnoses if diagnosis.is_about(finding)]


def place_of(target: TargetReport, diagnosis: Diagnosis | None = None) -> SourceLine | None:
    """Return where a bug is, else where its target begins; None where neither is known."""
    return (diagnosis.line if diagnosis is not None else None) or target.defined


def file_of(target: TargetReport, line: SourceLine | None) -> tuple[str, bool]:
    """Return the path of the file of a line, and whether that is a notebook, whose file has other lines.

    Without a line the file is the one that the target is called after, if it is; "" where there is none.
    """
    named = line.file if line is not None else target.name.partition("::")[0]
    file, cell, _ = named.partition(".ipynb, ")
    if cell or named.endswith(".ipynb"):
        return (f"{file}.ipynb" if cell else named), True
    is_file = line is not None or named.endswith(".py")
    return ("" if named.startswith("cell ") or not is_file else named), False


def told(finding: Finding) -> str:
    """Return what a finding says, where, and in which cases, in one line."""
    where = finding.condition.sentence if finding.condition is not None else finding.boundary
    return "; ".join(filter(None, (finding.message, finding.place, where)))


def explained(diagnosis: Diagnosis) -> str:
    """Return what a diagnosis says: the bug, the two lines, how to mend it, and when it shows."""
    lines = [
        ("wrong: " if diagnosis.is_named else "yours: ", diagnosis.wrong),
        ("right: ", diagnosis.right),
        ("to mend it: ", diagnosis.explanation),
    ]
    lines += [("shows in ", diagnosis.tensor), ("where: ", diagnosis.condition)]
    return "\n".join([diagnosis.title, *(f"{head}{text}" for head, text in lines if text)])


def undecided(target: TargetReport) -> str:
    """Return what the verdict of a target rests on, where no check of it failed."""
    if target.error:
        return nameless(target)
    if target.verdict is Verdict.FAIL or (target.verdict is Verdict.INTERRUPTED and not target.cases):
        return in_one_line(target)
    return target.oracles.conclusion if target.oracles is not None else f"the verdict is {target.verdict.value}"
