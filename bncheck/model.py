"""The nouns of bncheck: frozen data types and the protocols between its floors. Imports nothing heavy."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bncheck.errors import UsageError, VerificationFailure
from bncheck.registry import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

SCHEMA = "bncheck.report/1"
TENSORS = ("y", "dx", "dgamma", "dbeta")
GRADIENTS = ("dx", "dgamma", "dbeta")


class Outcome(StrEnum):
    """What one check says."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"
    INCONCLUSIVE = "inconclusive"


class Verdict(StrEnum):
    """What a whole target, or a whole run, comes to."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    INTERRUPTED = "interrupted"


# ---------------------------------------------------------------------------------------------------------------- cases

CASE_SCHEMA = "v1"
DTYPES = ("float64", "float32", "float16")
MEMORY = ("C", "F", "strided", "readonly")
GAMMAS = ("random", "zero", "negative", "one")


@dataclass(frozen=True, slots=True)
class CaseSpec:
    """Every parameter of one case; its :attr:`id` is the replay id. The arrays follow from it, bit for bit.

    Attributes
    ----------
    recipe : str
        Where the case came from (a label; it does not influence the arrays).
    seed : int
        Seed of the raw bits, 0 <= seed < 2**64.
    n, c : int
        Batch size N and number of channels C.
    spatial : tuple of int
        Sizes of the spatial axes, () for (N, C) data.
    dtype : str
        One of ``DTYPES``.
    eps, momentum : float
        What the target is opened with.
    mean, sd : float
        Offset and spread of every channel of x (channels differ by factors near 1 around them).
    constant : int
        How many leading channels are constant (all elements equal).
    gamma : str
        One of ``GAMMAS``: the first channel's gamma is drawn, 0, negative, or all gammas are 1.
    dy_scale : float
        Factor on the upstream gradient dy.
    memory : str
        One of ``MEMORY``: the memory layout of the arrays handed to the target.

    """

    recipe: str = "custom"
    seed: int = 0
    n: int = 4
    c: int = 3
    spatial: tuple[int, ...] = ()
    dtype: str = "float64"
    eps: float = 1e-5
    momentum: float = 0.1
    mean: float = 0.0
    sd: float = 1.0
    constant: int = 0
    gamma: str = "random"
    dy_scale: float = 1.0
    memory: str = "C"

    @property
    def m(self) -> int:
        """Number of elements that one channel's statistics average over."""
        m = self.n
        for size in self.spatial:
            m *= size
        return m

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of x in the canonical layout (N, C, *spatial)."""
        return (self.n, self.c, *self.spatial)

    @property
    def id(self) -> str:
        """The replay id: schema, recipe, then every parameter that is not the schema's default."""
        parts = [
            f"{f.name}={_spell(getattr(self, f.name))}"
            for f in dataclasses.fields(self)
            if f.name != "recipe" and (f.name in ("seed", "n", "c") or getattr(self, f.name) != f.default)
        ]
        return f"{CASE_SCHEMA}:{self.recipe}:{','.join(parts)}"

    @classmethod
    def parse(cls, text: str) -> CaseSpec:
        """Read a replay id; raise UsageError that says what is wrong with it."""
        schema, _, rest = text.strip().partition(":")
        recipe, colon, body = rest.partition(":")
        if schema != CASE_SCHEMA or not colon or not re.fullmatch(r"[a-z0-9-]{1,40}", recipe):
            raise UsageError(f"{text[:80]!r} is no replay id: it should look like {cls().id!r}.")
        values: dict[str, Any] = {"recipe": recipe}
        known = [f.name for f in dataclasses.fields(cls) if f.name != "recipe"]
        for part in filter(None, body.split(",")):
            key, _, value = part.partition("=")
            if key not in known:
                raise UsageError(f"replay id: no parameter is called {key[:40]!r}. {did_you_mean(key, known)}")
            if key in values:
                raise UsageError(f"replay id: {key} is given twice.")
            values[key] = _read(key, value)
        return cls(**values)


