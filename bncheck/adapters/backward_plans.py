"""Call plans for backwards: where the upstream gradient goes, the cache, and what else a backward wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from bncheck.adapters.named_caches import entries, entries_for
from bncheck.adapters.plans import ALWAYS, Argument, Plan, arguments, build, key_of, packed_key, same
from bncheck.adapters.protocol import ArityError
from bncheck.adapters.results import cache_names
from bncheck.adapters.sources import indexed, takes_first
from bncheck.adapters.unread import never_read
from bncheck.adapters.words import STATISTICS, Role, aside, says_gradient, upstream_like, words

_INPUTS = frozenset("inputs input args ins".split())
_OUTPUTS = frozenset("outputs output outs results".split())


def backward_plans(
    function: Callable[..., Any], forward: Callable[..., Any], returned: tuple[str | None, ...] | None
) -> Iterator[Plan]:
    """Yield the ways of calling a backward, most likely first.

    Parameters
    ----------
    function : callable
        The user's backward.
    forward : callable
        Its forward: an argument of one letter means the same as there, or nothing.
    returned : tuple of str or None, or None
        The names in the forward's return statement, where they can be read.

    Raises
    ------
    ArityError
        If it takes no argument, or requires more than can be given.

    """
    found = arguments(function)
    if found is None:
        yield from (Plan(("dy", "cache")), Plan(("dy",)))
        return
    given = {a.name for a in arguments(forward) or ()}
    found = [_as_backward(a, given) for a in found]
    beside = _beside_gradients(found)
    keys = {a.name: k for a in found if (k := beside.get(a.name) or key_of(a)) and a.role is not Role.X}
    own = (None, Role.X, Role.GAMMA, Role.BETA)
    places = sorted((a for a in found if a.role in own and a.name not in beside), key=lambda a: a.keyword_only)
    first = next((a for a in places if upstream_like(a.name)), None) or next(
        (a for a in places if a.role in (None, Role.X)), places[0] if places else None
    )
    if first is None:
        raise ArityError
    keys[first.name] = "dy"
    asked = [a for a in found if a.name != first.name and a.name not in beside]
    rest = [a for a in asked if a.required or a.role in (Role.CACHE, Role.GAMMA, Role.BETA)]
    open_ = [a for a in rest if a.required and a.role in (None, Role.X)]
    repeated = _repeated(function, forward, [a.name for a in open_ if a.role is None], returned)
    if repeated:
        keys |= repeated
        rest, open_ = ([a for a in some if a.name not in repeated] for some in (rest, open_))
    for more in _optimizers(found, keys):
        held = cache_names(forward)
        named = {a.name: f"item{held.index(a.name)}" for a in found if a.required and a.name in held}
        if named and all(a.name in named or (keys | more).get(a.name) for a in found if a.required):
            yield build(found, keys | more | named)
        several = len(open_) > 1 or any(a.keyword_only for a in open_)
        entry = entries_for((a.name for a in open_), entries(forward)) if several else {}
        if entry and all(a.name in entry or a.role is Role.X for a in open_):
            yield build(found, keys | more | {a.name: entry.get(a.name, "x") for a in open_})
        yield from _with_cache(found, keys | more, rest, open_, returned)
    if len(open_) == 1 and not upstream_like(first.name):
        yield build(found, {**keys, first.name: "cache", open_[0].name: "dy"})
    yield from _with_tuples(function, forward, found, keys)
    yield from _with_everything(function, forward, found)


def _repeated(
    function: Callable[..., Any], forward: Callable[..., Any], names: list[str], returned: tuple[str | None, ...] | None
) -> dict[str, str]:
    """Return the keys of arguments that a backward has in common with its forward, and of those that it never reads.

    What the forward hands back under that name is a result of it, and no longer what it was given.
    """
    results = {*(returned or ()), *cache_names(forward), *entries(forward)}
    given = {a.name for a in arguments(forward) or () if a.required and a.role is None} - results
    return {name: same(name) for name in names if name in given} | dict.fromkeys(never_read(function, names), "none")


def _with_everything(
    function: Callable[..., Any], forward: Callable[..., Any], found: list[Argument]
) -> Iterator[Plan]:
    """Yield a plan for a backward of lists: the gradients, all that the forward was given, all that it returned."""
    given = [a.role.value if a.role is not None else "none" for a in arguments(forward) or () if a.required]
    keys = {}
    for argument in (a for a in found if a.required):
        said, taken = set(words(argument.name)), indexed(function, argument.name)
        if upstream_like(argument.name) and taken == {0}:
            keys[argument.name] = "(dy)"
        elif taken and said & _INPUTS:
            keys[argument.name] = f"({','.join(given)})"
        elif taken and said & _OUTPUTS:
            keys[argument.name] = "outputs"
    if "(dy)" in keys.values() and all(a.name in keys for a in found if a.required):
        yield build(found, keys)


def _with_tuples(
    function: Callable[..., Any], forward: Callable[..., Any], found: list[Argument], keys: dict[str, str]
) -> Iterator[Plan]:
    """Yield a plan for a backward of tuples: ``backward(inputs, grad_outputs)``, as old function objects have it."""
    given = {a.name: key for a in arguments(forward) or () if (key := packed_key(forward, a.name))}
    names = [argument.name for argument in found if argument.required]
    upstream = [name for name in names if name not in given and takes_first(function, name)]
    if names and len(upstream) == 1:
        filled = {name: given[name] for name in names if name in given} | {upstream[0]: "(dy)"}
        yield build(found, {name: key for name, key in keys.items() if name not in filled and key != "dy"} | filled)


def _beside_gradients(found: list[Argument]) -> dict[str, str]:
    """Return the keys of the arguments of a backward that are about something else: learning rates, counters."""
    beside = {}
    for argument in found:
        key = "lr" if argument.name in ("alpha", "rate") else aside(argument.name)
        if key == "none" and says_gradient(argument.name):
            continue  # the gradient of what came before, or of the next layer
        if argument.name == "opt" or key == "optimizer":
            beside[argument.name] = "optimizer"
        elif key in ALWAYS or (key and key != "axis" and argument.required and argument.role is None):
            beside[argument.name] = key
    # A lone argument is the gradient, whatever it is called.
    return {} if len(beside) == len(found) else beside


def _optimizers(found: list[Argument], keys: dict[str, str]) -> list[dict[str, str]]:
    """Return what to add to the keys of a backward: an optimizer that it can do without is left out at first."""
    optional = [a.name for a in found if keys.get(a.name) == "optimizer" and not a.required]
    for name in optional:
        del keys[name]
    return [{}, dict.fromkeys(optional, "optimizer")] if optional else [{}]


def _as_backward(argument: Argument, given: set[str]) -> Argument:
    """Read an argument as a backward's: statistics there come from the forward, one letter is no clear name."""
    letter = len(argument.name) == 1 and argument.name not in given | {"x", "X"}
    if argument.role in STATISTICS or letter or (argument.role is Role.MODE and argument.required):
        return argument._replace(role=None)
    return argument._replace(required=True) if argument.role is Role.CACHE else argument


