"""Call plans: how the values of a session go into a signature, worked out once so that calling is cheap.

A plan maps each argument of a callable to a key of a dict of values ("x", "gamma", "eps", "train" ...). Signatures are
looked at only here, when a plan is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, NamedTuple

from bncheck.adapters.containers import keyed_statistics, parts_of_key, statistics_key
from bncheck.adapters.hidden import revealed
from bncheck.adapters.mode_values import argument_key, is_mode_key
from bncheck.adapters.mode_values import mode_values as mode_values
from bncheck.adapters.protocol import ArityError
from bncheck.adapters.sources import keys_of, needed_keys, unpacked
from bncheck.adapters.unread import never_read
from bncheck.adapters.widths import in_width
from bncheck.adapters.words import Role, argument_role, aside, clarity, size_like, words

# What a trace calls the values of some keys.
_SAID = {
    "params": "options", "size": "C", "sizes": "(C,)", "none": "None", "dy": "dy", "shape": "x.shape",
    "inner": "x.shape[1:]", "row": "(1, C)", "batch": "N", "lr": "a power of two", "step": "1", "zero": "0",
    "optimizer": "one that records", "label": "a name", "axis0": "0", "axis1": "1", "axis-1": "-1",
}  # fmt: skip
# Keys of arguments that lead the parameters elsewhere if they keep their defaults.
ALWAYS = ("lr", "zero")
# What a required argument that nothing is known about may want in a constructor, likeliest first.
_SHAPES, _SIZES = ("inner", "sizes", "size", "shape", "row"), ("size", "sizes", "inner")
_AXES = ("axis0", "axis-1", "axis1")
STATISTICS = (Role.RUNNING_MEAN, Role.RUNNING_VAR)
_MOST_UNKNOWN = 2


class UnfilledError(Exception):
    """A call that asks for something that there is not: it is not the call that the code wants."""


class Argument(NamedTuple):
    """One parameter of a signature, and what it is for."""

    name: str
    role: Role | None
    required: bool
    keyword_only: bool
    positional_only: bool
    default: Any
    mode: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Which value goes into which argument: keys of positional arguments, and (name, key) of those given by name.

    `bound` has (name, key) of all of them.
    """

    positional: tuple[str, ...] = ()
    named: tuple[tuple[str, str], ...] = ()
    bound: tuple[tuple[str, str], ...] = ()

    def call(self, function: Callable[..., Any], values: dict[str, Any]) -> Any:
        """Call `function` with the values; raise UnfilledError if one that the plan asks for is not there."""
        try:
            given, named = [values[k] for k in self.positional], {name: values[k] for name, k in self.named}
        except KeyError as error:
            argument = next((name for name, key in self.bound if key == error.args[0]), error.args[0])
            raise UnfilledError(f"bncheck found nothing to give it as {argument}") from None
        with in_width(values.get("dtype")):
            return function(*given, **named)

    @property
    def keys(self) -> frozenset[str]:
        """Every key that the plan asks for, those in tuples too."""
        return _keys(self.positional, self.named)

    @property
    def packed(self) -> tuple[str, ...]:
        """The keys that stand for tuples of values: "(x,gamma,beta)"."""
        return tuple(key for key in (*self.positional, *(k for _, k in self.named)) if parts_of_key(key))

    def like(self, other: Plan) -> Plan:
        """Return the plan with what another one gives under the same name where it asks for that; see `same`."""
        given = {same(name): key for name, key in other.bound}
        positional = tuple(given.get(k, k) for k in self.positional)
        named, bound = (tuple((n, given.get(k, k)) for n, k in pairs) for pairs in (self.named, self.bound))
        return Plan(positional, named, bound)

    def without(self, keys: frozenset[str]) -> Plan:
        """Return the plan that leaves the arguments with these keys at their defaults."""
        kept = tuple(pair for pair in self.bound if pair[1] not in keys)
        return Plan((), kept, kept)

    def spelled(self, name: str) -> str:
        """Return the call in words: "bn(x, gamma, beta, bn_param=options)"."""
        found = self.bound or tuple((key, key) for key in self.positional)
        said = [_SAID.get(key, key.partition(":")[0]) for _, key in found]
        pairs = zip((argument for argument, _ in found), said, strict=True)
        return f"{name}({', '.join(a if a == key else f'{a}={key}' for a, key in pairs)})"

    @property
    def mode_argument(self) -> str:
        """The argument that says whether this is training, "" if there is none."""
        return next((name for name, key in self.bound if is_mode_key(key)), "")


@cache  # asked for several times in every call
def _keys(positional: tuple[str, ...], named: tuple[tuple[str, str], ...]) -> frozenset[str]:
    return frozenset(part for key in (*positional, *(k for _, k in named)) for part in (key, *parts_of_key(key)))


