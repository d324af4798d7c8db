"""From judgements of cases to findings, the two-oracle table and a verdict. Pure: calls no user code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bncheck.checks.catalogue import CHECKS, OF_A_CASE, Check, named
from bncheck.checks.eval_gradients import NOTHING_IN_EVAL, OF_TRAINING
from bncheck.model import TENSORS, CaseResult, Conventions, Expected, Outcome
from bncheck.report import Diagnosis, Finding, OracleTable, Verdict
from bncheck.tally import Tally, size_of

# What a check says about a target is the gravest thing it says about any case.
_GRAVITY = (Outcome.FAIL, Outcome.WARN, Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.SKIP)

# The rows of the two-oracle table: forward = reference, backward = derivative of own forward, backward = reference.
_CONCLUSIONS = {
    ("yes", "yes", "yes"): "Forward and backward are right in training mode.",
    ("yes", "no", "no"): "The backward is wrong; the forward is right in training mode.",
    ("no", "yes", "no"): "The forward is wrong; the backward is consistent with it.",
    ("no", "no", "yes"): "The forward is wrong; the backward is that of a right one.",
    ("no", "yes", "yes"): "The forward is off by something that has no derivative (a constant).",
    ("no", "no", "no"): "The forward and the backward are wrong, or the backward was derived for yet another forward.",
    ("yes", "no", "yes"): "Contradiction: the backward equals the reference but not the measured derivative.",
}
# The one row of a target without a backward, whose other two answers are "none".
ABSENT = "none"
_ALONE = {
    "yes": "The forward is right in training mode. Gradients were not verified.",
    "no": "The forward is wrong. Gradients were not verified.",
}


def findings(results: Iterable[CaseResult] | Tally) -> tuple[Finding, ...]:
    """Return one finding per check that judged a case, failures first, consequences marked."""
    seen = results if isinstance(results, Tally) else Tally.of(results)
    drafts = {code: _finding(CHECKS.get(code), seen) for code in seen.counts}
    failed = {code for code, finding in drafts.items() if finding.outcome is Outcome.FAIL}
    warned = {code for code, finding in drafts.items() if finding.outcome is Outcome.WARN}
    marked = [
        _marked(finding, CHECKS.get(code), failed | warned if code in warned else failed)
        for code, finding in drafts.items()
    ]
    return tuple(sorted(marked, key=_rank))


def _rank(finding: Finding) -> tuple[int, bool, str]:
    return _GRAVITY.index(finding.outcome), finding.follows_from is not None, finding.code


def with_expected(found: Sequence[Finding], expected: Sequence[Expected], names: Sequence[str]) -> tuple[Finding, ...]:
    """Return the findings with known failures as warnings, and with failures for those that do not happen any more.

    What follows from a known failure is known with it. A check that did not run, or decided nothing, is left as it is.
    `names` are what the target is called.
    """
    reasons = {named(e.check).code: e.reason for e in expected if e.fits(names)}
    known: list[Finding] = []
    for finding in found:
        root = finding.code if finding.code in reasons else finding.follows_from
        reason = reasons.get(root or "", "")
        if reason and finding.outcome is Outcome.FAIL:
            message = f"fails, as expected ({reason}): {finding.message}"
            known.append(replace(finding, outcome=Outcome.WARN, message=message, expected=reason))
        elif finding.code in reasons and finding.outcome in (Outcome.PASS, Outcome.WARN):
            message = (
                f"was expected to fail ({reasons[finding.code]}), and does not: take it out of the expected failures"
            )
            known.append(replace(finding, outcome=Outcome.FAIL, message=message, follows_from=None))
        else:
            known.append(finding)
    return tuple(sorted(known, key=_rank))


def representative(code: str, outcome: Outcome, results: Sequence[CaseResult]) -> str | None:
    """Return the replay id of the smallest case on which the check said so, the first of equals."""
    cases = [r.case for r in results if code in r.judgements and r.judgements[code].outcome is outcome]
    return min(cases, key=size_of) if cases else None


def further(code: str, results: Sequence[CaseResult]) -> tuple[str, ...]:
    """Return a few failing cases of several channels, from small to large, that differ in what they are about."""
    failing = [r.case for r in results if code in r.judgements and r.judgements[code].outcome is Outcome.FAIL]
    sizes = {case: size_of(case) for case in failing}
    fitting = [case for case in failing if 1 < sizes[case][1] and sizes[case][0] <= _LARGEST_FURTHER]
    step = -(-len(fitting) // _MOST_FURTHER)
    return tuple(sorted(fitting, key=sizes.__getitem__)[::step]) if fitting else ()


def further_of_tensors(codes: Sequence[str], results: Sequence[CaseResult]) -> dict[str, tuple[str, ...]]:
    """Return failing cases of those checks that compare a tensor with the reference: see :func:`further`."""
    compared = [code for code in codes if code != "BN506" and CHECKS.get(code).oracle == "reference"]
    return {code: further(code, results) for code in compared}


# A step of each costs next to nothing beside the sweep.
_MOST_FURTHER, _LARGEST_FURTHER = 8, 4096


def oracle_table(found: Sequence[Finding], *, forward_only: bool = False) -> OracleTable | None:
    """Return the headline, or None when no oracle was asked."""
    by_code = {finding.code: finding for finding in found}
    failed = [finding for finding in found if finding.outcome is Outcome.FAIL]
    shapeless = {finding.tensor for finding in failed if finding.code == "BN501"}
    not_finite = {finding.tensor for finding in failed if finding.code == "BN503"}

    def answer(*codes: str) -> str:
        asked = [by_code[code] for code in codes if code in by_code]
        outcomes = {finding.outcome for finding in asked}
        tensors = {CHECKS.get(finding.code).tensor for finding in asked}
        if Outcome.FAIL in outcomes or tensors & shapeless:
            return "no"
        if Outcome.PASS in outcomes:
            return "yes"
        return "no" if tensors & not_finite else "unknown"

    if forward_only:
        return _forward_alone(answer("BN101"), failed)
    answers = (answer("BN101"), answer("BN201", "BN202", "BN203"), answer("BN211", "BN212", "BN213"))
    if set(answers) == {"unknown"}:
        return None
    conclusion = _CONCLUSIONS.get(answers, "Not everything could be decided.")
    passed = _passed(found)
    hidden = [f for f in found if f.code in _DERIVATIVE and f.outcome is Outcome.INCONCLUSIVE]
    if answers == ("yes", "unknown", "yes") and all(_equals_the_right_one(finding, passed) for finding in hidden):
        conclusion = "Forward and backward are right in training mode: they equal the reference."
    if "BN101" not in by_code or not any(code.startswith("BN2") for code in by_code):
        conclusion = "Only a part was asked for: this says nothing about the rest."
    if failed and answers == ("yes", "yes", "yes"):
        conclusion = _other_promises(failed)
    return OracleTable(*answers, conclusion)


def _forward_alone(answer: str, failed: list[Finding]) -> OracleTable | None:
    """Return the headline for a target without a backward."""
    if answer == "unknown":
        return None
    conclusion = _ALONE[answer]
    if failed and answer == "yes":
        conclusion = f"{_other_promises(failed, of='forward')} Gradients were not verified."
    return OracleTable(answer, ABSENT, ABSENT, conclusion)


def with_names(
    found: Sequence[Finding], oracles: OracleTable | None, diagnoses: Sequence[Diagnosis]
) -> tuple[tuple[Finding, ...], OracleTable | None]:
    """Return the findings and the headline with what the names of the bugs tell of them.

    A backward that fails with a forward whose bugs are known, and has no bug of its own, is the right formula of what
    the forward hands over: it is right as soon as that is.
    """
    wrong = {finding.code for finding in found if finding.outcome is Outcome.FAIL}
    of_training = [(d, set(TENSORS).intersection(d.tensor.split(", "))) for d in diagnoses]
    named = [d for d, tensors in of_training if tensors]
    if oracles is None or not named or "BN101" not in wrong or not all(d.is_named for d in named):
        return tuple(found), oracles
    if all(d.code == _SMALLER_DTYPE for d in named):
        odd = [f.code for f in found if f.outcome is Outcome.FAIL and f.follows_from is None and misreads_memory(f)]
        said = f"{_AND_MISREAD}{' and '.join(odd[:_MOST_NAMED])}." if odd else _ROUNDED
        return tuple(found), replace(oracles, conclusion=said)
    if not _DERIVATIVE & wrong or any(not tensors <= {"y"} for _, tensors in of_training):
        return tuple(found), oracles
    # A dx that is the derivative of the wrong forward, and not that of the right one, has to be mended with it. (A
    # dgamma that is takes xhat from the forward.)
    passed = _passed(found)
    if "BN201" in passed and "BN211" in wrong:
        return tuple(found), replace(oracles, conclusion=_FORWARD_AND_MORE)
    wrong &= _DERIVATIVE
    followed = [replace(f, follows_from="BN101") if {f.code, f.follows_from} & wrong else f for f in found]
    return tuple(sorted(followed, key=_rank)), replace(oracles, conclusion=_FORWARD_FIRST)


def misreads_memory(finding: Finding) -> bool:
    """Tell whether it is in arrays of another order in memory that numbers are wrong, and not in contiguous ones."""
    said = finding.condition.words if finding.condition is not None else ""
    return finding.code[:3] in ("BN1", "BN2") and any(order in said for order in _ORDERS)


def with_memory(diagnosis: Diagnosis, found: Sequence[Finding]) -> Diagnosis:
    """Return a diagnosis that says so where arrays in another order in memory are misread.

    The bug of a smaller dtype is not all that is wrong then; what has no name may be that alone.
    """
    roots = [f for f in found if f.outcome is Outcome.FAIL and f.follows_from is None and misreads_memory(f)]
    if not diagnosis.is_named and any(map(diagnosis.is_about, roots)):
        return replace(diagnosis, explanation="; ".join(filter(None, (_CONTIGUOUS, diagnosis.explanation))))
    if diagnosis.code != _SMALLER_DTYPE or not roots:
        return diagnosis
    title = f"{diagnosis.title.partition(':')[0]}; where {roots[0].code} fails, it errs by more than that"
    return replace(diagnosis, title=title, explanation=f"{_CONTIGUOUS}; {diagnosis.explanation}")


def without_eval_mode(oracles: OracleTable | None, conventions: Conventions | None) -> OracleTable | None:
    """Return the headline, which says so where code has an eval mode whose statistics are not judged."""
    if oracles is None or conventions is None or not conventions.unjudged:
        return oracles
    return replace(oracles, conclusion=f"{oracles.conclusion} Eval mode was not verified.")


def with_notes(conventions: Conventions | None, found: Sequence[Finding]) -> Conventions | None:
    """Return the conventions, with a note where gradients of eval mode were looked for and are none to judge."""
    reasons = [f.message for f in found if f.code == "BN306" and f.outcome is Outcome.SKIP]
    if conventions is None or not {OF_TRAINING, NOTHING_IN_EVAL}.intersection(reasons):
        return conventions
    said = reasons[0].partition(": eval mode has none")[0]
    return replace(conventions, notes=(f"gradients of eval mode were not verified: {said}", *conventions.notes))


# The bug of code that computes in a smaller dtype.
_SMALLER_DTYPE = "BUG501"
_ROUNDED = "Right to within the rounding of a smaller dtype, and not to within that of the dtype it was given."
_AND_MISREAD = (
    "For contiguous arrays right to within the rounding of a smaller dtype; for others it errs by more than that: "
)
# Properties of cases whose arrays are not contiguous.
_ORDERS = ("x in Fortran order", "non-contiguous x", "x with gaps in memory")
_CONTIGUOUS = "where memory is read by its address, as by C, hand over np.ascontiguousarray(x)"
_FORWARD_FIRST = "The forward is wrong: mend it first. The backward fits the right forward."
_FORWARD_AND_MORE = "The forward is wrong: mend it first. dx is the derivative of the wrong one: mend it with it."

# More names than these make no headline.
_MOST_NAMED = 2


def _other_promises(failed: Sequence[Finding], of: str = "step") -> str:
    """Return the conclusion for code whose training step is right, and which fails all the same."""
    names = [f"{finding.code} {finding.name}" for finding in failed if finding.follows_from is None]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    broken = "another promise is broken" if len(names) == 1 else "other promises are broken"
    return f"The numbers of a training {of} are right; {broken}: {', '.join(names[:_MOST_NAMED])}{more}."


def verdict(found: Sequence[Finding], oracles: OracleTable | None, *, strict: bool) -> Verdict:
    """Return what the findings come to."""
    outcomes = {finding.outcome for finding in found if not finding.expected}
    if Outcome.FAIL in outcomes or (strict and Outcome.WARN in outcomes):
        return Verdict.FAIL
    # An oracle that was asked and could not answer leaves the question open.
    passed = _passed(found)
    equal = {finding.code for finding in found if _equals_the_right_one(finding, passed)}
    absent = oracles is not None and oracles.backward_is_own_derivative == ABSENT
    deciding = _DECIDING - _DERIVATIVE if absent else _DECIDING
    hidden = [f for f in found if f.outcome is Outcome.INCONCLUSIVE and f.code not in equal]
    undecided = any(not _settled(finding, passed | equal, deciding) for finding in hidden)
    # So does one that was skipped on every case: its forward raised, say, wherever it was probed.
    derivative = {f.outcome for f in found if f.code in _DERIVATIVE}
    undecided |= derivative == {Outcome.SKIP} and not absent
    # A failure that was expected, and came, is an answer too.
    answered = Outcome.PASS in outcomes or any(finding.expected for finding in found)
    if undecided or not answered or (oracles and oracles.conclusion.startswith("Contradiction")):
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


# A gradient that is the derivative of a right forward is right, even if no case let it be compared directly; laws, a
# network and an eval mode that agrees with training follow from what decides the rest, too.
_IMPLIED = ("BN21", "BN6", "BN8", "BN310")
_DERIVATIVE = frozenset({"BN201", "BN202", "BN203"})
_DECIDING = _DERIVATIVE | {"BN101", "BN301", "BN302"}


# The measured derivative, and what a gradient equals that is the derivative of a right forward.
_EQUALS = {"BN201": "BN211", "BN202": "BN212", "BN203": "BN213"}


def _passed(found: Iterable[Finding]) -> set[str]:
    return {finding.code for finding in found if finding.outcome is Outcome.PASS}


def _equals_the_right_one(finding: Finding, passed: set[str]) -> bool:
    """Tell whether rounding hid a derivative on all cases, where y and the gradient were compared with the right ones.

    Where the derivative was seen outside its bar on any of them, the two contradict each other.
    """
    if finding.outcome is not Outcome.INCONCLUSIVE or finding.error is None or finding.allowed is None:
        return False
    return {"BN101", _EQUALS.get(finding.code)} <= passed and finding.error <= finding.allowed


def _settled(finding: Finding, passed: set[str], deciding: frozenset[str]) -> bool:
    """Tell whether what a check could not decide follows from what others did."""
    causes = deciding.intersection(CHECKS.get(finding.code).follows)
    return finding.code.startswith(_IMPLIED) and bool(causes) and causes <= passed


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict of several targets: wrong before error before inconclusive before right."""
    for grave in (Verdict.INTERRUPTED, Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS):
        if grave in verdicts:
            return grave
    return Verdict.ERROR


