"""The report as JUnit XML, which most CI systems show as test results."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bncheck.model import Outcome
from bncheck.report import Finding, Report, TargetReport, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.parts import is_expected, named, replaying, told, undecided
from bncheck.reporters.wording import clean, verdict_in_words

# XML 1.0 has no way to write any other character (https://www.w3.org/TR/xml/#charsets).
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WIDTH = 100
_LONGEST = 4000


@REPORTERS.register("junit")
def junit(report: Report, style: Style) -> str:
    """Write JUnit XML, for CI: a suite per target, a test per check."""
    root = Element("testsuites", name="bncheck")
    for target in report.targets:
        root.append(_suite(report, target))
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    root.set("time", _seconds(sum(target.seconds for target in report.targets)))
    indent(root)
    text: str = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _suite(report: Report, target: TargetReport) -> Element:
    suite = Element("testsuite", name=_legal(target.name))
    cases = [_case(report, target, finding) for finding in target.findings]
    if target.error or not (target.verdict is Verdict.PASS or any(_is_bad(case) for case in cases)):
        cases.append(_without_verdict(target))
    kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    suite.set("tests", str(len(cases)))
    for key, tag in kinds.items():
        suite.set(key, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", _seconds(target.seconds))
    properties = SubElement(suite, "properties")
    told = {"verdict": target.verdict.value, "seed": str(report.seed), "dtype": target.dtype or report.dtype}
    told["replay"] = target.replay
    for name, value in told.items():
        if value:
            SubElement(properties, "property", name=name, value=_legal(value))
    suite.extend(cases)
    return suite


def _case(report: Report, target: TargetReport, finding: Finding) -> Element:
    case = Element("testcase", classname=_legal(target.name), name=_legal(f"{finding.code} {finding.name}"))
    outcome, said = finding.outcome, told(finding)
    if _is_strict(target) and outcome is Outcome.WARN and not is_expected(finding):
        outcome = Outcome.FAIL
    if is_expected(finding):
        _say(case, "skipped", f"an expected failure: {finding.expected}")
    elif outcome is Outcome.SKIP or (outcome is Outcome.INCONCLUSIVE and target.verdict is Verdict.PASS):
        _say(case, "skipped", said)
    elif finding.follows_from is not None and outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        _say(case, "failure", f"follows from {finding.follows_from}: {said}", outcome.value)
    elif outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        bugs = "; ".join(f"{bug.code} {bug.name}: {bug.title}" for bug in named(target, finding))
        replay = replaying(target, finding)
        _say(case, "failure", bugs or said, outcome.value, "\n".join(filter(None, (said, replay))))
        alone = _alone(report, target, finding)
        SubElement(case, "system-out").text = _legal(alone, keep_lines=True, longest=len(alone))
    elif outcome is Outcome.WARN:
        SubElement(case, "system-out").text = _legal(f"warning: {said}")
    return case


def _is_strict(target: TargetReport) -> bool:
    """Tell whether it is the warnings that fail a target."""
    return target.verdict is Verdict.FAIL and not any(f.outcome is Outcome.FAIL for f in target.findings)


def _alone(report: Report, target: TargetReport, finding: Finding) -> str:
    """Return the report of one finding in plain text."""
    alone = replace(report, targets=(target,))
    return REPORTERS.get("plain")(alone, Style(width=_WIDTH, only=finding.code))


def _without_verdict(target: TargetReport) -> Element:
    """Return the test that stands for a target that has no verdict, although none of its checks failed."""
    case = Element("testcase", classname=_legal(target.name), name="verdict")
    _say(case, "error", undecided(target), verdict_in_words(target).lower())
    return case


def _say(case: Element, tag: str, message: str, kind: str = "", text: str = "") -> None:
    said = SubElement(case, tag, message=_legal(message))
    if kind:
        said.set("type", _legal(kind))
    if text:
        said.text = _legal(text, keep_lines=True)


def _is_bad(case: Element) -> bool:
    return case.find("failure") is not None or case.find("error") is not None


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _legal(text: str, keep_lines: bool = False, longest: int = _LONGEST) -> str:
    """Return foreign text without what XML cannot hold, and without what a log would obey."""
    text = clean(text, keep_lines=keep_lines, longest=longest)
    return _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
