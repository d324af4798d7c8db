"""What is said of things that read as Batch Normalization and are no candidates: why each of them is none."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from bncheck import guard
from bncheck.adapters.closures import first_calls
from bncheck.adapters.function_pair import is_function, plain
from bncheck.adapters.protocol import Namespace
from bncheck.adapters.stems import NO_TRAINING
from bncheck.adapters.words import Kind, kind, stem, words


class NearMiss(NamedTuple):
    """A thing by name, why it is no candidate, and whether it raised when it was called."""

    name: str
    why: str
    raised: bool = False

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.name}: {self.why}"


def near_misses(namespace: Namespace) -> list[NearMiss]:
    """Return why each thing is no candidate, for a namespace that has none; what does not read so is not called."""
    return [near_miss(name, thing) for name, thing in namespace.things.items()]


def near_miss(name: str, thing: Any) -> NearMiss:
    """Return why one thing is no candidate."""
    reads = kind(name, inspect.getdoc(thing) or "")
    if not is_function(thing):
        return NearMiss(name, f"reads as {reads.value}; it has no forward-like and backward-like methods")
    if reads is not Kind.BN:
        return NearMiss(name, f"reads as {reads.value}; no other half of a pair is named like it")
    if stem(name).direction == "backward" or set(words(name)) & NO_TRAINING:
        return NearMiss(name, "reads as batch norm; no forward is named like it")
    calls = list(first_calls(plain(thing)))
    raised = [(plan, error) for plan, error in calls if error is not None]
    if not calls:
        return NearMiss(name, "reads as batch norm; bncheck knows nothing to give to one of its arguments", raised=True)
    if len(raised) < len(calls):
        return NearMiss(name, "reads as batch norm; what it returns is no backward, and no function is its backward")
    plan, error = raised[0]
    place = f" ({where})" if (where := guard.where(error)) else ""
    story = f"{type(error).__name__}: {guard.one_line(error)}{place}"
    return NearMiss(name, f"reads as batch norm; called as {plan.spelled(name)} it raised {story}", raised=True)
