"""Which property of a case decides whether code fails on it: "N odd", "N > 64", "gamma < 0", "non-contiguous x".

Calls no user code. A condition is said only where it separates: every case that fails has it, and no case that passes.
The cases are those of the sweep, and those that the shrinker tried, which lie close together on either side of where
failing begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build, gamma_of
from bncheck.checks.state import AFTER_ONE
from bncheck.core.truth import is_nothing
from bncheck.model import TENSORS, CaseResult, Judgement, Outcome
from bncheck.report import Condition, Finding, Trend
from bncheck.tally import WHOLE


class Seen(NamedTuple):
    """A case, and whether it failed; `gamma` are its gammas. `swept` says that it belongs to the sweep."""

    spec: CaseSpec
    failed: bool
    gamma: tuple[float, ...]
    swept: bool = True


class Property(NamedTuple):
    """A property in words, and for each case whether it has it. `tried` thresholds were looked through to find it."""

    words: str
    holds: tuple[bool, ...]
    tried: int = 1


# The probability that chance alone looks like a condition.
CHANCE = 1e-3
# With a case or two on one side there is nothing to be seen in common.
FEWEST = 3


def condition_of(
    finding: Finding, results: Sequence[CaseResult], tried: Iterable[tuple[str, bool]], cases: int = 0
) -> Condition | None:
    """Return the condition under which a check fails.

    Parameters
    ----------
    finding : Finding
        A failure, or a warning.
    results : sequence of CaseResult
        The sweep; of a long one what was kept of it.
    tried : iterable of (str, bool)
        Replay ids of further cases, and whether the check failed there.
    cases : int
        How many the sweep has, where `results` are not all of them.

    """
    whole = cases <= WHOLE
    # What was kept behind the first results fails in some check: it is no fair sample of what passes in this one.
    later = () if whole else [r for r in results[WHOLE:] if _outcome(finding.code, r) is finding.outcome]
    results = results if whole else [*results[:WHOLE], *later]
    judged = {r.case: r.judgements[finding.code] for r in results if finding.code in r.judgements}
    judged = {case: j for case, j in judged.items() if j.outcome in (finding.outcome, Outcome.PASS)}
    known = {case: j.outcome is finding.outcome for case, j in judged.items()}
    if finding.code == _LATER_CALLS:
        said = _of_later_calls(judged.values(), results)
        return said if said is None or whole else replace(said, first=WHOLE, later=len(later))
    swept = [_seen(case, known[case], finding.tensor, True, j.allowed or 0.0) for case, j in judged.items()]
    if len({case.failed for case in swept if case}) < 2:
        return None
    beside = [_seen(case, failed, finding.tensor, False) for case, failed in tried if case not in known]
    found = separating([case for case in [*swept, *beside] if case is not None])
    if found is None:
        return None
    found = replace(found, silent=swept.count(None))
    return found if whole else replace(found, first=WHOLE, later=len(later))


def _outcome(code: str, result: CaseResult) -> Outcome | None:
    return result.judgements[code].outcome if code in result.judgements else None


# The check that compares later calls with the first one of a fresh layer.
_LATER_CALLS = "BN508"
_OF_FIRST_CALLS = ("BN1", "BN2")


def _of_later_calls(judged: Collection[Judgement], results: Sequence[CaseResult]) -> Condition | None:
    """Return the condition that lies in what the check looks at, where first calls were judged, and none is wrong.

    What takes more than one step before is told by the finding itself.
    """
    first = [j.outcome for r in results for other, j in r.judgements.items() if other.startswith(_OF_FIRST_CALLS)]
    failing = [j.message for j in judged if j.outcome is not Outcome.PASS]
    if Outcome.PASS not in first or Outcome.FAIL in first or not any(AFTER_ONE in message for message in failing):
        return None
    return Condition("from the second call on", len(failing), len(judged), 0, 0)


def _seen(case_id: str, failed: bool, tensor: str | None, swept: bool, allowed: float = 0.0) -> Seen | None:
    """Return the case with what its properties follow from; None where nothing could have shown that it is wrong."""
    spec = CaseSpec.parse(case_id)
    if not failed and tensor in TENSORS and is_nothing(build(spec), tensor, allowed):
        return None
    return Seen(spec, failed, tuple(gamma_of(spec).tolist()), swept)


def separating(seen: Sequence[Seen]) -> Condition | None:
    """Return the simplest property, or pair of them, that all cases have that fail, and none that passes.

    Notes
    -----
    How many cases it takes: suppose each case fails by chance with the probability p, whatever it is like. One property
    fixed beforehand then agrees with F failures among n cases with the probability p**F (1 - p)**(n - F), at most its
    value at p = F/n. Of k properties (each threshold that could have been taken counts as one) at least one agrees with
    at most k times that. It has to be below ``CHANCE``. With 200 cases and 200 properties, 3 failures are enough.
    """
    failing = sum(case.failed for case in seen)
    if min(failing, len(seen) - failing) < FEWEST:
        return None
    if all(case.failed == (case.spec.m > 1) for case in seen):
        return None  # one value is no batch: its sum and its mean are the same, and much that is wrong is right there
    share = failing / len(seen)
    log_chance = failing * math.log(share) + (len(seen) - failing) * math.log(1 - share)
    # Of properties that hold for the same cases the first says it most plainly.
    known: dict[tuple[bool, ...], Property] = {}
    hypotheses = 0
    for candidate in _properties(seen):
        hypotheses += candidate.tried
        if all(holds for holds, case in zip(candidate.holds, seen, strict=True) if case.failed):
            known.setdefault(candidate.holds, candidate)
    alone, pairs = math.log(CHANCE / hypotheses), math.log(CHANCE / hypotheses**2)
    for candidate in known.values() if log_chance < alone else ():
        if _separates(candidate.holds, seen):
            return _condition(candidate.words, seen)
    # Two thresholds fence in almost anything.
    for one, two in combinations(known.values(), 2) if log_chance < pairs else ():
        both = tuple(a and b for a, b in zip(one.holds, two.holds, strict=True))
        if min(one.tried, two.tried) == 1 and _separates(both, seen):
            first, second = sorted((one, two), key=lambda part: -part.tried)
            return _condition(f"{first.words} and {second.words}", seen)
    return None


def _separates(holds: Sequence[bool], seen: Sequence[Seen]) -> bool:
    return all(has == case.failed for has, case in zip(holds, seen, strict=True))


def _condition(words: str, seen: Sequence[Seen]) -> Condition:
    """Return the condition with the sweep's counts: what was tried for it beside is no fair sample."""
    swept = [case.failed for case in seen if case.swept]
    return Condition(words, sum(swept), sum(swept), 0, len(swept) - sum(swept))