def _finding(check: Check, seen: Tally) -> Finding:
    counts = seen.counts[check.code]
    outcome = next(o for o in _GRAVITY if counts[o])
    reason = _reason(seen.reasons[check.code]) if outcome is Outcome.SKIP else ""
    # The smallest failing case speaks for a failure, the worst ratio for a pass.
    _, case, judgement = seen.telling[check.code, outcome, reason]
    return Finding(
        code=check.code,
        name=check.name,
        outcome=outcome,
        severity=check.severity,
        message=judgement.message,
        tensor=judgement.tensor,
        error=judgement.error,
        allowed=judgement.allowed,
        case=case,
        index=judgement.index,
        got=judgement.got,
        want=judgement.want,
        counts={o.value: counts[o] for o in _GRAVITY if counts[o]},
    )


def _reason(reasons: Counter[str]) -> str:
    """Return why a check was skipped on every case: the reason of most of those cases that it would have run on."""
    telling = Counter({reason: count for reason, count in reasons.items() if reason not in OF_A_CASE})
    return (telling or reasons).most_common(1)[0][0]


def _marked(finding: Finding, check: Check, failed: set[str]) -> Finding:
    """Mark a finding as a consequence; a failure follows from failures, a warning from warnings too."""
    if finding.outcome not in (Outcome.FAIL, Outcome.WARN):
        return finding
    cause = next((code for code in check.follows if code in failed), None)
    return replace(finding, follows_from=cause)
