"""The report as SARIF 2.1.0, which code scanning services and editors show beside the code.

Specification: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bncheck.model import Outcome
from bncheck.report import Diagnosis, Finding, Report, SourceLine, TargetReport, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.manual import entry
from bncheck.reporters.parts import explained, file_of, is_expected, place_of, replaying, roots, told, undecided
from bncheck.reporters.wording import clean

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
# What relative paths are relative to; whoever reads the file knows where that is.
_ROOT = "%SRCROOT%"
_LONGEST = 4000
_NOT_RUN = (Verdict.ERROR, Verdict.INTERRUPTED, Verdict.INCONCLUSIVE)


@REPORTERS.register("sarif")
def sarif(report: Report, style: Style) -> str:
    """Write SARIF 2.1.0, for code scanning and editors: a result for each bug and failure, at its line."""
    rules = list(_rules(report))
    indices = {rule["id"]: index for index, rule in enumerate(rules)}
    results = [result for target in report.targets for result in _results(target)]
    seen: Counter[str] = Counter()
    for result in results:
        result["ruleIndex"] = indices[result["ruleId"]]
        mark = result["partialFingerprints"]["targetCodeTensor/v1"]
        seen[mark] += 1
        if seen[mark] > 1:  # the same bug twice in one tensor, or targets of the same name
            result["partialFingerprints"]["targetCodeTensor/v1"] = f"{mark}:{seen[mark]}"
    run = {
        "tool": {"driver": {**_driver(report), "rules": rules}},
        "invocations": [_invocation(report)],
        "results": results,
        "columnKind": "unicodeCodePoints",
        "properties": {"verdict": report.verdict.value, "seed": report.seed, "dtype": clean(report.dtype)},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, allow_nan=False) + "\n"


def _driver(report: Report) -> dict[str, Any]:
    return {"name": "bncheck", "version": clean(report.version), **_home()}


def _home() -> dict[str, str]:
    """Return where bncheck lives, if the package says so."""
    try:
        urls = metadata("bncheck").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    home = next((url.partition(",")[2].strip() for url in urls), "")
    return {"informationUri": home} if home else {}


def _invocation(report: Report) -> dict[str, Any]:
    notes = [_notification(target) for target in report.targets if target.verdict in _NOT_RUN]
    ran = report.verdict is not Verdict.INTERRUPTED and not any(
        target.verdict is Verdict.ERROR and not target.stub for target in report.targets
    )
    return {"executionSuccessful": ran, "toolExecutionNotifications": notes}


def _notification(target: TargetReport) -> dict[str, Any]:
    """Return what is to be said of a target that has no verdict."""
    level = "error" if target.verdict is Verdict.ERROR and not target.stub else "warning"
    said = f"{target.verdict.value}: {target.name}: {undecided(target)}"
    return {"level": level, "message": {"text": _plain(said)}, "locations": [_location(target, target.defined)]}


# --------------------------------------------------------------------------------------------------------------- rules


def _rules(report: Report) -> Iterator[dict[str, Any]]:
    """Yield the checks that were run, and the bugs that were named, each once."""
    checks = {f.code: (f.name, f.severity) for target in report.targets for f in target.findings}
    bugs = {d.code: (d.name, "error") for target in report.targets for d in target.diagnoses}
    for code, (name, severity) in sorted((checks | bugs).items()):
        page = entry(code, clean(name))
        yield {
            "id": code,
            "name": clean(name),
            "shortDescription": {"text": page.short},
            "fullDescription": {"text": page.full},
            "help": {"text": page.text, "markdown": page.markdown},
            "defaultConfiguration": {"level": "error" if severity == "error" else "warning"},
        }


# ------------------------------------------------------------------------------------------------------------- results


def _results(target: TargetReport) -> Iterator[dict[str, Any]]:
    for diagnosis in target.diagnoses:
        yield _of_diagnosis(target, diagnosis)
    for finding in roots(target, Outcome.FAIL, Outcome.WARN):
        yield _of_finding(target, finding)


def _of_diagnosis(target: TargetReport, diagnosis: Diagnosis) -> dict[str, Any]:
    replay = diagnosis.replay or target.replay
    return {
        "ruleId": diagnosis.code,
        "level": "error",
        "message": {"text": _plain(explained(diagnosis))},
        "locations": [_location(target, place_of(target, diagnosis))],
        "partialFingerprints": _fingerprint(target, diagnosis.code, diagnosis.tensor),
        "properties": _properties(diagnosis.tensor, replay),
    }


def _of_finding(target: TargetReport, finding: Finding) -> dict[str, Any]:
    result = {
        "ruleId": finding.code,
        "level": "error" if finding.outcome is Outcome.FAIL and finding.severity == "error" else "warning",
        "message": {"text": _plain(told(finding))},
        "locations": [_location(target, target.defined)],
        "partialFingerprints": _fingerprint(target, finding.code, finding.tensor),
        "properties": _properties(finding.tensor, replaying(target, finding), finding.case),
    }
    if is_expected(finding):
        result["suppressions"] = [{"kind": "external", "justification": _plain(finding.expected)}]
    return result


def _properties(tensor: str | None, replay: str, case: str | None = None) -> dict[str, str]:
    given = {"tensor": tensor, "case": case, "replay": replay}
    return {key: clean(text, longest=_LONGEST) for key, text in given.items() if text}


def _fingerprint(target: TargetReport, code: str, tensor: str | None) -> dict[str, str]:
    """Return what stays the same from run to run: neither a number, nor a seed, nor a line.

    Files of one name in two folders have targets of one name: the path from here tells them apart.
    """
    file, _ = file_of(target, target.defined)
    here = os.path.relpath(file).replace(os.sep, "/") if file else ""
    within = target.name.partition("::")[2] or target.name
    parts = "\0".join((here, within, code, tensor or ""))
    return {"targetCodeTensor/v1": sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()}


def _plain(text: str) -> str:
    """Return foreign text as a message: without placeholders, and without links (SARIF 2.1.0, 3.11.5 and 3.11.6)."""
    text = clean(text, keep_lines=True, longest=_LONGEST)
    return text.replace("](", "] (").replace("{", "{{").replace("}", "}}")


# ------------------------------------------------------------------------------------------------------------ locations


def _location(target: TargetReport, line: SourceLine | None) -> dict[str, Any]:
    """Return the line if it is known, else the file that the target is called after."""
    location: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": clean(target.name)}]}
    file, is_notebook = file_of(target, line)
    if not file:
        return location
    physical: dict[str, Any] = {"artifactLocation": _artifact(file)}
    if line is not None and not is_notebook:
        physical["region"] = {"startLine": max(line.number, 1), "snippet": {"text": clean(line.text)}}
    location["physicalLocation"] = physical
    if line is not None and is_notebook:  # the lines of a cell are not those of the notebook's file
        location["message"] = {"text": _plain(f"{line.file}, line {line.number}: {line.text}")}
    return location


def _artifact(file: str) -> dict[str, str]:
    """Return a path as a URI: as the user named it if that is relative, else from the root of the machine."""
    path = clean(file, longest=_LONGEST)
    if os.path.isabs(path):
        return {"uri": Path(path).as_uri()}
    # Neither a scheme nor a host can be read out of it: a colon and a second slash in front are escaped or gone.
    return {"uri": quote(os.path.normpath(path).replace(os.sep, "/"), safe="/"), "uriBaseId": _ROOT}
