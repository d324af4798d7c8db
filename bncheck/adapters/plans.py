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

from bncheck.adapters.carried import is_settings, statistics_fields
from bncheck.adapters.containers import indexed_statistics, keyed_statistics, parts_of_key, statistics_key
from bncheck.adapters.hidden import revealed
from bncheck.adapters.mode_values import argument_key, is_mode_key
from bncheck.adapters.mode_values import mode_values as mode_values
from bncheck.adapters.protocol import ArityError
from bncheck.adapters.sources import keys_of, needed_keys, unpacked
from bncheck.adapters.unread import never_read
from bncheck.adapters.widths import in_width
from bncheck.adapters.words import STATISTICS, Role, argument_role, aside, clarity

# What a trace calls the values of some keys.
_SAID = {
    "params": "options", "size": "C", "sizes": "(C,)", "none": "None", "dy": "dy", "shape": "x.shape",
    "inner": "x.shape[1:]", "row": "(1, C)", "batch": "N", "lr": "a power of two", "step": "1", "zero": "0",
    "optimizer": "one that records", "label": "a name", "axis0": "0", "axis1": "1", "axis-1": "-1",
}  # fmt: skip
# Keys of arguments that lead the parameters elsewhere if they keep their defaults.
ALWAYS = ("lr", "zero")
AXES = ("axis0", "axis-1", "axis1")
_AFFINE = (Role.GAMMA, Role.BETA)


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
    names = unpacked(function, name) or statistics_fields(function, name)
    roles = [argument_role(inner) for inner in names]
    statistics = statistics_key(function, name, names) or indexed_statistics(function, name)
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
    if role is Role.PARAMS and not argument.required and is_settings(argument.default):
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


def known_keys(found: list[Argument]) -> dict[str, str]:
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
    found = with_given_statistics([a if a.name in unread else as_statistic(a) for a in found])
    keys = known_keys([a._replace(required=True) if statistics and a.role in STATISTICS else a for a in found])
    packed = [(a.name, key) for a in found if (key := packed_key(function, a.name))]
    for name, key in packed:
        keys = {n: k for n, k in keys.items() if k not in parts_of_key(key)} | {name: key}
    if not any("x" in parts_of_key(key) for _, key in packed):
        _ensure_x(found, keys)
    keys |= {name: "none" for name in unread if name not in keys}
    held = {*keys.values(), *(part for key in keys.values() for part in parts_of_key(key))}
    wanted = [k for k in ("gamma", "beta") if k not in held]
    if own and (len(wanted) > 1 or not any(a.required and a.role in _AFFINE for a in found)):
        wanted = []  # they are the object's, unless one of them has to be given
    unknown = [a for a in found if a.name not in keys and (a.required or (wanted and not own and a.role is None))]
    tail: list[list[str]] = []
    for position, argument in enumerate(unknown):
        usual = AXES if is_axis(argument) else ("eps", "params", "train", "momentum", "none")
        free = [k for k in usual if k not in keys.values()] if argument.required else []
        if position < len(wanted):
            tail.append([wanted[position], *(free if own else ())])
        elif argument.required:
            tail.append(free)
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
    rest = rest or [a for a in found if a.required and keys.get(a.name) == "step"]  # a ``t`` alone counts none
    if rest:
        keys[min(rest, key=lambda a: a.keyword_only).name] = "x"


def is_axis(argument: Argument) -> bool:
    """Tell whether an argument asks for axes."""
    return aside(argument.name) == "axis"


def as_statistic(argument: Argument) -> Argument:
    """Read a mean or a variance that is asked for as a running one."""
    read = argument_role(f"running_{argument.name}") if argument.required and argument.role is None else None
    return argument._replace(role=read) if read in STATISTICS else argument


def with_given_statistics(found: list[Argument]) -> list[Argument]:
    """Read a mean and a variance that are None unless given as the statistics of inference: ``mu=None, var=None``."""

    def read(argument: Argument) -> Role | None:
        untold = argument.role in (None, Role.X) and not argument.required and argument.default is None
        return argument_role(f"running_{argument.name}") if untold else None

    if not {read(argument) for argument in found} >= {*STATISTICS}:
        return found
    return [a._replace(role=role) if (role := read(a)) in STATISTICS else a for a in found]
