"""Matching forwards with backwards by the stems of their names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bncheck.adapters.words import Stem, stem, variant, words

NO_TRAINING = frozenset("test testing inference infer eval evaluate predict check gradcheck numerical numeric".split())


class Match(NamedTuple):
    """Two names that belong together; `primary` says that the forward's name stands for both."""

    forward: str
    backward: str
    primary: bool


def match(names: Iterable[str]) -> list[Match]:
    """Return the pairs of a forward and a backward among names, in the order of the names.

    A backward belongs to the forward of the same stem; else to the one whose stem it extends ("batchnorm_backward_alt",
    "_v2"), or that extends it. A function that says neither can stand for the forward ("batch_norm").
    """
    stems = {name: stem(name) for name in names}
    stems = {name: s for name, s in stems.items() if not set(s.words) & NO_TRAINING}
    backwards = [name for name, s in stems.items() if s.direction == "backward"]
    forwards = [name for name, s in stems.items() if s.direction == "forward"]
    neutral = [name for name, s in stems.items() if not s.direction and s.words]
    found: list[tuple[str, str]] = []
    for backward in backwards:
        # The same stem counts before any likeness: "batch_norm_backward" has "batch_norm" before a network's "forward".
        same = _equal(backward, stems, forwards) or _equal(backward, stems, neutral)
        if not same and len(backwards) == 1 and len(forwards) == 1:
            return [Match(forwards[0], backwards[0], primary=True)]
        forward = same or _nearest(backward, stems, forwards) or _nearest(backward, stems, neutral)
        if forward:
            found.append((forward, backward))
    for forward in forwards:
        if forward not in [f for f, _ in found]:
            taken = _nearest(forward, stems, backwards)
            if taken:
                found.append((forward, taken))
    return _with_primaries(found, stems)


def _nearest(wanted: str, stems: dict[str, Stem], others: list[str]) -> str | None:
    """Return which of `others` has the stem of `wanted`, or is nearest to it among its variants."""
    equal = _equal(wanted, stems, others)
    if equal:
        return equal
    own = stems[wanted].words
    near = [name for name in others if _related(own, stems[name].words)]
    return max(near, key=lambda name: len(set(stems[name].words) & set(own)), default=None)


def _equal(wanted: str, stems: dict[str, Stem], others: list[str]) -> str | None:
    """Return which of `others` has the very stem of `wanted`, if that says anything."""
    own = "".join(stems[wanted].words)
    equal = [name for name in others if "".join(stems[name].words) == own]
    # Of several spellings "bn_backward" goes with "bn_forward" before "batchnorm_forward", and it goes
    # before its helper "_bn_backward".
    private = wanted.startswith("_")
    shared = set(words(wanted))
    return max(equal, key=lambda n: (len(set(words(n)) & shared), n.startswith("_") is private), default=None)


def _related(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if not other:
        return variant(one, ())
    return bool(one) and (variant(one, other) or variant(other, one))


def _with_primaries(found: list[tuple[str, str]], stems: dict[str, Stem]) -> list[Match]:
    """Say of each pair whether it is the one that its forward's name stands for."""
    matches = []
    for forward, backward in found:
        shared = [b for f, b in found if f == forward]
        same = [b for b in shared if stems[b].words == stems[forward].words]
        matches.append(Match(forward, backward, primary=backward == (same or shared)[0]))
    return matches
