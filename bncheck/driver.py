"""The driver loop: run experiments, judge, confirm, shrink, show. It owns every re-run, and runs where user code runs.

Executors differ only in where they call :func:`perform`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bncheck import guard, location
from bncheck.adapters import resolve
from bncheck.case import Case, CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS, DIVIDED_BY_ZERO, Check, selected
from bncheck.core.truth import statistics
from bncheck.errors import BncheckError, StubError, TargetError
from bncheck.exhibit import at_worst_element, exhibit, of_its_own
from bncheck.experiments.catalogue import in_order
from bncheck.experiments.observation import observed
from bncheck.model import TENSORS, CaseResult, Evidence, Judgement, Outcome, TargetCard
from bncheck.report import Diagnosis, Exhibit
from bncheck.session import Session, Setup, Target
from bncheck.tasks import Begun, Diagnosed, Discovered, Judged, Refused, Shown, Task, Tell, Written

# What is needed only once something is wrong is imported there: most runs end well, and start sooner for it.


def perform(task: Task, tell: Tell) -> None:
    """Do a task where user code may run, and tell what happens. Prints and warnings of user code are silenced."""
    guard.keep_freed_memory()
    with guard.quiet():
        try:
            guard.turn_to(task.spec.source)
            if task.spec.live and task.kind == "discover":
                guard.forget_replaced()  # files are loaded anew, and forget; live objects follow one another
            resolve.load_source(task.spec)
            if not task.spec.program:  # it has its own time for the hello, and its first call is a sign of life
                tell(Begun(""))
            if task.kind == "discover":
                with guard.calls_told(_SignOfLife(tell)):
                    cards = resolve.cards(task.spec)
                tell(Discovered(tuple(map(_with_replaced, cards))))
            elif task.kind == "adapter":
                from bncheck.adapters import template

                with guard.calls_told(_SignOfLife(tell)):
                    tell(Written(template.adapter_source(task.spec)))
            else:
                _run_cases(task, tell)
        except BncheckError as error:
            tell(Refused(str(error), isinstance(error, StubError), getattr(error, "trace", ())))


def _with_replaced(card: TargetCard) -> TargetCard:
    """Return a card that says what of NumPy the code has put something else in the place of."""
    names = ", ".join(f"numpy.{name}" for name in guard.replaced_in_numpy()[:_MOST_NAMES])
    if not names or card.conventions is None:
        return card
    note = f"the code replaces {names} for every caller; bncheck computes with NumPy's own"
    return replace(card, conventions=replace(card.conventions, notes=(note, *card.conventions.notes)))


_MOST_NAMES = 4


def _run_cases(task: Task, tell: Tell) -> None:
    with guard.calls_told(_SignOfLife(tell)):
        found = resolve.target(task.spec, task.target)
    target = _Watched(found, tell)
    if task.kind == "sweep":
        checks = selected(task.settings.select, task.settings.ignore)
        for case_id in task.cases:
            target.begin(case_id)
            tell(Judged(judge(target, CaseSpec.parse(case_id), checks)[0]))
    elif task.kind == "diagnose":
        tell(_diagnosed(target, task))
    else:
        for code, case_id in zip(task.codes, task.cases, strict=True):
            tell(_show(target, CaseSpec.parse(case_id), code, task.more.get(code, ())))


# Between signs of life: often enough for any timeout worth setting, and rare enough to cost nothing.
_SECONDS = 0.2


class _SignOfLife:
    """Tells that user code is about to be called, while it is tried how to call it: of the first calls each time."""

    FIRST = 2

    def __init__(self, tell: Tell) -> None:
        self._tell, self._calls, self._told = tell, 0, 0.0

    def __call__(self) -> None:
        self._calls += 1
        if self._calls <= self.FIRST or time.monotonic() - self._told > _SECONDS:
            self._told = time.monotonic()
            self._tell(Begun(""))


class _Watched:
    """A target that gives a sign of life whenever a session is opened, so that slow code does not look like a hang."""

    def __init__(self, target: Target, tell: Tell) -> None:
        self._target, self._tell = target, tell
        self._told = 0.0
        self._case = ""
        self.name, self.conventions = target.name, target.conventions

    def begin(self, case: str) -> None:
        """Tell that user code is about to run on this case."""
        self._case, self._told = case, time.monotonic()
        self._tell(Begun(case))

    def open(self, setup: Setup) -> Session:
        """Open a session of the target."""
        if time.monotonic() - self._told > _SECONDS:
            self.begin(self._case)
        return self._target.open(setup)


# -------------------------------------------------------------------------------------------------------------- judging


def judge(target: Target, spec: CaseSpec, checks: list[Check]) -> tuple[CaseResult, Case, dict[str, Evidence]]:
    """Run the experiments that the checks need on one case, judge, and confirm what fails."""
    case = build(spec)
    seen: dict[str, Evidence] = {}
    alone = target.conventions.forward_only
    needs = (name for check in checks if not (alone and check.of_backward) for name in check.needs)
    _gather(target, case, tuple(needs), seen)
    reason = _nothing_to_say(target, case)
    judgements = {}
    for check in checks:
        why = NO_BACKWARD if alone and check.of_backward else reason
        judgement = Judgement(Outcome.SKIP, why, check.tensor) if why else check.judge(case, seen)
        if judgement.suspect:
            _gather(target, case, check.confirm, seen)
            judgement = check.judge(case, seen)
        judgements[check.code] = judgement
    evaluations = sum(int(evidence.facts.get("evaluations", 0)) for evidence in seen.values())
    return CaseResult(spec.id, _without_contradiction(judgements), evaluations), case, seen


# Why checks of the backward are skipped.
NO_BACKWARD = "this target has no backward"


def _gather(target: Target, case: Case, names: tuple[str, ...], seen: dict[str, Evidence]) -> None:
    for experiment in in_order(names):
        if experiment.name not in seen:
            # Where the training step raised there is nothing to probe; its fault stands for all that follows.
            fault = seen["training"].fault if "training" in seen else None
            if fault is None:
                try:
                    evidence = experiment.run(target, case, seen)
                except MemoryError as error:  # something that the code returned has more elements than memory has room
                    evidence = Evidence(experiment.name, fault=guard.describe(error, "a step"))
            else:
                evidence = Evidence(experiment.name, fault=fault)
            seen[experiment.name] = evidence
            if said := _of_adapter(evidence):
                raise TargetError(f"the adapter itself is at fault: {said}. Nothing is said about the target.")


def _of_adapter(evidence: Evidence) -> str:
    """Return the fault of an experiment if the own code of an adapter file raised, "" otherwise."""
    if evidence.fault and evidence.fault.in_adapter:
        return str(evidence.fault)
    return evidence.facts["eval_fault"] if evidence.facts.get("eval_fault_in_adapter") else ""


def _nothing_to_say(target: Target, case: Case) -> str:
    """Return why a case cannot be judged: a constant channel divides 0 by 0 where the implementation has no eps."""
    if case.spec.eps == 0.0 and bool((statistics(case).var == 0.0).any()):
        return DIVIDED_BY_ZERO
    return ""


def _without_contradiction(judgements: dict[str, Judgement]) -> dict[str, Judgement]:
    """Withdraw a failure of the numerical derivative where forward and gradient both equal the reference.

    Then the gradient is right to within rounding, whatever the probe saw; the two figures contradict each other.
    """
    y = judgements.get("BN101")
    for numeric, reference in (("BN201", "BN211"), ("BN202", "BN212"), ("BN203", "BN213")):
        suspect, exact = judgements.get(numeric), judgements.get(reference)
        if suspect is None or exact is None or y is None or suspect.outcome is not Outcome.FAIL:
            continue
        if y.outcome is Outcome.PASS and exact.outcome is Outcome.PASS:
            message = (
                f"{suspect.tensor} equals the reference (error {exact.error:.1e} of {exact.allowed:.1e} allowed), "
                f"but the line probe is outside its bar (error {suspect.error:.1e} of {suspect.allowed:.1e} allowed)"
            )
            judgements[numeric] = replace(suspect, outcome=Outcome.INCONCLUSIVE, message=message)
    return judgements


# -------------------------------------------------------------------------------------------------------------- showing

# A shrunk failure should be plain to see: its error stays this many times the allowed one, or as clear as it was.
_PLAIN = 1e3
# Cases up to this many elements are measured element by element, with 16 forwards each.
_MEASURED_ELEMENTS = 64


def _show(target: _Watched, spec: CaseSpec, code: str, more: Sequence[str] = ()) -> Shown:
    """Show a failing case, shrunk; `more` are others that fail, among which an error has to be in the same place."""
    from bncheck.cases.shrink import by_hand, shrink

    target.begin(spec.id)
    if not code:
        result, case, seen = judge(target, spec, selected((), ()))
        return Shown("", _exhibit(target, case, seen, _telling(result, case, seen)), None, "", result.evaluations)
    check = CHECKS.get(code)
    evaluations = 0
    tried: dict[str, bool] = {}
    related = [item for _, item in CHECKS.items() if item is check or item.oracle in ("reference", "numeric")]
    checks = related if check.oracle == "numeric" else [check]

    def judged(candidate: CaseSpec) -> tuple[Judgement, Case, dict[str, Evidence]]:
        nonlocal evaluations
        result, case, seen = judge(target, candidate, checks)
        evaluations += result.evaluations
        return result.judgements[code], case, seen

    original, case, seen = judged(spec)
    boundary = where = ""
    if original.outcome in (Outcome.FAIL, Outcome.WARN):
        plain = min(original.ratio / 2, _PLAIN)

        def fails(candidate: CaseSpec) -> bool | None:
            if candidate == spec:
                return True  # seen just now; code that draws random numbers may not fail again
            target.begin(candidate.id)
            found = judged(candidate)[0]
            if found.outcome in (original.outcome, Outcome.PASS):
                tried[candidate.id] = found.outcome is original.outcome
            if found.outcome is original.outcome:
                return True if found.ratio >= plain else None
            return False if found.outcome is Outcome.PASS else None

        conventions = target.conventions
        ranks = tuple(len(layout) - 2 for layout in conventions.layouts)
        shrunk = shrink(spec, fails, ranks, conventions.eps is not None)
        boundary = ", ".join(found.words for found in shrunk.boundaries if found.words)
        where, steps = _place(target, [*location.probes(shrunk.spec), *map(CaseSpec.parse, more)], check)
        evaluations += steps
        shown = next((candidate for candidate in by_hand(shrunk.spec) if fails(candidate)), shrunk.spec)
        shown = _with_numbers(shown, original.outcome, judged)
        again, case, seen = judged(replace(shown, recipe="shrunk"))
        original = again if again.outcome is original.outcome else original
    shown_case = _exhibit(target, case, seen, check)
    if shown_case.comparisons:
        original = at_worst_element(original, shown_case.comparisons[0])
    return Shown(code, shown_case, original, boundary, evaluations, tuple(tried.items()), where)


# How many like it are tried for a case that shows nothing but NaN: a mean that stands under a root is negative in half.
_LIKE_IT = 8


def _with_numbers(
    spec: CaseSpec, outcome: Outcome, judged: Callable[[CaseSpec], tuple[Judgement, Case, dict[str, Evidence]]]
) -> CaseSpec:
    """Return a case that fails with a wrong number where one fails with NaN, and only the seed needs to be another."""

    def tells(candidate: CaseSpec, *, at_all: bool = True) -> bool:
        found = judged(candidate)[0]
        return (found.outcome is outcome or not at_all) and (found.got is None or math.isfinite(found.got))

    if tells(spec, at_all=False):
        return spec
    return next((one for n in range(1, _LIKE_IT + 1) if tells(one := replace(spec, seed=spec.seed + n))), spec)


def _exhibit(target: Target, case: Case, seen: dict[str, Evidence], check: Check | None) -> Exhibit:
    """Return what is shown of a case; of a small one the derivative is measured, element by element."""
    if check is not None and check.oracle == "numeric" and case.x.size <= _MEASURED_ELEMENTS:
        _gather(target, case, ("element-probes",), seen)
    return exhibit(case, seen, check, forward_only=target.conventions.forward_only)


def _telling(result: CaseResult, case: Case, seen: dict[str, Evidence]) -> Check | None:
    """Return the check to show that fails, or else warns, of what is no tensor of training; None if those tell more."""
    outcomes = {code: found.outcome for code, found in result.judgements.items()}
    failing = [CHECKS.get(code) for code, outcome in outcomes.items() if outcome is Outcome.FAIL]
    if any(check.tensor in TENSORS and check.oracle in ("reference", "numeric") for check in failing):
        return None
    warning = [CHECKS.get(code) for code, outcome in outcomes.items() if outcome is Outcome.WARN]
    return next((check for check in [*failing, *warning] if of_its_own(check.code, case, seen)), None)


def _place(target: _Watched, specs: Sequence[CaseSpec], check: Check) -> tuple[str, int]:
    """Return which elements of the check's tensor alone are wrong on cases of several channels; and calls."""
    if check.tensor not in TENSORS or check.oracle not in ("reference", "numeric"):
        return "", 0
    seen = []
    for spec in specs:
        target.begin(spec.id)
        case = build(spec)
        found = observed(target, case)
        if check.tensor in found:
            seen.append((case, found[check.tensor]))
    return location.place(check.tensor, seen), 2 * len(seen)


