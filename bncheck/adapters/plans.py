"""Call plans: how the values of a session go into a signature, worked out once so that calling is cheap.

A plan maps each argument of a callable to a key of a dict of values ("x", "gamma", "eps", "train" ...). Signatures are
looked at only here, when a plan is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

from bncheck.adapters.protocol import ArityError
from bncheck.adapters.words import (
    Role,
    argument_role,
    clarity,
    says_train_or_test,
    size_like,
    train_is_true,
    upstream_like,
)

# What a trace calls the values of some keys.
_SAID = {"params": "options", "size": "C", "sizes": "(C,)", "none": "None", "dy": "dy"}
_MODES = ("train", "test", "mode")
# Values that a mode given as text is switched between, by the first letters of a text default; CS231n's come first.
_MODE_TEXTS = {"training": ("training", "testing"), "TRAIN": ("TRAIN", "TEST"), "Train": ("Train", "Test")}


class Argument(NamedTuple):
    """One parameter of a signature, and what it is for."""

    name: str
    role: Role | None
    required: bool
    keyword_only: bool
    positional_only: bool
    default: Any


@dataclass(frozen=True, slots=True)
class Plan:
    """Which value goes into which argument: keys of positional arguments, and (name, key) of those given by name.

    `bound` has (name, key) of all of them.
    """

    positional: tuple[str, ...] = ()
    named: tuple[tuple[str, str], ...] = ()
    bound: tuple[tuple[str, str], ...] = ()

    def call(self, function: Callable[..., Any], values: dict[str, Any]) -> Any:
        """Call `function` with the values."""
        if self.named:
            return function(*[values[k] for k in self.positional], **{name: values[k] for name, k in self.named})
        return function(*[values[k] for k in self.positional])

    @property
    def keys(self) -> frozenset[str]:
        """Every key that the plan asks for."""
        return frozenset(self.positional) | {key for _, key in self.named}

    def spelled(self, name: str) -> str:
        """Return the call in words: "bn(x, gamma, beta, bn_param=options)"."""
        found = self.bound or tuple((key, key) for key in self.positional)
        said = [_SAID.get(key, key.partition(":")[0]) for _, key in found]
        pairs = zip((argument for argument, _ in found), said, strict=True)
        return f"{name}({', '.join(a if a == key else f'{a}={key}' for a, key in pairs)})"

    @property
    def mode_argument(self) -> str:
        """The argument that says whether this is training, "" if there is none."""
        return next((name for name, key in self.bound if key.partition(":")[0] in _MODES), "")


def arguments(function: Callable[..., Any]) -> list[Argument] | None:
    """Return the arguments of a callable; None if it does not tell, or takes anything (``*args``)."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) and not any(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters
    ):
        return None
    return [
        Argument(
            p.name,
            _role(p.name, p.default),
            p.default is p.empty,
            p.kind is p.KEYWORD_ONLY,
            p.kind is p.POSITIONAL_ONLY,
            p.default,
        )
        for p in parameters
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def spelled(function: Callable[..., Any]) -> str:
    """Return the arguments as the source has them: "(x, gamma, beta)"."""
    found = arguments(function)
    return "(...)" if found is None else f"({', '.join(a.name for a in found)})"


def _role(name: str, default: Any) -> Role | None:
    role = argument_role(name)
    if role in (Role.GAMMA, Role.BETA, Role.EPS, Role.MOMENTUM) and isinstance(default, bool | str):
        return None  # ``scale=True`` switches gamma on, it does not take it
    if name == "alpha" and isinstance(default, float):
        return Role.MOMENTUM
    return role


def _key(argument: Argument) -> str | None:
    """Return the key of an argument whose role is known, None where its default should stay."""
    role = argument.role
    if role is Role.MODE:
        if isinstance(argument.default, str) or not (says_train_or_test(argument.name) or not argument.required):
            return next((f"mode:{text}" for text in _MODE_TEXTS if text in str(argument.default)), "mode:train")
        if not isinstance(argument.default, bool) and not argument.required and argument.default is not None:
            return None
        return "train" if train_is_true(argument.name) else "test"
    if role in (Role.RUNNING_MEAN, Role.RUNNING_VAR, Role.CACHE) and not argument.required:
        return None
    return None if role is None else role.value


def mode_values(train: bool) -> dict[str, Any]:
    """Return the values of every key that says whether this is training."""
    texts = {f"mode:{text}": pair[not train] for text, pair in _MODE_TEXTS.items()}
    return {"train": train, "test": not train, "mode:train": "train" if train else "test", **texts}


def build(found: list[Argument], keys: dict[str, str]) -> Plan:
    """Return the plan that gives each argument named in `keys` its value, and leaves the others alone."""
    positional: list[str] = []
    named: list[tuple[str, str]] = []
    skipped = False
    for argument in found:
        if argument.name not in keys:
            skipped = True
        elif argument.keyword_only or (skipped and not argument.positional_only):
            named.append((argument.name, keys[argument.name]))
        elif not skipped:
            positional.append(keys[argument.name])
    bound = tuple((argument.name, keys[argument.name]) for argument in found if argument.name in keys)
    return Plan(tuple(positional), tuple(named), bound)


def _known(found: list[Argument]) -> dict[str, str]:
    """Return the keys of the arguments whose roles are known; a role is given to one argument only."""
    keys: dict[str, str] = {}
    for argument in sorted(found, key=lambda a: -clarity(a.name)):
        key = _key(argument)
        if key is not None and key not in keys.values():
            keys[argument.name] = key
    return keys


def forward_plans(function: Callable[..., Any], *, own: bool = False) -> Iterator[Plan]:
    """Yield the ways of calling a forward, most likely first.

    Parameters
    ----------
    function : callable
        The user's forward (a bound method for a class).
    own : bool
        Whether gamma and beta live in an object, so that they need not be arguments.

    Raises
    ------
    ArityError
        If required arguments remain that nothing is known about, or gamma and beta have no place.

    """
    found = arguments(function)
    if found is None:
        basic = ("x",) if own else ("x", "gamma", "beta")
        yield from (Plan((*basic, *more)) for more in (((),) if own else ((), ("eps",), ("params",))))
        return
    keys = _known(found)
    _ensure_x(found, keys)
    wanted = [] if own else [k for k in ("gamma", "beta") if k not in keys.values()]
    unknown = [a for a in found if a.name not in keys and (a.required or (wanted and a.role is None))]
    tail: list[list[str]] = []
    for position, argument in enumerate(unknown):
        if position < len(wanted):
            tail.append([wanted[position]])
        elif argument.required:
            tail.append([k for k in ("eps", "params", "train", "momentum", "none") if k not in keys.values()])
    if (not own and len(tail) < len(wanted)) or len(tail) > len(wanted) + 2 or "x" not in keys.values():
        raise ArityError
    for choice in product(*tail):
        yield build(found, keys | {a.name: key for a, key in zip(unknown, choice, strict=False)})


def _ensure_x(found: list[Argument], keys: dict[str, str]) -> None:
    """Give x its place: the argument that reads as x, else the first required one that reads as nothing."""
    if "x" in keys.values():
        return
    rest = [a for a in found if a.name not in keys and a.required and not a.keyword_only]
    if rest:
        keys[rest[0].name] = "x"


def constructor_plans(cls: Callable[..., Any]) -> Iterator[Plan]:
    """Yield the ways of constructing a layer, most likely first; raise ArityError if required arguments remain."""
    found = arguments(cls)
    if found is None:
        yield from (Plan(), Plan(("size",)), Plan(("gamma", "beta")))
        return
    found = [a._replace(role=None) if a.role in (Role.X, Role.CACHE, Role.DY) else a for a in found]
    keys = _known(found)
    unknown = [a for a in found if a.name not in keys and a.required]
    unknown += [a for a in found if not a.required and a.name not in keys and a.default is None and size_like(a.name)]
    if sum(a.required for a in unknown) > 2:
        raise ArityError
    tail = [["size", "sizes"] if i == 0 else ["size", "none"] for i, a in enumerate(unknown) if a.required or i == 0]
    for choice in product(*tail):
        yield build(found, keys | {a.name: key for a, key in zip(unknown, choice, strict=False)})


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
    keys = {a.name: k for a in found if (k := _key(a)) and a.role is not Role.X}
    places = [a for a in found if a.role in (None, Role.X, Role.GAMMA, Role.BETA) and not a.keyword_only]
    first = next((a for a in places if upstream_like(a.name)), None) or next(
        (a for a in places if a.role in (None, Role.X)), places[0] if places else None
    )
    if first is None:
        raise ArityError
    keys[first.name] = "dy"
    rest = [a for a in found if a.name != first.name and (a.required or a.role in (Role.CACHE, Role.GAMMA, Role.BETA))]
    open_ = [a for a in rest if a.required and a.role in (None, Role.X)]
    yield from _with_cache(found, keys, rest, open_, returned)
    if len(open_) == 1 and not upstream_like(first.name):
        yield build(found, {**keys, first.name: "cache", open_[0].name: "dy"})


def _as_backward(argument: Argument, given: set[str]) -> Argument:
    """Read an argument as a backward's: statistics there come from the forward, one letter is no clear name."""
    letter = len(argument.name) == 1 and argument.name not in given | {"x", "X"}
    if (
        argument.role in (Role.RUNNING_MEAN, Role.RUNNING_VAR)
        or letter
        or (argument.role is Role.MODE and argument.required)
    ):
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