# --------------------------------------------------------------------------------------------------------- properties

Test = Callable[[Seen], bool]


def _properties(seen: Sequence[Seen]) -> Iterator[Property]:
    """Yield the properties, those first that are said most simply."""
    for words, test in _tests(seen):
        yield Property(words, tuple(test(case) for case in seen))
    for form, value in _measures(seen):
        yield from _thresholds(form, [value(case) for case in seen], seen)


def _tests(seen: Sequence[Seen]) -> Iterator[tuple[str, Test]]:
    yield from (
        ("N = 1", lambda case: case.spec.n == 1),
        ("C = 1", lambda case: case.spec.c == 1),
        ("one value per channel", lambda case: case.spec.m == 1),
        ("N odd", lambda case: case.spec.n % 2 == 1),
        ("N even", lambda case: case.spec.n % 2 == 0),
        ("C odd", lambda case: case.spec.c % 2 == 1),
        ("C even", lambda case: case.spec.c % 2 == 0),
        ("more than one pixel", lambda case: case.spec.m > case.spec.n),
        ("spatial axes", lambda case: bool(case.spec.spatial)),
        ("no spatial axes", lambda case: not case.spec.spatial),
        *((f"{_axes(rank)}", _of_rank(rank)) for rank in {len(case.spec.spatial) for case in seen}),
        ("gamma < 0", lambda case: min(case.gamma) < 0),
        ("gamma > 0", lambda case: max(case.gamma) > 0),
        ("gamma = 0", lambda case: 0.0 in case.gamma),
        ("every gamma = 1", lambda case: set(case.gamma) == {1.0}),
        ("a constant channel", lambda case: case.spec.constant > 0),
        ("non-contiguous x", lambda case: case.spec.memory in ("F", "strided", "channels_last")),
        ("x with gaps in memory", lambda case: case.spec.memory == "strided"),
        ("x in Fortran order", lambda case: case.spec.memory == "F"),
        ("read-only x", lambda case: case.spec.memory == "readonly"),
        ("N = C", lambda case: case.spec.n == case.spec.c),
        ("N > C", lambda case: case.spec.n > case.spec.c),
        ("N < C", lambda case: case.spec.n < case.spec.c),
        ("N a power of two", lambda case: case.spec.n & (case.spec.n - 1) == 0),
        ("N no power of two", lambda case: case.spec.n & (case.spec.n - 1) != 0),
        ("mean < 0", lambda case: case.spec.mean < 0),
        ("dy < 0", lambda case: case.spec.dy_scale < 0),
    )
    for letter in ("N", "C", "m"):
        for k in MULTIPLES:
            yield f"{letter} a multiple of {k}", _multiple(letter, k, True)
            yield f"{letter} not a multiple of {k}", _multiple(letter, k, False)


