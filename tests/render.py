"""Render hand-made reports as snapshots in fixtures/reports/.

``python tests/render.py`` writes them all anew; read the diff before you commit it. tests/reporters/test_snapshots.py
compares them with what the reporters say now.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

from bncheck.model import Outcome
from bncheck.report import (
    ArrayData,
    Condition,
    Diagnosis,
    Exhibit,
    Finding,
    OracleTable,
    Probed,
    Report,
    SourceLine,
    TargetReport,
    Trend,
    Verdict,
)
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.specimen import CASE, CONVENTIONS, compare, misprinted, passed, right

FOLDER = Path(__file__).parent.parent / "fixtures" / "reports"
WIDTHS = (80, 100)
HOSTILE = "evil[bold red]\x1b[31m\x07\u202eabc\r\nname\ud800[/]"


def report(*targets: TargetReport, dtype: str = "float64") -> Report:
    verdicts = [t.verdict for t in targets]
    grave = (Verdict.INTERRUPTED, Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS)
    return Report(targets, next(v for v in grave if v in verdicts), version="0.0", seed=0, dtype=dtype)


def finding(outcome: Outcome, **more) -> Finding:
    given = {"code": "BN201", "name": "dx-matches-numeric", "severity": "error", "message": "dx is off", "tensor": "dx"}
    return Finding(outcome=outcome, **{**given, **more})


def inconclusive() -> TargetReport:
    counts = {"inconclusive": 190, "skip": 10}
    found = finding(Outcome.INCONCLUSIVE, message="rounding hides the derivative of the forward here", counts=counts)
    oracles = OracleTable("yes", "unknown", "unknown", "Not everything could be decided.")
    return TargetReport(
        "half.py::bn",
        Verdict.INCONCLUSIVE,
        CONVENTIONS,
        oracles,
        (found, passed("BN101", "y-matches-reference", "y")),
        cases=200,
        seconds=1.0,
    )


def warned() -> TargetReport:
    found = finding(
        Outcome.WARN,
        code="BN401",
        name="variance-keeps-its-digits",
        message="y has lost about 6 digits",
        tensor="y",
        counts={"pass": 190, "warn": 10},
    )
    return replace(right(), findings=(*right().findings, found))


def broken() -> TargetReport:
    return TargetReport("gone.py", Verdict.ERROR, error="gone.py: it imports cupy, which is not installed.\nTry pip.")


def contradiction() -> TargetReport:
    oracles = OracleTable("yes", "no", "yes", "Contradiction: the backward equals the reference, not its derivative.")
    return replace(right(), verdict=Verdict.INCONCLUSIVE, oracles=oracles)


def stub() -> TargetReport:
    return TargetReport("layers.py::bn", Verdict.ERROR, error="batchnorm_backward is not filled in yet.", stub=True)


def interrupted() -> TargetReport:
    return replace(right(), verdict=Verdict.INTERRUPTED, cases=34)


def hostile() -> TargetReport:
    conventions = replace(CONVENTIONS, returns=HOSTILE, notes=(HOSTILE, HOSTILE, HOSTILE))
    oracles = OracleTable(HOSTILE, "no", "no", HOSTILE)
    found = finding(Outcome.FAIL, message=HOSTILE * 40, boundary=HOSTILE, case=HOSTILE, error=1.0, allowed=0.1)
    shown = Exhibit(HOSTILE, 1e-5, {HOSTILE: ArrayData((1,), (1.0,))}, (compare("dx", HOSTILE, (1,), (1.0,), (2.0,)),))
    diagnosis = Diagnosis("BUG01", "some-fault", HOSTILE, HOSTILE, "dx", 1.0, HOSTILE)
    return TargetReport(
        HOSTILE, Verdict.FAIL, conventions, oracles, (found,), (diagnosis,), (shown,), 3, replay=HOSTILE,
        journal=HOSTILE, resumed=1,
    )  # fmt: skip


def not_finite() -> TargetReport:
    nan, inf = math.nan, math.inf
    values = ArrayData((2, 2), (nan, inf, -inf, 0.5))
    shown = replace(compare("dx", "reference", (2, 2), (1.0, inf, nan, 0.5), (nan, inf, -inf, 0.5)))
    found = finding(
        Outcome.FAIL,
        case=CASE.id,
        index=(0, 0),
        got=nan,
        want=1.0,
        error=nan,
        allowed=1e-12,
        counts={"fail": 1, "pass": 1},
    )
    exhibit = Exhibit(CASE.id, 1e-5, {"x": values}, (shown,))
    return TargetReport("nan.py::bn", Verdict.FAIL, CONVENTIONS, None, (found,), (), (exhibit,), 2, replay="bncheck x")


def large() -> TargetReport:
    """Return a report in which one element of 40 x 30 is off, by the twelfth digit."""
    shape = (40, 30)
    want = tuple(math.sin(i) for i in range(1200))
    at = 25 * 30 + 12
    got = (*want[:at], want[at] * (1 + 1e-11), *want[at + 1 :])
    comparison = compare("dx", "reference", shape, want, got)
    found = finding(
        Outcome.FAIL,
        case=CASE.id,
        index=(25, 12),
        got=got[at],
        want=want[at],
        error=1e-11,
        allowed=3.2e-13,
        counts={"fail": 1},
    )
    exhibit = Exhibit(CASE.id, 1e-5, {"x": ArrayData(shape, want), "gamma": ArrayData((30,), want[:30])}, (comparison,))
    return TargetReport(
        "large.py::bn", Verdict.FAIL, CONVENTIONS, None, (found,), (), (exhibit,), 2, replay="bncheck x"
    )


def diagnosed() -> TargetReport:
    condition = Condition("N odd", 41, 41, 0, 156)
    diagnosis = Diagnosis(
        "BUG07",
        "dvar-for-dmu",
        "dvar stands where dmu belongs",
        "The last term is dmu / m.",
        "dx",
        1.0,
        condition.sentence,
    )
    made = misprinted()
    findings = tuple(replace(f, condition=condition) if f.code == "BN201" else f for f in made.findings)
    return replace(made, diagnoses=(diagnosis,), findings=findings)


def located() -> TargetReport:
    """Return a report that has something of everything, with the lines that are known."""
    line = SourceLine("src/my layers/misprinted.py", 43, "dx = dxhat * inv_std + dvar / m")
    made = diagnosed()
    bug = replace(made.diagnoses[0], wrong="dx = ... + dvar / m", right="dx = ... + dmu / m", line=line, cases=4)
    unnamed = Diagnosis(
        "BUG000", "no-known-bug", "dgamma is something else", "", "dgamma", 0.98, wrong="2 dgamma", is_named=False
    )
    expected = replace(
        made.findings[2], outcome=Outcome.WARN, message="dgamma is off", expected="it is summed later", condition=None
    )
    warning = warned().findings[-1]
    trend = Trend("N", (2.0, 3.0, 65.0), (0.5, math.inf, 12.0), (False, True, True))
    findings = [replace(f, trend=trend) if f.code == "BN201" else f for f in made.findings]
    findings = [expected if f.code == expected.code else f for f in findings]
    probe = Probed(0, 0.5, (0.0, -4.01, 1e-3, 1e-9, 1e-16), 1e-16, 4.01, 3.2e-13)
    exhibits = (replace(made.exhibits[0], probe=probe, printed="epoch 1\nloss 0.5\n"), *made.exhibits[1:])
    return replace(
        made,
        diagnoses=(bug, unnamed),
        findings=(*findings, warning),
        exhibits=exhibits,
        conventions=replace(CONVENTIONS, notes=("gamma is kept as scale",), mode_switch="key mode"),
        discovery=("candidate batchnorm: function-pair", "  batchnorm(x, gamma, beta, eps)"),
        defined=SourceLine("src/my layers/misprinted.py", 12, "def batchnorm(x, gamma, beta, eps):"),
    )


def without_pages(text: str) -> str:
    """Return SARIF without the pages of checks and bugs, which have tests of their own."""
    log = json.loads(text)
    for rule in log["runs"][0]["tool"]["driver"]["rules"]:
        for key in ("shortDescription", "fullDescription", "help"):
            assert rule.pop(key)["text"]
    return json.dumps(log, indent=2) + "\n"


REPORTS = {
    "fail": report(misprinted()),
    "pass": report(right()),
    "warn": report(warned()),
    "inconclusive": report(inconclusive(), dtype="float32"),
    "contradiction": report(contradiction()),
    "error": report(broken()),
    "stub": report(stub()),
    "interrupted": report(interrupted()),
    "hostile": report(hostile()),
    "not-finite": report(not_finite()),
    "large": report(large()),
    "diagnosed": report(diagnosed()),
    "several": report(right(), misprinted(), inconclusive(), broken(), stub(), warned()),
}

# What machines read is not made to fit a screen.
FOR_MACHINES = {
    "located": report(located()),
    **{name: REPORTS[name] for name in ("pass", "several", "interrupted", "contradiction", "hostile")},
}


def snapshots() -> dict[str, str]:
    """Return every snapshot's text by file name."""
    texts = {}
    for name, made in REPORTS.items():
        for width in WIDTHS:
            texts[f"{name}-{width}.txt"] = REPORTERS.get("plain")(made, Style(width=width))
    for name in ("fail", "pass", "not-finite", "hostile"):
        texts[f"{name}.json"] = REPORTERS.get("json")(REPORTS[name], Style())
    for name, made in FOR_MACHINES.items():
        for form, ending in (("junit", "xml"), ("github", "github"), ("markdown", "md"), ("sarif", "sarif")):
            text = REPORTERS.get(form)(made, Style())
            texts[f"{name}.{ending}"] = without_pages(text) if form == "sarif" else text
    texts["fail-verbose-80.txt"] = REPORTERS.get("plain")(REPORTS["fail"], Style(width=80, verbose=True))
    texts["several-ascii-80.txt"] = REPORTERS.get("plain")(REPORTS["several"], Style(width=80, ascii=True))
    texts["several-short.txt"] = REPORTERS.get("short")(REPORTS["several"], Style())
    return texts


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in snapshots().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{len(snapshots())} snapshots are in {FOLDER}\n")