def _with_cache(
    found: list[Argument],
    keys: dict[str, str],
    rest: list[Argument],
    unknown: list[Argument],
    returned: tuple[str | None, ...] | None,
) -> Iterator[Plan]:
    """Yield plans that fill `unknown` from what the forward returned beside y."""
    if len(unknown) <= 1:
        own_x = [{unknown[0].name: "x"}] if unknown and unknown[0].role is Role.X else []
        for filled in (*own_x, {a.name: "cache" for a in unknown}):
            yield build(found, keys | filled)
    names = list(returned or ())
    named = {a.name: f"out{names.index(a.name)}" for a in rest if a.name in names}
    filled = {a.name: key for a in unknown if (key := named.get(a.name) or ("x" if a.role is Role.X else ""))}
    if unknown and len(filled) == len(unknown):
        yield build(found, keys | named | filled)
    if len(unknown) > 1:
        known_x = {a.name: "x" for a in unknown if a.role is Role.X}
        others = [a for a in unknown if a.name not in known_x]
        yield build(found, keys | known_x | {a.name: f"item{i}" for i, a in enumerate(others)})
        yield build(found, keys | {a.name: f"item{i}" for i, a in enumerate(unknown)})
        yield build(found, keys | {a.name: f"item{i}" for i, a in enumerate(rest)})
