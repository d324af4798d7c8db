"""What a run comes to: findings, exhibits, diagnoses, and the report that holds them. Plain data."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from enum import StrEnum

from bncheck.errors import VerificationFailure
from bncheck.model import Conventions, Outcome
from bncheck.model import SourceLine as SourceLine

SCHEMA = "bncheck.report/1"
# Why a sweep ended that cannot be resumed: its journal has results of other code.
CHANGED = "the file was changed while its cases ran"


class Verdict(StrEnum):
    """What a whole target, or a whole run, comes to."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    INTERRUPTED = "interrupted"


def _html(thing: object) -> str:
    """Return what a notebook shows; found by name, like every reporter, because it lives above the data."""
    text: str = importlib.import_module("bncheck.reporters.notebook").fragment(thing)
    return text


def _text(report: Report) -> str:
    reporters = importlib.import_module("bncheck.reporters")
    text: str = reporters.REPORTERS.get("plain")(report, reporters.Style())
    return text


@dataclass(frozen=True, slots=True)
class ArrayData:
    """A small array as plain data: shape, and its values in C order."""

    shape: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Expected and found values of one tensor on the exhibited case; `allowed` per element."""

    tensor: str
    oracle: str
    expected: ArrayData
    found: ArrayData
    allowed: ArrayData


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity of one channel, the formula it follows from, and its value: one number, or one per element."""

    name: str
    formula: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Worked:
    """Batch Normalization worked out step by step for one channel, and what was found in the place of the last ones."""

    channel: int
    m: int
    gamma: float
    beta: float
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True, slots=True)
class Probed:
    """What the line probe saw in the worst channel of one case.

    `coefficients` are the Chebyshev coefficients, from degree 0 on, of what is left of the forward along the line once
    the claimed gradients are taken off, on [-`radius`, `radius`]. `level` is the height of their plateau. `error` is
    the slope that is left at 0, which is 0 for right gradients, and `allowed` what its error bar lets pass.
    """

    channel: int
    radius: float
    coefficients: tuple[float, ...]
    level: float
    error: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Trend:
    """The error of a check in the cases of the sweep, against one parameter of a case ("N", "eps").

    `ratios` are errors over what is allowed, infinite where there is no finite quotient; `failed` tells which failed.
    The cases are in ascending order of `values`; where there were many, some are left out.
    """

    parameter: str
    values: tuple[float, ...]
    ratios: tuple[float, ...]
    failed: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A small failing case, with its arrays and the comparisons that show the failure.

    `worked` is the formula worked out for the channel with the worst error; `printed` is the beginning of what the
    code printed in one training step; `probe` is there where the derivative of the forward was measured.
    """

    case: str
    eps: float
    inputs: dict[str, ArrayData]
    comparisons: tuple[Comparison, ...]
    worked: Worked | None = None
    printed: str = ""
    probe: Probed | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A property of a case that decides whether it fails, with the sweep's counts on both sides.

    `failing` of `having` cases that have it fail, and `failing_others` of `others` that have it not. Cases are counted
    where the check could decide, and where there was something to compute: `silent` is the number of cases in which the
    tensor cancels to nothing, whatever the code does. Of a sweep that was too long to be kept whole, these are the
    `first` cases, and `later` of those behind them that fail; `first` is 0 where they are all cases.
    """

    words: str
    failing: int
    having: int
    failing_others: int
    others: int
    silent: int = 0
    first: int = 0
    later: int = 0

    @property
    def sentence(self) -> str:
        """The condition and the counts in one phrase."""
        others = f", in {self.failing_others} of {self.others} others" if self.others else ""
        silent = f" ({self.silent} cannot show it)" if self.silent else ""
        later = f" and {self.later} later failures" if self.later else ""
        which = f", of the first {self.first:,} cases{later}" if self.first else ""
        return f"{self.words}: in {self.failing} of {self.having} cases{others}{silent}{which}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says about a target, over all cases.

    `counts` maps outcomes to numbers of cases; `case` is the replay id of the exhibited case; `condition` tells which
    cases fail, `place` which elements of a tensor are wrong ("only in the last channel"), `boundary` in words where
    failing begins; `follows_from` is the code of the finding that this one is a consequence of; `trend` is there for
    failures that follow from no other.
    """

    code: str
    name: str
    outcome: Outcome
    severity: str
    message: str
    tensor: str | None = None
    error: float | None = None
    allowed: float | None = None
    case: str | None = None
    index: tuple[int, ...] | None = None
    got: float | None = None
    want: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    boundary: str = ""
    condition: Condition | None = None
    place: str = ""
    follows_from: str | None = None
    expected: str = ""
    trend: Trend | None = None

    def _repr_html_(self) -> str:
        return _html(self)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A named bug that explains what was seen, and how well it does.

    `explanation` says how to mend it; `wrong` and `right` are the line with the fault and as it should be; `line` is
    where it probably is in the source, None where that is not plain. `explained` is the share of the tensor that it
    gives: 1 for a bug with a name, on all of `cases` drawn cases where the tensor is wrong. Without a name
    (`is_named` is false) `wrong` is what the tensor is made of, as far as it can be told.
    """

    code: str
    name: str
    title: str
    explanation: str
    tensor: str
    explained: float
    condition: str = ""
    replay: str = ""
    wrong: str = ""
    right: str = ""
    line: SourceLine | None = None
    cases: int = 0
    is_named: bool = True

    def is_about(self, finding: Finding) -> bool:
        """Tell whether it is about what a finding says is wrong: the same tensor, in the same mode."""
        tensors = self.tensor.split(", ")
        if finding.code in _OF_EVAL:
            return f"{finding.tensor or 'y'} in eval mode" in tensors
        if finding.code in _OF_STATISTICS:
            return not {"running_mean", "running_var"}.isdisjoint(tensors)
        return finding.tensor in tensors