def _diagnosed(target: _Watched, task: Task) -> Diagnosed:
    """Look for bugs that explain what is wrong, and for their lines."""
    from bncheck.asked import answered, answered_further
    from bncheck.bugs.told import together
    from bncheck.diagnose import explain, is_single, own_steps
    from bncheck.lines.pointing import pointed

    source = "" if task.spec.program else task.spec.source
    seen, ignored = answered(target, task.settings.dtype, target.begin)
    further = answered_further(target, seen, task.more, target.begin)
    explained = explain(seen, ignored_eps=ignored, further=further)
    of_memory = _of_memory(target, task, own_steps(explained), single=is_single(explained))
    named = [(diagnosis, version) for diagnosis, version in explained if version is not None]
    diagnoses = tuple(diagnosis for diagnosis, _ in named)
    if named and source:
        diagnoses = pointed(target, [*seen, *further], named, source)
    unnamed = tuple(diagnosis for diagnosis, version in explained if version is None)
    return Diagnosed(together((*diagnoses, *of_memory, *unnamed)), 2 * (len(seen) + len(further)))


def _of_memory(target: Target, task: Task, own: Mapping[str, Any] | None, *, single: bool) -> tuple[Diagnosis, ...]:
    """Look for bugs in what the target remembers from batch to batch, and for their lines."""
    from bncheck.lines.remembered import pointed_in_course
    from bncheck.memory.moments import shown_in
    from bncheck.memory.search import searched

    # Where training is known to be wrong, eval mode need not agree with it (BN310).
    codes = [code for code in task.codes if code != "BN310" or not own]
    found = searched(target, task.settings.dtype, codes, own, single=single)
    if found is None:
        return ()
    search, bugs = found
    diagnoses = []
    for named in bugs:
        place = None if task.spec.program else shown_in(search, named)
        line = None if place is None else pointed_in_course(target, *place, task.spec.source)
        diagnoses.append(replace(named.said(), line=line))
    return (*diagnoses, *search.unnamed(codes, bugs))
