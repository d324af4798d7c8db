"""One source, and where its code runs: discover its targets, then sweep, show and name what is wrong."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from bncheck.case import CaseSpec
from bncheck.executors.base import Abandoned, Died, Executor
from bncheck.journal import Journal
from bncheck.model import UNDECLARED, CaseResult, Outcome, TargetCard, TargetSpec
from bncheck.report import Diagnosis, Finding, TargetReport, Verdict
from bncheck.settings import Settings
from bncheck.sweep import Show, Sweep
from bncheck.tally import Tally
from bncheck.tasks import Begun, Diagnosed, Discovered, Event, Refused, Shown, Task


@dataclass
class Job:
    """One source, and where its code runs: discover it, then verify its targets one by one."""

    spec: TargetSpec
    settings: Settings
    executor: Executor
    journal: Journal | None = None
    start: float = field(default_factory=time.perf_counter)

    def discover(self) -> tuple[TargetCard, ...] | TargetReport:
        """Return the targets of the source, or the report of one that cannot be verified at all."""
        answers: list[Event | Died | Abandoned] = []
        self.executor.run(Task("discover", self.spec, self.settings), answers.append)
        tried = any(isinstance(answer, Begun) for answer in answers)
        answer = next(answer for answer in answers if not isinstance(answer, Begun))
        if isinstance(answer, Discovered):
            return answer.cards
        if isinstance(answer, Refused):
            error = _with_limit(answer.message, self.settings)
            return TargetReport(self.spec.source, Verdict.ERROR, error=error, stub=answer.stub, discovery=answer.trace)
        if isinstance(answer, Died) and tried:
            return TargetReport(self.spec.source, Verdict.FAIL, findings=(_fatal(f"{answer.how}; {_UNTRIED}"),))
        if isinstance(answer, Died):
            how = f"{self.spec.source} cannot be imported: {answer.how}."
            return TargetReport(self.spec.source, Verdict.ERROR, error=how)
        raise RuntimeError(f"discovery was answered by {type(answer).__name__}")

    def verify(self, card: TargetCard, progress: Show | None) -> TargetReport:
        """Return the report of a target; `progress` is called after every case."""
        if card.conventions is None:
            return self._unusable(card)
        from bncheck.cases.plan import cases_for

        self.start = time.perf_counter()
        cases = (case.id for case in cases_for(card.conventions, self.settings))
        return self._report(card, self._swept(card, cases, self.settings.cases, progress), None)

    def replay(self, card: TargetCard, case: CaseSpec) -> TargetReport:
        """Return the report of a target on one case."""
        if card.conventions is None:
            return self._unusable(card)
        taken = sorted({len(layout) - 2 for layout in card.conventions.layouts})
        if len(case.spatial) not in taken:
            spatial = " or ".join(str(axes) for axes in taken)
            message = f"the replay id has {len(case.spatial)} spatial axes, and {card.name} takes {spatial}"
            return _refused(card, message)
        if card.conventions.eps is not None:
            case = replace(case, eps=card.conventions.eps)
        if card.conventions.dtype:
            case = replace(case, dtype=card.conventions.dtype)
        self.start = time.perf_counter()
        return self._report(card, self._swept(card, iter([case.id]), 1), case.id)

    def _unusable(self, card: TargetCard) -> TargetReport:
        """Report a candidate that cannot be run: a stub, or code that raised in every way it was tried."""
        if card.stub is not None:
            return replace(_refused(card, card.stub), stub=True)
        reasons: list[Event | Died | Abandoned] = []
        self.executor.run(Task("sweep", self.spec, self.settings, card.name), reasons.append)
        reason = next((r.message for r in reasons if isinstance(r, Refused)), "it cannot be run")
        return _refused(card, _with_limit(reason, self.settings))

    def _swept(self, card: TargetCard, cases: Iterator[str], planned: int, show: Show | None = None) -> Sweep:
        """Return the sweep of a target."""
        sweep = Sweep(self.spec, self.settings, self.executor, self.journal)
        sweep.run(card.name, cases, planned, show)
        return sweep

    def _report(self, card: TargetCard, sweep: Sweep, one_case: str | None) -> TargetReport:
        from bncheck import verdict

        if sweep.refusal:
            return _refused(card, f"{card.name}: {sweep.refusal}")
        seen = sweep.seen
        found = verdict.findings(seen)
        told = found
        if one_case is None:  # of one case alone, a failure that stays away says nothing
            found = verdict.with_expected(found, self.settings.expected, self.spec.names_of(card.name))
        shown, named = self._looked_into(card, sweep, found, one_case)
        by_code = {show.code: show for show in shown}
        found = tuple(_located(finding, by_code.get(finding.code), seen) for finding in found)
        found = tuple(_limited(_with_abandoned(finding, sweep), self.settings) for finding in found)
        # What was seen before an interruption may say "wrong"; it cannot say "right".
        alone = card.conventions is not None and card.conventions.forward_only
        oracles = None if sweep.interrupted else verdict.oracle_table(told, forward_only=alone)
        found, oracles = verdict.with_names(found, oracles, [d for answer in named for d in answer.diagnoses])
        oracles = verdict.without_eval_mode(oracles, card.conventions)
        roots = {finding.code for finding in found if finding.follows_from is None}
        shown = [show for show in shown if not show.code or show.code in roots]
        outcome = verdict.verdict(found, oracles, strict=self.settings.strict)
        died = verdict.representative("BN506", Outcome.FAIL, seen.kept)
        exhibited = next((show.exhibit.case for show in shown), died)
        return TargetReport(
            name=card.name,
            verdict=Verdict.INTERRUPTED if sweep.interrupted else outcome,
            conventions=verdict.with_notes(card.conventions, found),
            oracles=oracles,
            findings=found,
            diagnoses=tuple(verdict.with_memory(_conditioned(d, found), found) for one in named for d in one.diagnoses),
            exhibits=tuple(show.exhibit for show in shown),
            cases=seen.cases,
            evaluations=seen.evaluations + sum(s.evaluations for s in shown) + sum(d.evaluations for d in named),
            seconds=time.perf_counter() - self.start,
            # A live object has no name that another process could find it by.
            replay=_replay_command(exhibited, self.spec, card) if exhibited and not self.spec.live else "",
            discovery=card.trace,
            defined=card.defined,
            planned=sweep.planned,
            stopped=sweep.stopped,
            digest=seen.digest,
            journal=str(self.journal.path) if self.journal is not None else "",
            resumed=sweep.resumed,
            dtype=(card.conventions.dtype if card.conventions is not None else "") or self.settings.dtype,
        )

    def _looked_into(
        self, card: TargetCard, sweep: Sweep, found: Sequence[Finding], one_case: str | None
    ) -> tuple[list[Shown], list[Diagnosed]]:
        """Return the cases to show, and the names of the bugs: what is known of them when the user interrupts."""
        from bncheck import verdict

        shown: list[Shown] = []
        named: list[Diagnosed] = []
        if sweep.interrupted:
            return shown, named
        kept = sweep.seen.kept
        wanted = {"": one_case} if one_case else _exhibited(found, kept)
        more = {code: verdict.further(code, kept) for code in wanted}
        task = Task("exhibit", self.spec, self.settings, card.name, tuple(wanted.values()), tuple(wanted), more)
        try:
            if wanted:
                self.executor.run(task, lambda event: shown.append(event) if isinstance(event, Shown) else None)
            named = self._diagnosed(card, found, kept)
        except KeyboardInterrupt:  # what the sweep has shown is known
            sweep.interrupted = True
        return shown, named

    def _diagnosed(self, card: TargetCard, found: Sequence[Finding], results: Sequence[CaseResult]) -> list[Diagnosed]:
        """Ask for the names of the bugs, where something with a formula fails and nothing took the worker down."""
        from bncheck import verdict

        failed = [finding for finding in found if finding.outcome is Outcome.FAIL]
        # Who writes into an array that is read-only in some cases raises there (BN504), and the worker lives on.
        crashed = any(f.code == "BN506" and f.follows_from is None for f in failed)
        if crashed or not any(f.code[:3] in _FORMULAS for f in failed):
            return []
        answers: list[Diagnosed] = []
        codes = tuple(sorted({finding.code for finding in failed}))
        more = verdict.further_of_tensors(codes, results)
        task = Task("diagnose", self.spec, self.settings, card.name, codes=codes, more=more)
        self.executor.run(task, lambda event: answers.append(event) if isinstance(event, Diagnosed) else None)
        return answers


def _exhibited(found: Sequence[Finding], results: Sequence[CaseResult]) -> dict[str, str]:
    """Return the case to show for each failure that follows from no other."""
    from bncheck import verdict

    wanted = {}
    for finding in found:
        if finding.outcome in (Outcome.FAIL, Outcome.WARN) and finding.follows_from is None:
            # A case that took the worker down was not judged, and is not run again to be shrunk.
            judged = [result for result in results if result.judgements.keys() != {"BN506"}]
            case = verdict.representative(finding.code, finding.outcome, judged)
            if case is not None:
                wanted[finding.code] = case
    return wanted


def _located(finding: Finding, shown: Shown | None, seen: Tally) -> Finding:
    """Return a finding with its smallest case, which cases it holds in, and which elements it concerns."""
    if shown is None or shown.judgement is None:
        return finding
    from bncheck.condition import condition_of, trend_of

    # A case of its own says nothing about others.
    condition = condition_of(finding, seen.kept, shown.tried, seen.cases) if seen.cases > 1 else None
    trend = trend_of(finding, condition, seen.kept) if finding.outcome is Outcome.FAIL else None
    if shown.judgement.outcome is not finding.outcome:  # code that does something else each time
        finding = replace(finding, message=f"{finding.message}; when this case was run again, it was otherwise")
        return replace(finding, condition=condition, trend=trend)
    return replace(_with_exhibit(finding, shown), condition=condition, trend=trend)


# Checks of y and of the gradients, of the statistics and of eval mode: what the bugs that have names are wrong in.
_FORMULAS = ("BN1", "BN2", "BN3", "BN5", "BN6")


def _conditioned(diagnosis: Diagnosis, found: Sequence[Finding]) -> Diagnosis:
    """Return a diagnosis with the condition under which its tensor is wrong, and the place of the error."""
    roots = [f for f in found if f.outcome is Outcome.FAIL and f.follows_from is None and diagnosis.is_about(f)]
    said = [part for f in roots[:1] for part in (f.place, f.condition.sentence if f.condition else "") if part]
    if diagnosis.is_named or not roots or not roots[0].place:
        return replace(diagnosis, condition="; ".join(said))
    # Without a name the place is all that is known for sure.
    place = roots[0].place
    title = f"{diagnosis.tensor} is wrong {place}, and no known bug explains it"
    hint = f"{_HINTS[place]} {diagnosis.explanation}" if place in _HINTS else diagnosis.explanation
    return replace(diagnosis, title=title, explanation=hint, condition="; ".join(said[1:]))


# What a place makes one think of.
_HINTS = {"only in channels after the first": "Is a sum not set to 0 for each channel?"}


def _with_exhibit(finding: Finding, shown: Shown) -> Finding:
    there = shown.judgement
    assert there is not None
    return replace(
        finding,
        message=there.message,
        tensor=there.tensor,
        error=there.error,
        allowed=there.allowed,
        index=there.index,
        got=there.got,
        want=there.want,
        case=shown.exhibit.case,
        boundary=shown.boundary,
        place=shown.place,
    )


def _with_abandoned(finding: Finding, sweep: Sweep) -> Finding:
    if finding.code != "BN506" or not sweep.abandoned:
        return finding
    ends = "one such end" if sweep.ends == 1 else f"{sweep.ends} such ends"
    return replace(finding, message=f"{finding.message}; after {ends} {sweep.abandoned} cases were not run")


def _limited(finding: Finding, settings: Settings) -> Finding:
    """Return a finding with the limit of memory, where it was too little for the code."""
    if finding.outcome not in (Outcome.FAIL, Outcome.WARN):
        return finding
    return replace(finding, message=_with_limit(finding.message, settings))


def _with_limit(said: str, settings: Settings) -> str:
    """Return what was said of code, with the limit of memory where it is that there was not enough."""
    if settings.memory is None or "MemoryError" not in said:
        return said
    return f"{said.removesuffix('.')}; --memory {settings.memory:g} (GiB) was the limit{'.' * said.endswith('.')}"


# What is said of an end for which no replay id stands.
_UNTRIED = "this was before the first case, while it was tried how to call it"


def _fatal(how: str) -> Finding:
    return Finding("BN506", "survives", Outcome.FAIL, "error", how)


def _refused(card: TargetCard, error: str) -> TargetReport:
    return TargetReport(
        card.name, Verdict.ERROR, card.conventions, error=error, discovery=card.trace, defined=card.defined
    )


def _replay_command(case: str, spec: TargetSpec, card: TargetCard) -> str:
    folder, _, _ = spec.source.partition("::")
    _, _, name = card.name.partition("::")
    said = spec.declared
    named = name and not said.adapter_file and folder.endswith((".py", ".ipynb"))
    target = f"{folder}::{name}" if named else spec.source
    options = [
        part
        for field in dataclasses.fields(said)
        if (value := getattr(said, field.name)) != getattr(UNDECLARED, field.name)
        for part in _option(field.name, value)
    ]
    targets = ["--exec", target] if spec.program else [target]
    return shlex.join(["bncheck", "replay", case, *targets, *options])


def _option(name: str, value: object) -> list[str]:
    """Return a declared setting as the command line has it."""
    spelled = {"kind": "as", "adapter_file": "adapter"}.get(name, name.replace("_", "-"))
    return [f"--no-{spelled}"] if value is False else [f"--{spelled}", str(value)]