# Checks of what eval mode answers, and of the running statistics: their tensors are called otherwise in diagnoses.
_OF_EVAL = ("BN302", "BN305", "BN306", "BN310")
_OF_STATISTICS = ("BN301", "BN303", "BN304", "BN307", "BN308", "BN309")


@dataclass(frozen=True, slots=True)
class OracleTable:
    """The headline: three answers ("yes", "no", "unknown"; "none" where there is no backward) and what they come to."""

    forward_is_reference: str
    backward_is_own_derivative: str
    backward_is_reference: str
    conclusion: str


@dataclass(frozen=True, slots=True)
class TargetReport:
    """Everything found out about one target.

    `stub` marks code that is not written yet, `own_fault` an error of bncheck itself; `discovery` tells line by line
    what was bound, tried, kept and dropped; `defined` is where the target begins in the source, None where that is not
    known. Of `planned` cases `cases` were run, and `stopped` tells why these are fewer; `digest` is the SHA-256 of all
    judgements of these cases, in their order: the same numbers give the same digest wherever they were computed.
    `journal` is the file that their results were appended to, "" without one; `resumed` of them were read from it.
    `dtype` is that of the arrays that it was given, "" where no case was run.
    """

    name: str
    verdict: Verdict
    conventions: Conventions | None = None
    oracles: OracleTable | None = None
    findings: tuple[Finding, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    cases: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    replay: str = ""
    error: str = ""
    stub: bool = False
    own_fault: bool = False
    discovery: tuple[str, ...] = ()
    defined: SourceLine | None = None
    planned: int = 0
    stopped: str = ""
    digest: str = ""
    journal: str = ""
    resumed: int = 0
    dtype: str = ""

    @property
    def unexpected(self) -> tuple[Diagnosis, ...]:
        """The diagnoses, without those that are about nothing but expected failures."""
        expected = [finding for finding in self.findings if finding.expected]
        failed = [f for f in self.findings if f.outcome is Outcome.FAIL and not f.expected]
        about = [(d, any(map(d.is_about, expected)), any(map(d.is_about, failed))) for d in self.diagnoses]
        return tuple(diagnosis for diagnosis, known, wrong in about if wrong or not known)


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The result of one run. Truthy when everything verified is right.

    `versions` are those of Python, NumPy and the libraries of the targets, by name.
    """

    targets: tuple[TargetReport, ...]
    verdict: Verdict
    version: str
    seed: int
    dtype: str
    schema: str = SCHEMA
    versions: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def raise_for_failure(self) -> None:
        """Raise VerificationFailure (an AssertionError) with a short text unless the verdict is PASS."""
        __tracebackhide__ = True  # pytest shows the caller's line
        if self:
            return
        lines = [f"{t.name}: {t.verdict.value}" + (f": {t.error}" if t.error else "") for t in self.targets]
        for target in self.targets:
            lines += [f"  {d.code} {d.name} ({d.tensor}): {d.title}" for d in target.unexpected]
            lines += [
                f"  {f.code} {f.name}: {f.message}"
                + (f"; {f.condition.sentence}" if f.condition else "")
                + (f" [{f.case}]" if f.case else "")
                for f in target.findings
                if f.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE) and f.follows_from is None
            ]
        raise VerificationFailure("\n".join(lines))

    def _repr_html_(self) -> str:
        return _html(self)

    def __str__(self) -> str:
        """Return the report as the command line shows it, without colour."""
        return _text(self)

    def __repr__(self) -> str:
        """Return the verdicts, and what is wrong first: what a failing ``assert report`` shows."""
        told = []
        for target in self.targets:
            first = [f"{d.code} {d.name}" for d in target.unexpected]
            first += [f"{f.code} {f.name}" for f in target.findings if f.outcome is Outcome.FAIL and not f.follows_from]
            told.append(" ".join((target.verdict.value.upper(), f"{target.name}:", *first[:1])).rstrip(":"))
        return f"<bncheck report: {'; '.join(told) or 'nothing was verified'}>"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, for whoever shows it: cases done of total, failures so far, for the named target.

    Of the cases done `read` were run before, and come from a journal.
    """

    target: str
    done: int
    total: int
    failures: int
    read: int = 0
