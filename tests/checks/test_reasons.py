"""What a target does not offer is told as the reason why checks were skipped, whichever cases came first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bncheck import pipeline
from bncheck.case import CaseSpec
from bncheck.checks.catalogue import DIVIDED_BY_ZERO, NOT_TRIED
from bncheck.executors.in_process import InProcess
from bncheck.model import CaseResult, Judgement, Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.settings import Settings
from bncheck.verdict import findings

MINIATURES = Path(__file__).parents[1] / "adapters" / "conformance"
NO_STATISTICS = dict.fromkeys(("BN301", "BN302", "BN305", "BN308", "BN310"), "the code keeps no running statistics")
NO_GAMMA = {"BN701": "the code has no gamma of its own to start from: it is handed over, or there is none"}
NO_BETA = {"BN702": "the code has no beta of its own to start from: it is handed over, or there is none"}
NO_EPS = {
    "BN510": "the code takes no eps: it is hard-coded, or there is none",
    "BN802": "the code cannot be given another eps",
}
REASONS = {
    "eps_zero": NO_EPS | NO_STATISTICS,
    "function_fixed_eps": NO_EPS,
    "no_affine_functions": NO_GAMMA | NO_BETA | NO_STATISTICS,
    "beta_only": NO_GAMMA | NO_STATISTICS,
    "gamma_only": NO_BETA | {"BN306": "backward is that of training mode whatever the mode: eval mode has none"},
    "function_eps_argument": {
        "BN221": "no library that differentiates this code offers it",
        "BN404": "only half precision is in danger of it",
        "BN515": "no statistics of the batch are returned beside y",
        "BN609": "the code takes (N, C) or maps, and not both",
    },
}


def skipped(source):
    report = pipeline.run([TargetSpec(str(source))], Settings(cases=40), executor=InProcess())
    assert report.verdict is Verdict.PASS
    (target,) = json.loads(REPORTERS.get("json")(report, Style()))["targets"]
    found = {f["code"]: f["message"] for f in target["findings"] if f["outcome"] == "skip"}
    said = REPORTERS.get("plain")(report, Style(verbose=True, width=200))
    assert all(message in said for message in found.values())
    return found


@pytest.mark.parametrize("name", REASONS)
def test_what_is_not_offered_is_said(name):
    found = skipped(MINIATURES / f"{name}.py")
    assert {code: found.get(code) for code in REASONS[name]} == REASONS[name]
    assert not set(found.values()) & {NOT_TRIED, DIVIDED_BY_ZERO}


NO_EVAL_MODE = """
import numpy as np

class BatchNorm:
    def __init__(self, n, eps=1e-5, momentum=0.9):
        self.gamma, self.beta, self.eps, self.momentum = np.ones(n), np.zeros(n), eps, momentum
        self.running_mean, self.running_var = np.zeros(n), np.ones(n)

    def forward(self, x):
        mu, var, k = x.mean(0), x.var(0), self.momentum
        self.running_mean, self.running_var = k * self.running_mean + (1 - k) * mu, k * self.running_var + (1 - k) * var
        return self.gamma * (x - mu) / np.sqrt(var + self.eps) + self.beta
"""


def test_no_eval_mode(tmp_path):
    (tmp_path / "my_bn.py").write_text(NO_EVAL_MODE)
    found = skipped(tmp_path / "my_bn.py")
    assert {found[code] for code in ("BN302", "BN304", "BN305", "BN310")} == {
        "the code cannot be told that it is inference"
    }
    assert "BN301" not in found


def test_the_reason_of_most_cases_is_told_and_one_of_a_single_case_last():
    reasons = [NOT_TRIED, NOT_TRIED, NOT_TRIED, "the smallest", "the others", "the others", DIVIDED_BY_ZERO]
    cases = [CaseSpec(n=n + 2, c=1).id for n in range(len(reasons))]
    judged = [CaseResult(c, {"BN302": Judgement(Outcome.SKIP, r)}) for c, r in zip(cases, reasons, strict=True)]
    (finding,) = findings(judged)
    assert (finding.message, finding.case) == ("the others", cases[4])
    (finding,) = findings(judged[:3])
    assert (finding.message, finding.case) == (NOT_TRIED, cases[0])