# Limits of a replay id: a case larger than this is a typing mistake, not a test (2**27 float64 are 1 GiB).
MAX_ELEMENTS = 2**27
_INTS = {"seed": (0, 2**64 - 1), "n": (1, MAX_ELEMENTS), "c": (1, MAX_ELEMENTS), "constant": (0, MAX_ELEMENTS)}
_CHOICES = {"dtype": DTYPES, "gamma": GAMMAS, "memory": MEMORY}
_AT_LEAST_ZERO = ("eps", "sd", "momentum")


def _spell(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _read(key: str, value: str) -> object:
    complaint = UsageError(f"replay id: {key}={value[:40]!r} is not a fitting value.")
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise UsageError(f"replay id: {key}={value[:40]!r}. {did_you_mean(value, _CHOICES[key])}")
        return value
    if key == "spatial":
        if not re.fullmatch(r"[1-9]\d{0,8}(x[1-9]\d{0,8}){0,3}", value, re.ASCII):
            raise complaint
        return tuple(int(size) for size in value.split("x"))
    if key in _INTS:
        low, high = _INTS[key]
        if not re.fullmatch(r"\d{1,20}", value, re.ASCII) or not low <= int(value) <= high:
            raise complaint
        return int(value)
    if not re.fullmatch(r"-?\d{1,40}(\.\d{1,40})?([eE][-+]?\d{1,3})?", value, re.ASCII):
        raise complaint
    number = float(value)
    if abs(number) > 1e300 or (key in _AT_LEAST_ZERO and number < 0):
        raise complaint
    return number


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Case:
    """A case with its arrays, in the canonical layout and in the target's dtype. Compared and hashed by identity.

    ``x`` and ``dy`` have shape (N, C, *spatial), ``gamma`` and ``beta`` shape (C,).
    """

    spec: CaseSpec
    x: Array
    gamma: Array
    beta: Array
    dy: Array

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that statistics average over: all but the channel axis 1."""
        return (0, *range(2, self.x.ndim))


# ------------------------------------------------------------------------------------------------ the target's boundary


@dataclass(frozen=True, slots=True)
class Conventions:
    """What discovery found out about a target; stands at the top of every report.

    Attributes
    ----------
    adapter : str
        Which adapter speaks to the target ("function-pair", "layer-class").
    layouts : tuple of str
        Layouts the target takes, e.g. ``("NC", "NCHW")``.
    parameter_shape : str
        Shape of gamma and beta, e.g. "(C,)".
    eps_source : str
        "argument", "attribute" or "fixed" (hard-coded in the user's code).
    eps : float or None
        The value of a fixed eps; None where the case chooses it.
    returns : str
        How backward hands its gradients over, e.g. "tuple (dx, dgamma, dbeta)".
    notes : tuple of str
        What discovery wants said: ties, assumptions.

    """

    adapter: str
    layouts: tuple[str, ...]
    parameter_shape: str
    eps_source: str
    eps: float | None
    returns: str
    notes: tuple[str, ...] = ()


class Gradients(NamedTuple):
    """What backward returned: dx in the layout of x, dgamma and dbeta as the target shaped them; None if absent."""

    dx: Any
    dgamma: Any
    dbeta: Any


@dataclass(frozen=True, slots=True)
class Setup:
    """What a session is opened with: gamma and beta of shape (C,), already in the target's dtype."""

    gamma: Array
    beta: Array
    eps: float
    momentum: float
    memory: str = "C"


class Session(Protocol):
    """One fresh layer or cache of the user's code. Arrays are canonical: (N, C, *spatial), parameters (C,).

    What the user's code returned in a shape that does not fit is handed on as it came, for the checks to judge.
    """

    def forward(self, x: Array, mode: str = "train") -> Any:
        """Run the user's forward; return y."""

    def backward(self, dy: Array) -> Gradients:
        """Run the user's backward after forward; return the three gradients."""

    def handed_over(self) -> Mapping[str, tuple[Array, Array]]:
        """Return each array given to user code (name: before, now), so that in-place changes can be seen."""


class Target(Protocol):
    """A user's implementation, understood."""

    @property
    def name(self) -> str:
        """How reports call the target."""

    @property
    def conventions(self) -> Conventions:
        """What discovery found out."""

    def open(self, setup: Setup) -> Session:
        """Return a fresh session."""


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A reference to a target; the only description of it that crosses a process boundary.

    Attributes
    ----------
    source : str
        ``file.py``, ``file.py::name`` or ``package.module:name``; a label when `live` is given.
    live : tuple
        Live callables or one class, for use in this process only.
    layout : str or None
        Overrides the detected layout.

    """

    source: str
    live: tuple[Any, ...] = ()
    layout: str | None = None


@dataclass(frozen=True, slots=True)
class TargetCard:
    """One target as discovery describes it, before any check ran; `stub` says why it cannot be run yet."""

    name: str
    conventions: Conventions | None = None
    stub: str | None = None


# ------------------------------------------------------------------------------------------------- evidence, judgements


@dataclass(frozen=True, slots=True)
class Fault:
    """An exception (or an exit) that came out of user code.

    `stage` is "forward" or "backward", `kind` the exception's class name, `where` "file.py:12" or "".
    """

    stage: str
    kind: str
    message: str
    where: str = ""

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return (
            f"{self.stage} raised {self.kind}: {self.message}{place}"
            if self.message
            else (f"{self.stage} raised {self.kind}{place}")
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one experiment saw: arrays (canonical layout), plain facts, and a fault if user code raised."""

    experiment: str
    arrays: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one check says about one case. `error` and `allowed` are in the same unit; `ratio` is their quotient.

    A `suspect` failure is not final: the check's confirming experiments have to run, and it judges again.
    """

    outcome: Outcome
    message: str = ""
    tensor: str | None = None
    error: float | None = None
    allowed: float | None = None
    index: tuple[int, ...] | None = None
    got: float | None = None
    want: float | None = None
    suspect: bool = False

    @property
    def ratio(self) -> float:
        """Error over allowed error; inf where there is no finite quotient of a failure."""
        if self.error is None or not self.allowed:
            return float("inf")
        return self.error / self.allowed


@dataclass(frozen=True, slots=True)
class CaseResult:
    """All judgements of one case, by check code, and how many times user code was called for it."""

    case: str
    judgements: dict[str, Judgement]
    evaluations: int = 0


# -------------------------------------------------------------------------------------------------------------- reports


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
class Exhibit:
    """The smallest failing case, with its arrays and the comparisons that show the failure."""

    case: str
    eps: float
    inputs: dict[str, ArrayData]
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says about a target, over all cases.

    `counts` maps outcomes to numbers of cases; `case` is the replay id of the exhibited case; `boundary` tells in words
    where failing begins; `follows_from` is the code of the finding that this one is a consequence of.
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
    follows_from: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A named bug that explains what was seen, and how well it does."""

    code: str
    name: str
    title: str
    explanation: str
    tensor: str
    explained: float
    condition: str = ""
    replay: str = ""


@dataclass(frozen=True, slots=True)
class OracleTable:
    """The headline: three answers ("yes", "no", "unknown") and what they come to."""

    forward_is_reference: str
    backward_is_own_derivative: str
    backward_is_reference: str
    conclusion: str


@dataclass(frozen=True, slots=True)
class TargetReport:
    """Everything found out about one target."""

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


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one run. Truthy when everything verified is right."""

    targets: tuple[TargetReport, ...]
    verdict: Verdict
    version: str
    seed: int
    dtype: str
    schema: str = SCHEMA

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def raise_for_failure(self) -> None:
        """Raise VerificationFailure (an AssertionError) with a short text unless the verdict is PASS."""
        if self:
            return
        lines = [f"{t.name}: {t.verdict.value}" + (f": {t.error}" if t.error else "") for t in self.targets]
        lines += [
            f"  {f.code} {f.name}: {f.message}" + (f" [{f.case}]" if f.case else "")
            for t in self.targets
            for f in t.findings
            if f.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE) and f.follows_from is None
        ]
        raise VerificationFailure("\n".join(lines))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, for whoever shows it: cases done of total, failures so far, for the named target."""

    target: str
    done: int
    total: int
    failures: int
