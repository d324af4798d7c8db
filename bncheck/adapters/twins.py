"""Dicts and lists of a layer that are named after others: ``dv`` holds the gradients of ``v``."""

from __future__ import annotations

from collections.abc import Collection

from bncheck.adapters.words import Role, argument_role

BEFORE = ("d", "g", "d_", "g_", "grad_", "grads_", "delta_")
AFTER = ("_grad", "_grads", "_d")
_LETTERS = ("g", "G", "_g")


def twins_in(trails: Collection[tuple[str | int, ...]], kept: Collection[tuple[str | int, ...]]) -> dict[str, str]:
    """Return which dict or list holds gradients, and those of which other one.

    A ``g`` may be a gamma. One that holds a gamma and a beta, under names that are there outside of it too, holds their
    gradients.

    Parameters
    ----------
    trails : collection of tuple
        The names that lead to what a layer holds: ("params", "gamma").
    kept : collection of tuple
        Those of them that do not lead through velocities and the like.

    """
    names = {str(trail[0]) for trail in trails if len(trail) > 1}
    before = {mark + name: name for name in names for mark in BEFORE if mark + name in names}
    after = {name + mark: name for name in names for mark in AFTER if name + mark in names}
    within = {trail for trail in trails if trail[0] in _LETTERS and len(trail) > 1}
    outside = {trail[at:]: str(trail[0]) for trail in kept if trail not in within for at in (0, 1)}
    both = {(str(t[0]), argument_role(str(t[-1]))): outside[t[1:]] for t in within if t[1:] in outside}
    letters = {name: of for (name, role), of in both.items() if role is Role.GAMMA and (name, Role.BETA) in both}
    return letters | before | after