# Blocks that code is unrolled or vectorised by; 2 is "odd" and "even".
MULTIPLES = (3, 4, 5, 8, 10, 16, 32, 64, 100, 128)


def _axes(rank: int) -> str:
    return f"x of {rank + 2} axes"


def _of_rank(rank: int) -> Test:
    return lambda case: len(case.spec.spatial) == rank


def _size(letter: str, spec: CaseSpec) -> int:
    return {"N": spec.n, "C": spec.c, "m": spec.m}[letter]


def _multiple(letter: str, k: int, wanted: bool) -> Test:
    return lambda case: (_size(letter, case.spec) % k == 0) is wanted


class _Form(NamedTuple):
    """How a measure is said: "N", in whole numbers or not, and what comes behind the number."""

    letter: str
    whole: bool = False
    unit: str = ""


def _measures(seen: Sequence[Seen]) -> Iterator[tuple[_Form, Callable[[Seen], float]]]:
    yield _Form("N", True), lambda case: case.spec.n
    yield _Form("C", True), lambda case: case.spec.c
    if any(case.spec.spatial for case in seen):
        yield _Form("m", True), lambda case: case.spec.m
        yield _Form("N C H W", True), lambda case: case.spec.m * case.spec.c
    yield _Form("eps"), lambda case: case.spec.eps
    yield _Form("momentum"), lambda case: case.spec.momentum
    yield _Form("|mean|"), lambda case: abs(case.spec.mean)
    yield _Form("|mean|", unit=" standard deviations"), lambda case: abs(case.spec.mean) / (case.spec.sd or 1.0)
    yield _Form("sd"), lambda case: case.spec.sd
    yield _Form("scale of dy"), lambda case: abs(case.spec.dy_scale)


