"""The nouns between the floors: what a target is, evidence and judgements. Frozen types; imports nothing heavy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass

TENSORS = ("y", "dx", "dgamma", "dbeta")
GRADIENTS = ("dx", "dgamma", "dbeta")


class Outcome(StrEnum):
    """What one check says."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What the user says about a target, instead of leaving it to discovery; None leaves it to discovery.

    Attributes
    ----------
    layout : str or None
        Layout of x ("NC", "CN", "NCHW", "NHWC", or another order of such letters).
    parameter_shape : str or None
        Shape of gamma and beta: "(C,)", "(1, C)", "(C, 1)", "(1, C, 1, 1)".
    eps : float or None
        The value of an eps that is hard-coded.
    momentum_sense : str or None
        "kept" if momentum is the fraction of the old statistics that stays, "new" if it is that of the new ones.
    running_var : str or None
        "biased" (over m) or "unbiased" (over m - 1).
    mode_switch : str or None
        Name of the argument, dict key, attribute or methods that say whether this is training.
    returns : str or None
        The order of what backward returns: "dx, dbeta, dgamma".
    profile : str
        Whose conventions are to be held: one of ``PROFILES``; "auto" reports what was found.
    grad_scale : str
        "sum", or "mean" where dgamma and dbeta are meant to be divided by the batch size.
    kind : str or None
        The one adapter to try ("function-pair", "layer-class", ...).
    adapter_file : str or None
        A file of functions named after the words of a session, which speak for the target.
    device : str
        Where arrays of a framework live: "cpu", "cuda", "cuda:1".
    stand_ins : bool
        Whether missing modules may be replaced, and names that are gone put back.

    """

    layout: str | None = None
    parameter_shape: str | None = None
    eps: float | None = None
    momentum_sense: str | None = None
    running_var: str | None = None
    mode_switch: str | None = None
    returns: str | None = None
    profile: str = "auto"
    grad_scale: str = "sum"
    kind: str | None = None
    adapter_file: str | None = None
    device: str = "cpu"
    stand_ins: bool = True


@dataclass(frozen=True, slots=True)
class Expected:
    """A failure that is known, and stays for a reason.

    Attributes
    ----------
    check : str
        The code or the name of the check that fails.
    reason : str
        Why it stays.
    target : str
        Which targets it is expected of, as a pattern for their names ("*BatchNorm1d"), with the path of their file
        or without it ("src/layers.py::*", "layers.py::*"); all of them by default.

    """

    check: str
    reason: str
    target: str = "*"

    def fits(self, names: Iterable[str]) -> bool:
        """Tell whether it is expected of a target that is called so (see :meth:`TargetSpec.names_of`)."""
        patterns = {self.target, self.target.removeprefix("./")}
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


UNDECLARED = Declared()
PROFILES = ("auto", "paper", "pytorch", "keras", "flax", "cs231n", "chainer")


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
        "argument", "attribute", "fixed" (hard-coded in the user's code), "ignored" (accepted, and another one used) or
        "declared" (the user said its value).
    eps : float or None
        The value of a fixed or declared eps; None where the case chooses it.
    returns : str
        How backward hands its gradients over, e.g. "tuple (dx, dgamma, dbeta)"; "no backward" where there is none.
    notes : tuple of str
        What discovery wants said: ties, assumptions.
    momentum_sense : str
        "kept" if momentum is the fraction of the old statistics that stays, "new" if it is that of the new ones,
        "fixed" if the fraction is written into the formula, "cumulative" for an average over all batches, "finished"
        for one that is worked out when inference begins, "last" if nothing stays, "changing" and "unknown" for what
        fits none of these, "" if there are no running statistics.
    momentum : float or None
        The fraction of the old statistics that stays, where it is hard-coded; None where the case chooses it.
    usual_momentum : float or None
        The momentum that the code takes if it is told none, where it says so; None where it does not.
    running_var : str
        "biased", "unbiased", "pooled" if it is that of all values seen, "total" or "unbiased total" if it follows from
        averages of x and of its square, "undecided" where too little comes in to tell; "" if there is none, or if it
        fits none of these.
    running_start : str
        Where the statistics start: "0, 1", "0, 0", "first batch"; "" if there are none.
    unjudged : str
        What is known, in words, of running statistics that no check judges, so that eval mode is not verified: "kept
        where bncheck does not find them"; "" where there are none, or they are judged.
    updated_by : str
        What updates the running statistics in training: "forward", or "backward".
    mode_switch : str
        How the code is told whether this is training: "argument train_flg", "key mode", "methods train() and eval()",
        "attribute training"; "" if it cannot be told.
    profile : str
        Whose conventions these are: one of ``PROFILES``; "" if nobody's.
    misfit : str
        How the running statistics depart from the profile that the user declared, "" if they do not; None if none was.
    initial : tuple of str
        What gamma and beta of a fresh layer start from: a number ("1", "0"), "random", "one number" for all channels,
        "a value per element", "differs by channel"; "" where that is not to be seen.
    unread : str
        The name of a momentum that the code accepts and never reads, "" if there is none.
    eps_untold : str
        How forward and backward disagree on eps where neither is told one, "" if they do not.
    framework : str
        The array library that the target is spoken to in ("numpy", "torch", "jax").
    dtype : str
        The one dtype that its tensors hold, whatever they are made of; "" where they hold what they are given.
    forward_only : bool
        Whether there is no backward: gradients are not verified then.

    """

    adapter: str
    layouts: tuple[str, ...]
    parameter_shape: str
    eps_source: str
    eps: float | None
    returns: str
    notes: tuple[str, ...] = ()
    momentum_sense: str = ""
    momentum: float | None = None
    running_var: str = ""
    running_start: str = ""
    unjudged: str = ""
    updated_by: str = "forward"
    mode_switch: str = ""
    profile: str = ""
    misfit: str | None = None
    initial: tuple[str, str] = ("", "")
    unread: str = ""
    eps_untold: str = ""
    framework: str = "numpy"
    dtype: str = ""
    forward_only: bool = False
    usual_momentum: float | None = None


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A reference to a target; the only description of it that crosses a process boundary.

    Attributes
    ----------
    source : str
        ``file.py``, ``file.py::name``, ``notebook.ipynb::name`` or ``package.module:name``; a label when `live` is
        given; a command line if `program`.
    live : tuple
        Live callables or one class, for use in this process only.
    declared : Declared
        What the user said about it.
    program : bool
        Whether the source is the command line of a program that speaks the words of a session.

    """

    source: str
    live: tuple[Any, ...] = ()
    declared: Declared = UNDECLARED
    program: bool = False

    def names_of(self, target: str) -> tuple[str, ...]:
        """Return what one of its targets is called: as reports have it, and in a file with the path from here, too."""
        file, (_, sep, name) = self.source.partition("::")[0], target.partition("::")
        return (target, f"{Path(os.path.relpath(file)).as_posix()}::{name}") if sep else (target,)


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A statement of the user's source: the file as the user names it, the first line's number, the text."""

    file: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class TargetCard:
    """One target as discovery describes it, before any check ran.

    `stub` says why it cannot be run yet; `trace` tells line by line what discovery bound, tried, kept and dropped;
    `defined` is where it begins in the source, None where that is not known.
    """

    name: str
    conventions: Conventions | None = None
    stub: str | None = None
    trace: tuple[str, ...] = ()
    defined: SourceLine | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """An exception (or an exit) that came out of user code.

    `stage` is "forward" or "backward", `kind` the exception's class name, `where` "file.py:12" or "". `in_adapter` says
    that it is the own code of an adapter file that raised, and not the target.
    """

    stage: str
    kind: str
    message: str
    where: str = ""
    in_adapter: bool = False

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
        quotient = self.error / self.allowed
        return float("inf") if quotient != quotient else quotient  # NaN is as wrong as can be


@dataclass(frozen=True, slots=True)
class CaseResult:
    """All judgements of one case, by check code, and how many times user code was called for it."""

    case: str
    judgements: dict[str, Judgement]
    evaluations: int = 0
