"""The call in a course of batches where a bug of what a layer remembers shows first, to be gone through once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bncheck.bugs.memory import STATISTICS, Remembering
from bncheck.experiments.memory import Moment
from bncheck.memory.answers import IN_EVAL
from bncheck.memory.search import Search
from bncheck.memory.values import Batch, Named

_HELD = ("held_mean", "held_var")


class Shown(NamedTuple):
    """Where a bug shows: the call, its steps as they should be and as the bug has them, and what was found wrong."""

    moment: Moment
    right: Remembering
    wrong: Remembering
    found: dict[str, Any]


def shown_in(search: Search, named: Named) -> Shown | None:
    """Return where a bug shows first; None where that is in no one call: in the conventions, after many batches."""
    for batch, names in _batches(search, named):
        found = {name: batch.found[name] for name in names if not batch.fits(name, named.rule, {})}
        moment = _moment(search, batch) if found else None
        if moment is not None:
            right, wrong = (batch.steps(named.rule, replaced) for replaced in ({}, named.replaced))
            return Shown(moment, right, wrong, found)
    return None


def _batches(search: Search, named: Named) -> Iterator[tuple[Batch, Sequence[str]]]:
    """Yield the batches that a bug may show in, with the names of what it makes wrong there."""
    steps = set(named.version.bug.steps)
    in_eval = {words: name for name, words in IN_EVAL.items()}
    if steps <= {*_HELD}:
        for batch in search.pairs(named.version.bug.code, named.version.choice.value):
            yield batch, [name for name in _HELD if name in batch.found]
    elif set(named.tensors) <= set(STATISTICS):
        for batch in search.averages.updates:
            yield batch, [name for name in named.tensors if name in batch.found]
    elif set(named.tensors) <= set(in_eval):
        names = [in_eval[words] for words in named.tensors]
        answers = search.answers()
        for batch in answers.right() or [batch for held in answers.held for batch in held]:
            yield batch, [name for name in names if name in batch.found]


def _moment(search: Search, batch: Batch) -> Moment | None:
    for life in search.lives:
        for part in (life.training, life.inference):
            for place, call in enumerate(part):
                if call.case is batch.case:
                    trained = part[: place + 1] if part is life.training else life.training
                    asked = [] if part is life.training else part[: place + 1]
                    return Moment([c.case for c in trained], [c.case for c in asked])
    return None
