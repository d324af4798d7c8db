"""Which candidates a reference means: those of live objects, the one named, or all that read as batch norm."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any

from bncheck.adapters.by_signature import unnamed_layers, unnamed_pairs
from bncheck.adapters.forward_only import standing_alone
from bncheck.adapters.layer_class import method_pairs
from bncheck.adapters.loading import Source
from bncheck.adapters.near_misses import near_miss, nothing_found
from bncheck.adapters.protocol import ADAPTERS, Adapter, Candidate, Namespace
from bncheck.adapters.standins import left_out
from bncheck.adapters.words import Kind, stem
from bncheck.errors import TargetError
from bncheck.model import Declared, TargetSpec
from bncheck.registry import did_you_mean


def live(spec: TargetSpec) -> Candidate:
    """Return the candidate that live objects are."""
    for _, adapter in adapters(spec.declared):
        name = spec.source or str(getattr(spec.live[0], "__name__", "target"))
        candidate = adapter.live(name, spec.live, spec.declared)
        if candidate is not None:
            return candidate
    shown = ", ".join(_shown(thing) for thing in spec.live)
    if len(spec.live) == 1 and inspect.isroutine(spec.live[0]):
        raise TargetError(
            f"{shown} alone is no pair: verify({shown}, backward) needs the backward function too. A forward that has "
            f"none is verified by its place: verify('my_bn.py::{shown}')."
        )
    if len(spec.live) == 1 and not inspect.isclass(spec.live[0]) and method_pairs(cls := type(spec.live[0])):
        named = cls.__name__
        raise TargetError(
            f"{shown} is a layer of one size, and bncheck makes its own, of many sizes: give the class, "
            f"verify({named}), or what makes a layer of n channels, verify(lambda n: {named}(n, eps=...))."
        )
    raise TargetError(
        f"nothing to verify in ({shown}): give two callables, forward and backward; or one class with methods forward "
        "and backward; or one function or layer that PyTorch, JAX or Keras differentiates."
    )


def adapters(declared: Declared) -> list[tuple[str, Adapter]]:
    """Return the adapters to ask: all, or the one that the user named."""
    return [*ADAPTERS.items()] if declared.kind is None else [(declared.kind, ADAPTERS.get(declared.kind))]


def _shown(thing: Any) -> str:
    return thing.__name__ if hasattr(thing, "__name__") else f"an object of class {type(thing).__name__}"


def chosen(namespace: Namespace, source: Source) -> list[Candidate]:
    """Return the candidates that a reference means: the one named, or all that read as batch norm, or the only one."""
    asked = adapters(namespace.declared)
    found = [candidate for _, adapter in asked for candidate in adapter.candidates(namespace)]
    order = list(namespace.things)
    found.sort(key=lambda c: _place(c, order))
    if source.name:
        return _named(found, namespace, source.name)
    certain = _without_parts([c for c in found if c.kind is Kind.BN])
    if certain:
        return certain
    others = [c for c in found if c.kind is Kind.UNKNOWN]
    primary = [c for c in others if "." not in c.name]
    if len(primary) == 1 or len({c.forward_name for c in others}) == 1:
        return others
    if alone := standing_alone(namespace):
        return alone
    raise nothing_found(namespace, found)


def _without_parts(certain: list[Candidate]) -> list[Candidate]:
    """Return candidates without those that are given their statistics by another one, of which they are a part."""
    parts = {part for candidate in certain for part in getattr(candidate, "parts", ())}
    return [c for c in certain if c.name not in parts or not getattr(c, "is_given_statistics", False)]


def _place(candidate: Candidate, order: list[str]) -> int:
    head = candidate.name.split(".")[0]
    return order.index(head) if head in order else len(order)


def _named(found: list[Candidate], namespace: Namespace, name: str) -> list[Candidate]:
    chosen = [c for c in found if c.name == name] or [c for c in found if name in c.aliases]
    chosen = chosen or [*unnamed_pairs(name, namespace), *standing_alone(namespace, name)]
    chosen = chosen or _by_itself(namespace, name)
    if chosen:
        return chosen
    label = namespace.label.rstrip(":")
    if name in namespace.things:
        needed = (
            "methods forward and backward"
            if inspect.isclass(namespace.things[name])
            else ("a function beside it that is its other half, named alike (batchnorm_forward, batchnorm_backward)")
        )
        missed = near_miss(name, namespace.things[name])
        why = f"{missed}." if missed.raised or missed.meant else f"it needs {needed}."
        text = f"{label}: {name} is there, and cannot be verified: {why}"
        raise TargetError(text, (str(missed),))
    if story := left_out(getattr(namespace.module, name.split(".")[0], None)):
        raise TargetError(f"{label}: {name} is not there: {story}.")
    known = sorted({c.name for c in found}) or list(namespace.things)
    if not get_close_matches(name, known, cutoff=0.5):  # a slip in the name of something that reads as nothing
        known += get_close_matches(name, namespace.things, cutoff=0.5)
    if not known:
        raise TargetError(f"{label} is empty.")
    alike = [c.name for c in found if stem(c.name).words == stem(name).words]  # "bn" beside "batchnorm_forward"
    hint = f"Did you mean {' or '.join(alike)}?" if alike else did_you_mean(name, known)
    raise TargetError(f"{label} has no {name!r}. {hint}")


def _by_itself(namespace: Namespace, name: str) -> list[Candidate]:
    """Return the candidate that a class is which no adapter counts among those of its file, beside other code."""
    thing = namespace.things.get(name)
    if not inspect.isclass(thing):
        return []
    declared = namespace.declared
    found = [c for _, adapter in adapters(declared) if (c := adapter.live(name, (thing,), declared)) is not None]
    return found or list[Candidate](unnamed_layers(name, thing, declared))
