"""The report as workflow commands, which GitHub Actions shows as annotations of the code.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bncheck.model import Outcome
from bncheck.report import Report, SourceLine, TargetReport, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.parts import explained, file_of, is_expected, place_of, replaying, roots, told, undecided
from bncheck.reporters.short import in_one_line
from bncheck.reporters.wording import clean, verdict_in_words

_LONGEST = 4000
# As @actions/core escapes them.
_IN_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTIES = {**_IN_DATA, ":": "%3A", ",": "%2C"}


@REPORTERS.register("github")
def github(report: Report, style: Style) -> str:
    """Write workflow commands, for GitHub Actions: an annotation for each bug, failure and warning.

    Every line is a command, since a runner that meets foreign text at the beginning of a line might obey it.
    """
    return "".join(f"{line}\n" for target in report.targets for line in _of(target))


def _of(target: TargetReport) -> Iterator[str]:
    """Yield the annotations of a target: bugs first, since GitHub shows ten of a step."""
    found = False
    for diagnosis in target.diagnoses:
        found = True
        said = "\n".join(filter(None, (explained(diagnosis), diagnosis.replay or target.replay)))
        yield _command(target, "error", f"{diagnosis.code} {diagnosis.name}", said, place_of(target, diagnosis))
    for finding in roots(target, Outcome.FAIL, Outcome.WARN):
        level = "error" if finding.outcome is Outcome.FAIL and finding.severity == "error" else "warning"
        level = "notice" if is_expected(finding) else level
        found = found or level == "error"
        known = f"expected: {finding.expected}" if is_expected(finding) else ""
        said = "\n".join(filter(None, (f"{target.name}: {told(finding)}", known, replaying(target, finding))))
        yield _command(target, level, f"{finding.code} {finding.name}", said, target.defined)
    if target.verdict is Verdict.PASS:
        yield _command(target, "notice", "bncheck", f"PASS {target.name}: {in_one_line(target)}", target.defined)
    elif not found or target.error:
        level = "warning" if target.stub or target.verdict is Verdict.INCONCLUSIVE else "error"
        said = f"{verdict_in_words(target)} {target.name}: {undecided(target)}"
        yield _command(target, level, "bncheck", said, target.defined)


def _command(target: TargetReport, level: str, title: str, message: str, line: SourceLine | None) -> str:
    file, is_notebook = file_of(target, line)
    properties = {"file": file} if file else {}
    if line is not None and is_notebook:
        message = f"{line.file}, line {line.number}: {message}"
    elif line is not None and file:
        properties["line"] = str(line.number)
    properties["title"] = title
    given = ",".join(f"{key}={_escaped(value, _IN_PROPERTIES)}" for key, value in properties.items())
    return f"::{level} {given}::{_escaped(message, _IN_DATA)}"


def _escaped(text: str, table: Mapping[str, str]) -> str:
    text = clean(text, keep_lines=True, longest=_LONGEST)
    return "".join(table.get(character, character) for character in text)
