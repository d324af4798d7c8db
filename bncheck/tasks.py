"""What crosses between the pipeline and the place where user code runs: tasks one way, events the other. Plain data.

Imports nothing heavy, so that a front can start a worker before it loads anything itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bncheck.model import CaseResult, Judgement, TargetCard, TargetSpec
from bncheck.report import Diagnosis, Exhibit
from bncheck.settings import Settings


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work on one target. `kind` is "discover", "sweep", "exhibit", "diagnose" or "adapter".

    `cases` are replay ids. For "exhibit" they are failing cases, one for each of `codes`, and `more` others by code; an
    empty code asks for the case as it is, with every tensor shown. For "diagnose" the codes are those of all checks
    that fail, and `more` has failing cases of those that compare a tensor with the reference.
    """

    kind: str
    spec: TargetSpec
    settings: Settings
    target: str = ""
    cases: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Discovered:
    """The targets that a source holds."""

    cards: tuple[TargetCard, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The source cannot be loaded or understood; the message is for the user, the trace tells what was tried."""

    message: str
    stub: bool
    trace: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """User code is about to run on this case: whoever falls silent or dies after this did it here.

    With an empty case: the source is imported, and its functions are about to be tried.
    """

    case: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A case is done. `text` is the result as it crossed from another process, "" where it did not."""

    result: CaseResult
    text: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """A failing check's smallest case: the exhibit, the judgement there, and where failing begins, in words.

    `tried` are the cases that were run to find it, and whether the check fails there; `place` tells which elements of
    the tensor are wrong, where they are not all.
    """

    code: str
    exhibit: Exhibit
    judgement: Judgement | None
    boundary: str
    evaluations: int
    tried: tuple[tuple[str, bool], ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """The bugs that explain what is wrong, by name; none where no known bug explains it exactly."""

    diagnoses: tuple[Diagnosis, ...]
    evaluations: int


@dataclass(frozen=True, slots=True)
class Written:
    """The text of an adapter file for a source, with what discovery understood filled in."""

    text: str


@dataclass(frozen=True, slots=True)
class Broken:
    """bncheck itself failed where user code runs; the text is the traceback."""

    traceback: str


Event = Discovered | Refused | Begun | Judged | Shown | Diagnosed | Written | Broken

Tell = Callable[[Event], None]