def same(name: str) -> str:
    """Return the key of an argument of a backward that gets what the forward got under that name."""
    return f"same:{name}"


def packed_key(function: Callable[..., Any], name: str) -> str | None:
    """Return the key of an argument that the code takes apart into x, gamma and beta, or gamma and beta."""
    names = unpacked(function, name)
    roles = [argument_role(inner) for inner in names]
    statistics = statistics_key(function, name, names)
    if statistics:
        return statistics
    if not {Role.GAMMA, Role.BETA} <= set(roles):
        return None
    keys = [str(role) if role is not None else "none" for role in roles]
    return f"({','.join(keys)})"


def arguments(function: Callable[..., Any], mode: str | None = None) -> list[Argument] | None:
    """Return the arguments of a callable; None if it does not tell, or takes anything (``*args``).

    What the code reads out of its ``**kwargs`` counts as an argument, one that may be left out where the code looks
    first. `mode` is the name of the argument that the user says is the mode.
    """
    function = revealed(function)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C: it does not tell
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) and not any(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters
    ):
        return None
    kinds = inspect.Parameter
    found = [(p.name, p.default, p.kind) for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for rest in (p.name for p in parameters if p.kind is p.VAR_KEYWORD):
        known = [key for key in keys_of(function, rest) if key not in [name for name, _, _ in found]]
        needed = needed_keys(function, rest)
        found += [(key, kinds.empty if key in needed else None, kinds.KEYWORD_ONLY) for key in known]
    return [_argument(*one, function, mode) for one in found]


def _argument(name: str, default: Any, how: Any, function: Callable[..., Any], mode: str | None) -> Argument:
    required = default is inspect.Parameter.empty
    role = Role.MODE if name == mode else _role(name, default)
    key = None
    if role is Role.MODE:
        key = argument_key(name, None if required else default, required, function)
    by_name = how is inspect.Parameter.KEYWORD_ONLY
    return Argument(name, role, required, by_name, how is inspect.Parameter.POSITIONAL_ONLY, default, key)


def spelled(function: Callable[..., Any]) -> str:
    """Return the arguments as the source has them: "(x, gamma, beta)"."""
    found = arguments(function)
    return "(...)" if found is None else f"({', '.join(a.name for a in found)})"


def _role(name: str, default: Any) -> Role | None:
    role = argument_role(name)
    if role in (Role.GAMMA, Role.BETA, Role.EPS, Role.MOMENTUM) and isinstance(default, bool | str):
        return None  # ``scale=True`` switches gamma on, it does not take it
    if role is None and "epsilon".startswith(name) and isinstance(default, float) and 0 < default < 0.1:
        return Role.EPS  # ``e=1e-5``
    # A shift starts at 0 and a scale at 1: a default between them is a fraction (``beta1=0.9``).
    fraction = isinstance(default, float) and 0 < default < 1 and role in (Role.GAMMA, Role.BETA)
    return Role.MOMENTUM if fraction or (name == "alpha" and isinstance(default, float)) else role


def key_of(argument: Argument) -> str | None:
    """Return the key of an argument whose role is known, None where its default should stay."""
    role = argument.role
    if role is Role.MODE:
        return argument.mode
    if role is None and (argument.required or aside(argument.name) in ALWAYS):
        return aside(argument.name) if aside(argument.name) not in ("axis",) else None
    if role is Role.CACHE and argument.default is False:
        return "yes"  # ``return_cache=False``
    if role in (*STATISTICS, Role.CACHE) and not argument.required:
        return None
    return None if role is None else role.value


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
        key = key_of(argument)
        if key is not None and (argument.role is None or key not in keys.values()):
            keys[argument.name] = key
    return keys


def forward_plans(
    function: Callable[..., Any], *, own: bool = False, mode: str | None = None, statistics: bool = False
) -> Iterator[Plan]:
    """Yield the ways of calling a forward, most likely first.

    Parameters
    ----------
    function : callable
        The user's forward (a bound method for a class).
    own : bool
        Whether gamma and beta live in an object, so that they need not be arguments.
    mode : str, optional
        Name of the argument that the user says is the mode.
    statistics : bool
        Whether running statistics that may be left out are given all the same.

    Raises
    ------
    ArityError
        If required arguments remain that nothing is known about, or gamma and beta have no place.

    """
    found = arguments(function, mode)
    if found is None:
        basic = ("x",) if own else ("x", "gamma", "beta")
        yield from (Plan((*basic, *more)) for more in (((),) if own else ((), ("eps",), ("params",))))
        return
    unread = never_read(function, (a.name for a in found if a.required and a.role is None)) if own else frozenset()
    found = [argument if argument.name in unread else as_statistic(argument) for argument in found]
    keys = _known([a._replace(required=True) if statistics and a.role in STATISTICS else a for a in found])
    packed = [(a.name, key) for a in found if (key := packed_key(function, a.name))]
    for name, key in packed:
        keys = {n: k for n, k in keys.items() if k not in parts_of_key(key)} | {name: key}
    if not any("x" in parts_of_key(key) for _, key in packed):
        _ensure_x(found, keys)
    keys |= {name: "none" for name in unread if name not in keys}
    held = {*keys.values(), *(part for key in keys.values() for part in parts_of_key(key))}
    wanted = [] if own else [k for k in ("gamma", "beta") if k not in held]
    unknown = [a for a in found if a.name not in keys and (a.required or (wanted and a.role is None))]
    tail: list[list[str]] = []
    for position, argument in enumerate(unknown):
        if position < len(wanted):
            tail.append([wanted[position]])
        elif argument.required:
            usual = ("eps", "params", "train", "momentum", "none")
            tail.append([k for k in (_AXES if _is_axis(argument) else usual) if k not in keys.values()])
    if (not own and len(tail) < len(wanted)) or len(tail) > len(wanted) + 2 or "x" not in held:
        raise ArityError
    for choice in product(*tail):
        yield build(found, keys | {a.name: key for a, key in zip(unknown, choice, strict=False)})
    keyed = {a.name: key for a in found if a.required and (key := keyed_statistics(function, a.name))}
    if len(keyed) == 1 and not wanted and all(a.name in keys | keyed for a in found if a.required):
        yield build(found, keys | keyed)


def _ensure_x(found: list[Argument], keys: dict[str, str]) -> None:
    """Give x its place: the argument that reads as x, else the first required one that reads as nothing."""
    if "x" in keys.values():
        return
    rest = [a for a in found if a.name not in keys and a.required]
    if rest:
        keys[min(rest, key=lambda a: a.keyword_only).name] = "x"


def _is_axis(argument: Argument) -> bool:
    return aside(argument.name) == "axis"


def constructor_plans(cls: Callable[..., Any], *, optimizer: bool = False, data: bool = False) -> Iterator[Plan]:
    """Yield the ways of constructing a layer, most likely first; raise ArityError if required arguments remain.

    With `optimizer` an optimizer that may be left out is given all the same; with `data` the constructor is to take x.
    """
    found = arguments(cls)
    if found is None:
        yield from (Plan(), Plan(("size",)), Plan(("gamma", "beta")))
        return
    found = [a if data and a.role is Role.X and a.required else _as_constructor(a) for a in found]
    keys = _known(found)
    if optimizer:
        keys |= {a.name: "optimizer" for a in found if _is_optimizer(a)}
    unknown = [a for a in found if a.name not in keys and a.required]
    unknown += [a for a in found if not a.required and a.name not in keys and a.default is None and size_like(a.name)]
    if sum(a.required for a in unknown) > _MOST_UNKNOWN:
        raise ArityError
    tail = [_choices(a, i) for i, a in enumerate(unknown) if a.required or i == 0]
    # A name that may be left out is given where all else has failed: without one code may ask a library for one.
    labels = {a.name: "label" for a in found if a.name not in keys and a.default in ("", None) and _is_label(a)}
    for more, choice in product([{}, labels] if labels else [{}], product(*tail)):
        chosen = {a.name: k for a, k in zip(unknown, choice, strict=False) if k != "default"}
        yield build(found, keys | chosen | more)


def _is_label(argument: Argument) -> bool:
    return argument.role is None and not argument.required and aside(argument.name) == "label"


def _as_constructor(argument: Argument) -> Argument:
    """Read an argument as a constructor's: there is no batch yet, so that a mean and a variance are running ones."""
    argument = as_statistic(argument)
    return argument._replace(role=None) if argument.role in (Role.X, Role.CACHE, Role.DY) else argument


def as_statistic(argument: Argument) -> Argument:
    """Read a mean or a variance that is asked for as a running one."""
    read = argument_role(f"running_{argument.name}") if argument.required and argument.role is None else None
    return argument._replace(role=read) if read in STATISTICS else argument


def _is_optimizer(argument: Argument) -> bool:
    return argument.name == "opt" or (argument.role is None and aside(argument.name) == "optimizer")


def _choices(argument: Argument, place: int) -> tuple[str, ...]:
    """Return what an argument of a constructor that has no role may want; `place` counts such arguments."""
    if _is_axis(argument):
        return _AXES
    if place:
        return ("size", "none") if argument.required else ("none",)
    found = _SHAPES if "shape" in words(argument.name) else _SIZES
    return found if argument.required else (*found[:3], "default")
