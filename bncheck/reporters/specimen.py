"""A made-up report that has something of everything, so that a reporter can be looked at without a run."""

from __future__ import annotations

from bncheck.case import CaseSpec
from bncheck.model import Conventions, Outcome
from bncheck.report import (
    ArrayData,
    Comparison,
    Exhibit,
    Finding,
    OracleTable,
    Probed,
    Quantity,
    Report,
    TargetReport,
    Trend,
    Verdict,
    Worked,
)

CASE = CaseSpec(recipe="plain", seed=1, n=3, c=2)
CONVENTIONS = Conventions(
    adapter="function-pair",
    layouts=("NC",),
    parameter_shape="(C,)",
    eps_source="argument",
    eps=None,
    returns="tuple (dx, dgamma, dbeta)",
)
RIGHT = OracleTable("yes", "yes", "yes", "The forward is Batch Normalization, and the backward is its derivative.")
WRONG_BACKWARD = OracleTable("yes", "no", "no", "The backward is wrong: it is not the derivative of its forward.")
# Coefficients that fall to a sixteenth from degree to degree, down to a plateau.
PROBE = Probed(
    channel=0,
    radius=0.125,
    coefficients=tuple(max(2.0 ** (-4 * k), 2.0**-50) for k in range(16)),
    level=2.0**-50,
    error=8.0,
    allowed=2.0**-38,
)
TREND = Trend(
    "N", (1.0, 2.0, 3.0, 8.0, 64.0), (0.25, 1e12, 2e12, float("inf"), 1.5e12), (False, True, True, True, True)
)


def specimen() -> Report:
    """Return the report of one target whose dx follows the misprinted formula."""
    return Report((misprinted(),), Verdict.FAIL, version="0.0", seed=0, dtype="float64")


def misprinted() -> TargetReport:
    """Return the report of one wrong target."""
    wrong = {"error": 4.01, "allowed": 3.2e-13, "tensor": "dx", "case": CASE.id, "counts": {"fail": 197, "skip": 3}}
    return TargetReport(
        name="misprinted.py::batchnorm",
        verdict=Verdict.FAIL,
        conventions=CONVENTIONS,
        oracles=WRONG_BACKWARD,
        findings=(
            passed("BN101", "y-matches-reference", "y"),
            Finding(
                "BN201",
                "dx-matches-numeric",
                Outcome.FAIL,
                "error",
                "dx is not the derivative of the forward",
                boundary="fails from N = 2",
                index=(2, 0),
                got=2.832119310971035,
                want=-1.1678305331390921,
                trend=TREND,
                **wrong,  # type: ignore[arg-type]
            ),
            passed("BN202", "dgamma-matches-numeric", "dgamma"),
            passed("BN203", "dbeta-matches-numeric", "dbeta"),
            Finding(
                "BN211",
                "dx-matches-reference",
                Outcome.FAIL,
                "error",
                "dx differs from the reference",
                follows_from="BN201",
                **wrong,  # type: ignore[arg-type]
            ),
            passed("BN212", "dgamma-matches-reference", "dgamma"),
            passed("BN213", "dbeta-matches-reference", "dbeta"),
            Finding("BN501", "shapes-fit", Outcome.PASS, "error", "all shapes fit", counts={"pass": 200}),
            Finding("BN502", "dtype-kept", Outcome.SKIP, "error", "float64 only", counts={"skip": 200}),
        ),
        exhibits=(exhibit(),),
        cases=200,
        evaluations=6400,
        seconds=1.84,
        replay=f"bncheck replay '{CASE.id}' misprinted.py::batchnorm",
    )


def right() -> TargetReport:
    """Return the report of one right target."""
    checks = [
        *(("BN101", "y"), ("BN211", "dx"), ("BN212", "dgamma"), ("BN213", "dbeta")),
        *(("BN201", "dx"), ("BN202", "dgamma"), ("BN203", "dbeta")),
    ]
    return TargetReport(
        name="right.py::batchnorm",
        verdict=Verdict.PASS,
        conventions=CONVENTIONS,
        oracles=RIGHT,
        findings=tuple(
            passed(code, f"{tensor}-matches-{'numeric' if code.startswith('BN20') else 'reference'}", tensor)
            for code, tensor in sorted(checks)
        ),
        cases=200,
        evaluations=6400,
        seconds=1.21,
    )


def passed(code: str, name: str, tensor: str) -> Finding:
    """Return the finding of a check that passed on 199 cases and could not decide one."""
    counts = {"pass": 199, "inconclusive": 1}
    return Finding(code, name, Outcome.PASS, "error", "agrees", tensor, error=2.1e-15, allowed=1e-14, counts=counts)


def exhibit() -> Exhibit:
    """Return the numbers of the misprinted dx on one small case."""
    expected = (1.849046568823717, -0.0624445667729, -0.6812160356846, 0.2289853940985, -1.16783053314, -0.166540827325)
    found = (-1.798431027507589, -0.9184419969765, -2.0344653998835, 0.9883878254974, 2.8321193109710, 2.20826146567595)
    dgamma, dbeta = (1.77377831, 2.96156641), (-0.25, 2.25)
    return Exhibit(
        CASE.id,
        eps=1e-5,
        inputs={
            "x": ArrayData((3, 2), (0.5, -1.25, 2.0, 0.75, -0.375, 1.5)),
            "dy": ArrayData((3, 2), (1.0, -0.5, 0.25, 0.75, -1.5, 2.0)),
            "gamma": ArrayData((2,), (1.5, -0.75)),
            "beta": ArrayData((2,), (0.25, 0.5)),
        },
        comparisons=(
            compare("dx", "numeric", (3, 2), expected, found),
            compare("dgamma", "reference", (2,), dgamma, dgamma),
            compare("dbeta", "reference", (2,), dbeta, dbeta),
        ),
        worked=Worked(
            channel=0,
            m=3,
            gamma=1.5,
            beta=0.25,
            quantities=(
                Quantity("x", "", (0.5, 2.0, -0.375)),
                Quantity("mu", "sum(x) / m", (0.7083333333333334,)),
                Quantity("xc", "x - mu", (-0.2083333333333334, 1.2916666666666665, -1.0833333333333335)),
                Quantity("dx", "gamma inv_std (a - b)", expected[::2]),
                Quantity("your dx", "", found[::2]),
            ),
        ),
        probe=PROBE,
    )


def compare(
    tensor: str, oracle: str, shape: tuple[int, ...], expected: tuple[float, ...], found: tuple[float, ...]
) -> Comparison:
    """Return a comparison that allows 3.2e-13 for each element."""
    allowed = (3.2e-13,) * len(expected)
    return Comparison(tensor, oracle, ArrayData(shape, expected), ArrayData(shape, found), ArrayData(shape, allowed))
