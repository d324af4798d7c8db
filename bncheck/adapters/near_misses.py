"""What is said of things that read as Batch Normalization and are no candidates: why each of them is none."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from bncheck import guard
from bncheck.adapters.closures import first_calls
from bncheck.adapters.function_pair import is_function, plain
from bncheck.adapters.inference import INFERRING
from bncheck.adapters.protocol import Candidate, Namespace
from bncheck.adapters.standins import left_out
from bncheck.adapters.stems import NO_TRAINING
from bncheck.adapters.words import Kind, composite, kind, stem, words
from bncheck.errors import NOTHING, TargetError

# How many functions and classes a message lists.
_MAX_LISTED = 12


class NearMiss(NamedTuple):
    """A thing by name, why it is no candidate, whether it raised when it was called, and whether it reads as one."""

    name: str
    why: str
    raised: bool = False
    meant: bool = False

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.name}: {self.why}"


def near_misses(namespace: Namespace) -> list[NearMiss]:
    """Return why each thing is no candidate, for a namespace that has none; what does not read so is not called.

    First come those that read as batch norm, and are not there because something that they need is not.
    """
    held = vars(namespace.module) if namespace.module is not None else {}
    gone = {name: story for name, thing in held.items() if (story := left_out(thing)) and kind(name) is Kind.BN}
    absent = [
        NearMiss(name, f"reads as batch norm; it is not there: {story}", meant=True) for name, story in gone.items()
    ]
    return absent + [near_miss(name, thing) for name, thing in namespace.things.items()]


def near_miss(name: str, thing: Any) -> NearMiss:
    """Return why one thing is no candidate."""
    reads = kind(name, inspect.getdoc(thing) or "")
    if reads is Kind.BN and composite(name):
        return NearMiss(name, "its name joins batch norm with another layer: it is tried where it is named", meant=True)
    if not is_function(thing):
        why = f"reads as {reads.value}; it has no method that reads as a forward"
        return NearMiss(name, why, meant=reads is Kind.BN)
    if reads is not Kind.BN:
        return NearMiss(name, f"reads as {reads.value}; no other half of a pair is named like it")
    if set(words(name)) & INFERRING:
        why = "reads as the inference of a batch norm; no forward for training is named like it"
        return NearMiss(name, why, meant=True)
    if stem(name).direction == "backward" or set(words(name)) & NO_TRAINING:
        return NearMiss(name, "reads as batch norm; no forward is named like it", meant=True)
    calls = list(first_calls(plain(thing)))
    raised = [(plan, error) for plan, error in calls if error is not None]
    if not calls:
        return NearMiss(name, "reads as batch norm; bncheck knows nothing to give to one of its arguments", raised=True)
    if len(raised) < len(calls):
        why = "reads as batch norm; what it returns is no backward, and no function is its backward"
        return NearMiss(name, why, meant=True)
    plan, error = raised[0]
    place = f" ({where})" if (where := guard.where(error)) else ""
    story = f"{type(error).__name__}: {guard.one_line(error)}{place}"
    return NearMiss(name, f"reads as batch norm; called as {plan.spelled(name)} it raised {story}", raised=True)


def nothing_found(namespace: Namespace, found: list[Candidate]) -> TargetError:
    """Return what to say when nothing in a module reads as batch norm."""
    label = namespace.label.rstrip(":")
    things = list(namespace.things)
    missed = near_misses(namespace) if not found else []
    if not things and not missed:
        return TargetError(f"{label}: {NOTHING}: it defines no function and no class.")
    listed = ", ".join(things[:_MAX_LISTED]) + (", ..." if len(things) > _MAX_LISTED else "")
    if len(found) > 1:
        # A layer before a function that it is made of.
        parts = {part for candidate in found for part in getattr(candidate, "parts", ())}
        first = next((candidate for candidate in found if candidate.name not in parts), found[0])
        advice = f"Say which one to verify: bncheck verify {namespace.label}{first.name}."
    else:
        advice = (
            "Expected functions like batchnorm_forward and batchnorm_backward, or a class with such methods. "
            f"What is meant under another name can be named: bncheck verify {namespace.label}{things[0]}."
        )
    trace = (*(f"candidate {c.name}: {c.adapter}, reads as {c.kind.value}" for c in found), *map(str, missed))
    tried = next((miss for miss in missed if miss.raised), None)
    meant = next((miss for miss in missed if miss.meant), None)
    if tried:
        return TargetError(f"{label}: nothing in it could be called. {tried}.", trace)
    if meant:
        return TargetError(f"{label}: nothing in it can be verified as batch normalization. {meant}.", trace)
    return TargetError(f"{label}: {NOTHING}. Found: {listed}. {advice}", trace)


# What the reason of code ends with that runs, and does something else.
_OF_ANOTHER_KIND = ": is it batch norm?"


def something_else(namespace: Namespace, source: str, reasons: list[str], trace: tuple[str, ...]) -> TargetError | None:
    """Return what to say of a file whose candidates by their look alone all turned out to do something else."""
    label = namespace.label
    if not reasons or not all(reason.endswith(_OF_ANOTHER_KIND) for reason in reasons):
        return None
    things = list(namespace.things)
    listed = ", ".join(things[:_MAX_LISTED]) + (", ..." if len(things) > _MAX_LISTED else "")
    name, _, why = reasons[0].removeprefix(label).removesuffix(_OF_ANOTHER_KIND).rpartition(": ")
    text = f"{label.rstrip(':')}: {NOTHING}. Found: {listed}. The nearest was tried: {why}. "
    place = f"{source}{'::' if label.endswith('::') else ':'}{name}"
    return TargetError(f"{text}If it is meant all the same, name it: bncheck verify {place}.", trace)
