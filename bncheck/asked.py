"""What a target gives on the cases that it is diagnosed by. User code runs here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bncheck.bugs.evidence import Observed, hidden
from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.cases.telling import telling
from bncheck.checks.catalogue import CHECKS
from bncheck.experiments.observation import observed
from bncheck.session import Target

# Is told of each case before user code runs on it.
Begin = Callable[[str], object]


def answered(
    target: Target, dtype: str = "float64", begin: Begin = lambda case: None
) -> tuple[list[Observed], float | None]:
    """Return what a target gives on cases that tell bugs apart; and its eps, if it ignores the one that it gets."""
    conventions = target.conventions
    ranks = tuple(len(layout) - 2 for layout in conventions.layouts)
    seen = _given(target, telling(conventions.dtype or dtype, ranks, conventions.eps), begin)
    return seen, conventions.eps if conventions.eps_source == "ignored" else None


def answered_further(
    target: Target,
    seen: Sequence[Observed],
    failing: Mapping[str, Sequence[str]],
    begin: Begin = lambda case: None,
) -> list[Observed]:
    """Return what a target gives on failing cases of those tensors that are right on every case seen before.

    Parameters
    ----------
    target : Target
        The user's code.
    seen : sequence of Observed
        What :func:`answered` returned.
    failing : mapping of str to sequence of str
        Replay ids of cases on which checks of one tensor fail, by check.
    begin : callable
        Is told the replay id of each case before it runs.

    """
    tensors = {code: CHECKS.get(code).tensor or "" for code, cases in failing.items() if cases}
    silent = hidden(seen, tensors.values())
    wanted = dict.fromkeys(case for code, tensor in tensors.items() if tensor in silent for case in failing[code])
    # Of one value per channel nothing can be told: much that is wrong is right there, and m - 1 is 0.
    return _given(target, [spec for spec in map(CaseSpec.parse, wanted) if spec.m > 1], begin)


def _given(target: Target, specs: Sequence[CaseSpec], begin: Begin) -> list[Observed]:
    seen = []
    for spec in specs:
        begin(spec.id)
        case = build(spec)
        seen.append(Observed(case, observed(target, case)))
    return seen
