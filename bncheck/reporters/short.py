"""One line per target, for ``--quiet`` and for logs."""

from __future__ import annotations

from bncheck.model import Outcome
from bncheck.report import Report, TargetReport, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.wording import clean, count, to_ascii, verdict_in_words


@REPORTERS.register("short")
def short(report: Report, style: Style) -> str:
    """Say what each target comes to, on one line, however long."""
    text = "".join(
        f"{verdict_in_words(t)} {clean(t.name, style.ascii)}: {clean(in_one_line(t), style.ascii)}\n"
        for t in report.targets
    )
    return to_ascii(text) if style.ascii else text


def nameless(target: TargetReport) -> str:
    """Return why a target has no verdict, to be told behind its name: without that name, with which it may begin."""
    name, sep, reason = target.error.partition(": ")
    # A sentence may begin with the name of what is in a file, and have a colon further on.
    is_in_it = f"{name}::".startswith(f"{target.name}::") and " " not in name.removeprefix(target.name)
    return reason if sep and (is_in_it or target.name.endswith(f"/{name}")) else target.error


def in_one_line(target: TargetReport) -> str:
    """Return what a target's verdict rests on, as one phrase."""
    if target.error:
        return " ".join(nameless(target).split())  # some errors have lines
    if target.verdict is Verdict.INTERRUPTED and not target.cases:
        return "none of its cases was run"
    wanted = Outcome.INCONCLUSIVE if target.verdict is Verdict.INCONCLUSIVE else Outcome.FAIL
    roots = [f for f in target.findings if f.outcome is wanted and f.follows_from is None]
    roots = roots or [f for f in target.findings if f.outcome is Outcome.WARN and f.follows_from is None]
    if roots and target.verdict is not Verdict.PASS:
        failing = ", ".join(f"{f.code} {f.name}" for f in roots)
        bugs = ", ".join(f"{d.code} {d.name}" for d in target.unexpected if d.is_named)
        return f"{bugs} ({failing})" if bugs else failing
    alone = ", forward only" if target.conventions is not None and target.conventions.forward_only else ""
    passed = sum(f.outcome is Outcome.PASS for f in target.findings)
    return ", ".join((f"{count(passed, 'check')} on {count(target.cases, 'case')}", *beside(target))) + alone


def beside(target: TargetReport) -> list[str]:
    """Return what is not right beside a verdict that is: "1 warning", "2 expected failures"."""
    warned = [f for f in target.findings if f.outcome is Outcome.WARN and f.follows_from is None]
    known = sum(bool(f.expected) for f in warned)
    told = [(len(warned) - known, "warning"), (known, "expected failure")]
    return [count(number, what) for number, what in told if number]