def _thresholds(form: _Form, values: Sequence[float], seen: Sequence[Seen]) -> Iterator[Property]:
    """Yield the two nearest thresholds that leave all failing cases on one side, and the one size that fails."""
    failing = [value for value, case in zip(values, seen, strict=True) if case.failed]
    passing = [value for value, case in zip(values, seen, strict=True) if not case.failed]
    distinct = len(set(values))
    if distinct < 2:
        return
    least, most = min(failing), max(failing)
    above = _threshold(form, least, _nearest(least, passing, below=True), ">", "≥")
    yield Property(above, tuple(value >= least for value in values), distinct)
    below = _threshold(form, most, _nearest(most, passing, below=False), "<", "≤")
    yield Property(below, tuple(value <= most for value in values), distinct)
    if form.whole and least == most:
        yield Property(f"{form.letter} = {least:.0f}", tuple(value == least for value in values), distinct)


def _nearest(value: float, others: Iterable[float], *, below: bool) -> float | None:
    side = [other for other in others if (other < value if below else other > value)]
    return (max(side) if below else min(side)) if side else None


def _threshold(form: _Form, fails: float, passes: float | None, beyond: str, from_: str) -> str:
    """Return "N > 64" where 64 passes and 65 fails, else "eps ≥ 0.1", the first value that fails."""
    if form.whole and passes is not None and abs(passes - fails) == 1:
        return f"{form.letter} {beyond} {passes:.0f}"
    return f"{form.letter} {from_} {fails:.4g}{form.unit}"


# ---------------------------------------------------------------------------------------- the error against a parameter

# Points of a plot; more of them tell the eye no more. With fewer there is nothing to be seen.
MOST_POINTS, FEWEST_POINTS = 200, 8
# What the error is shown against where no condition names a parameter.
_USUAL = "m"


def trend_of(finding: Finding, condition: Condition | None, results: Sequence[CaseResult]) -> Trend | None:
    """Return the error of a failing check over the sweep, against the parameter that its condition names first.

    None where too few cases have an error in numbers.
    """
    judged = [(CaseSpec.parse(r.case), r.judgements[finding.code]) for r in results if finding.code in r.judgements]
    ratios = [0.0 if j.error == 0 else j.ratio for _, j in judged]
    failed = [j.outcome is Outcome.FAIL for _, j in judged]
    told = [i for i, (_, j) in enumerate(judged) if failed[i] or (j.error is not None and math.isfinite(ratios[i]))]
    if sum(math.isfinite(ratios[i]) for i in told) < FEWEST_POINTS:
        return None
    seen = [Seen(judged[i][0], failed[i], tuple(gamma_of(judged[i][0]).tolist())) for i in told]
    parameter, value = _parameter(condition.words if condition else "", seen)
    values = [float(value(case)) for case in seen]
    order = sorted(range(len(told)), key=lambda k: (values[k], ratios[told[k]]))
    kept = _thinned(order, lambda k: failed[told[k]])
    return Trend(
        parameter,
        tuple(values[k] for k in kept),
        tuple(ratios[told[k]] for k in kept),
        tuple(failed[told[k]] for k in kept),
    )


def _thinned(order: Sequence[int], keeps: Callable[[int], bool]) -> list[int]:
    """Return at most MOST_POINTS of the points, in their order: a share of either outcome, and both ends."""
    kept = {order[0], order[-1]} if order else set()
    for group in ([k for k in order if keeps(k)], [k for k in order if not keeps(k)]):
        kept.update(group if len(order) <= MOST_POINTS else group[:: -(-len(group) // (MOST_POINTS // 2 - 1)) or 1])
    return [k for k in order if k in kept]


def _parameter(words: str, seen: Sequence[Seen]) -> tuple[str, Callable[[Seen], float]]:
    """Return the parameter that a condition speaks of first: a measure of cases, or whether they have a property."""
    first = words.partition(" and ")[0]
    measures = [(f"{form.letter}{form.unit}", form, value) for form, value in _measures(seen)]
    fitting = [m for m in measures if first.startswith(f"{m[1].letter} ") and first.endswith(m[1].unit)]
    if fitting:
        name, _, value = max(fitting, key=lambda m: len(m[0]))
        return name, value
    test = dict(_tests(seen)).get(first)
    if test is not None:
        return first, test
    return _USUAL, lambda case: case.spec.m
