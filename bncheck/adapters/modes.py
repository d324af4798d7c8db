"""How code is told whether this is training: by an argument, a key of its options, methods, an attribute, a global.

Names propose switches, and what they are set to follows from the texts that the code itself compares with ("TRAIN",
"eval"). Which of several proposed switches acts is found by trying (:mod:`bncheck.adapters.settling`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from bncheck.adapters import lacked
from bncheck.adapters.mode_values import (
    TESTING,
    TRAINING,
    mode_texts,
    mode_values,
    text_pair,
    value_pair,
)
from bncheck.adapters.standins import Lacking
from bncheck.adapters.words import Role, argument_role, says_train_or_test, train_is_true, words

_SETS_MODE = frozenset("set mode phase to switch on enable is flag state use train training test testing".split())
_FREEZING = frozenset({"trainable", "frozen", "freeze"})
# A method that switches does so in a few lines; one that trains a network needs more.
_FEW_LINES = 12


Turn = Callable[[Any, dict[str, Any], bool], None]


@dataclass(frozen=True)
class Switch:
    """One way of telling code the mode.

    Attributes
    ----------
    said : str
        In words, as :class:`bncheck.model.Conventions` has it.
    turn : callable
        Takes the layer (None for functions), the values of a run by key, and whether this is training.
    lasting : bool
        Whether it outlives a run, so that it has to be set before each call.
    named : bool
        Whether the code itself speaks of it.

    """

    said: str
    turn: Turn
    lasting: bool = False
    named: bool = True

    def reversed(self) -> Switch:
        """Return the switch that is turned to training by what turns this one to inference."""

        def turn(layer: Any, values: dict[str, Any], train: bool) -> None:
            self.turn(layer, values, not train)

        method, _, rest = self.said.partition(" ")
        said = f"{method} {' / '.join(reversed(rest.split(' / ')))}"
        return replace(self, said=said, turn=turn)


@runtime_checkable
class Switched(Protocol):
    """A reading whose code may be told the mode in several ways."""

    @property
    def switches(self) -> Sequence[Switch]:
        """The ways that names propose, most likely first; complete once a run was started."""

    def choose(self, switch: Switch) -> None:
        """Take one of them as the one to report."""


@runtime_checkable
class Offering(Protocol):
    """A reading whose code tests more than names propose."""

    def offered(self, name: str) -> Iterator[Any]:
        """Yield the same reading told the mode by what the code tests; with `name` by what is called so alone."""

    def adopt(self, offered: Any) -> None:
        """Become one of those."""

    @property
    def mode_switch(self) -> str:
        """How the code is told the mode, "" if it cannot be told."""

    @property
    def given_statistics(self) -> bool:
        """Whether the forward is given its running statistics as arguments."""


@runtime_checkable
class Remembering(Protocol):
    """A reading of code that may keep running statistics under names that do not say so."""

    def remember(self, trails: tuple[Any, ...]) -> None:
        """Take the places of those that remember earlier batches."""


@runtime_checkable
class Remembers(Protocol):
    """A run of such code."""

    def remembered(self) -> dict[tuple[Any, ...], Any]:
        """Return the arrays that are called a mean or a variance, by place."""


@runtime_checkable
class Turning(Protocol):
    """A run of such code."""

    def turn(self, switch: Switch, train: bool) -> None:
        """Turn one switch alone."""


# ------------------------------------------------------------ switches of a layer


def layer_switches(layer: Any, argument: str, remake: Callable[[dict[str, Any]], Any], key: str) -> list[Switch]:
    """Return the ways of telling a layer the mode that are no argument of its forward.

    Parameters
    ----------
    layer : object
        A fresh layer; it is turned off and on again.
    argument : str
        The argument of its constructor that reads as the mode, "" if there is none.
    remake : callable
        Makes another layer, for values that replace some of the constructor's.
    key : str
        The key of that argument in the constructor's call plan.

    """
    found = [*_methods(layer)]
    if argument:
        found += _constructor(argument, key, remake)
    found += _attributes(layer)
    return [switch for switch in found if _turns(switch, layer)]


def _turns(switch: Switch, layer: Any) -> bool:
    """Tell whether a switch can be turned off and on again."""
    try:
        switch.turn(layer, {}, False)
        switch.turn(layer, {}, True)
    except KeyboardInterrupt:
        raise
    except BaseException:  # what raises when it is turned is no switch
        return False
    return True


def _methods(layer: Any) -> Iterator[Switch]:
    """Yield pairs of methods such as train() and eval(), and methods that take the mode, such as set_phase(phase)."""
    plain: dict[bool, str] = {}
    for name, function in _short_methods(type(layer)):
        said = set(words(name))
        modes = said & {*TRAINING, *TESTING}
        required = [p for p in list(inspect.signature(function).parameters.values())[1:] if p.default is p.empty]
        if not required and modes and said <= _SETS_MODE | {*TRAINING, *TESTING}:
            plain.setdefault(bool(said & {*TRAINING}), name)
        elif len(required) == 1 and "set" in said | set(words(name)[:1]) | modes and _says(name, required[0].name):
            yield from _setter(type(layer), name, required[0].name, modes)
    if len(plain) == 2:

        def turn(layer: Any, values: dict[str, Any], train: bool) -> None:
            getattr(layer, plain[train])()

        yield Switch(f"methods {plain[True]}() and {plain[False]}()", turn)


def _says(name: str, argument: str) -> bool:
    """Tell whether a method's name or that of its argument reads as the mode."""
    return Role.MODE in (argument_role(name), argument_role(argument)) or bool(
        set(words(name)) & {"mode", "phase", *TRAINING, *TESTING}
    )


def _setter(cls: type, name: str, argument: str, modes: set[str]) -> Iterator[Switch]:
    """Yield what a method that takes the mode may want: the texts of the code, or a flag."""
    flags = (True, False) if train_is_true(name if modes else argument) else (False, True)
    texts = mode_texts(cls)
    # The method's own name is among the names in the code, and is no value.
    pairs: list[tuple[Any, Any]] = [text_pair(texts)] if texts and not modes else []
    for pair in [*pairs, flags]:

        def turn(layer: Any, values: dict[str, Any], train: bool, pair: tuple[Any, Any] = pair) -> None:
            getattr(layer, name)(pair[not train])

        said = " / ".join(f"{name}({_quoted(value)})" for value in pair)
        yield Switch(f"method {said}", turn)


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _short_methods(cls: type) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for base in cls.__mro__[:-1]:
        for name, function in vars(base).items():
            if name in seen or name.startswith("__") or not inspect.isfunction(function):
                continue
            seen.add(name)
            lines = {line for _, _, line in function.__code__.co_lines() if line}
            if len(lines) <= _FEW_LINES:
                yield name, function


def _constructor(argument: str, key: str, remake: Callable[[dict[str, Any]], Any]) -> Iterator[Switch]:
    """Yield the switch that sets what two layers made in the two modes differ in."""
    try:
        two = [remake(mode_values(train)) for train in (True, False)]
    except KeyboardInterrupt:
        raise
    except BaseException:  # a layer that cannot be looked at has shown no switch
        return
    states = [{n: v for n, v in getattr(layer, "__dict__", {}).items() if _is_plain(v)} for layer in two]
    differing = [name for name in states[0] if name in states[1] and states[0][name] != states[1][name]]

    def turn(layer: Any, values: dict[str, Any], train: bool) -> None:
        for name in differing:
            setattr(layer, name, states[not train][name])

    if differing:
        yield Switch(f"constructor argument {argument}", turn)


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | str | Enum) or inspect.isfunction(value)


def _attributes(layer: Any) -> Iterator[Switch]:
    """Yield the attributes that say the mode: flags, texts, 0 and 1."""
    names = dict.fromkeys((*getattr(layer, "__dict__", ()), *_slots(layer)))
    names |= dict.fromkeys(n for base in type(layer).__mro__[:-1] for n in vars(base) if not n.startswith("__"))
    found = {n: getattr(layer, n, None) for n in names if argument_role(n) is Role.MODE or set(words(n)) & _FREEZING}
    # A layer that is frozen is told the mode in another way, as long as it has one.
    for name in sorted(found, key=lambda n: bool(set(words(n)) & _FREEZING)):
        pair = _frozen_pair(name, found[name]) or value_pair(name, found[name], type(layer))
        # Beside "training" a "first_mode" is about something else.
        if pair is not None and not (any(map(says_train_or_test, found)) and _is_vague(name, found[name])):
            yield Switch(f"attribute {name}", setting(name, pair))
    if isinstance(layer, Lacking):
        # A base class that is not there would have set them; those of the code's own are above.
        for name in (n for n in lacked.flags(type(layer)) if not hasattr(layer, n)):
            texts = [] if says_train_or_test(name) else mode_texts(type(layer))
            yield Switch(f"attribute {name}", setting(name, text_pair(texts) if texts else _flag_pair(name)))


def _is_vague(name: str, value: Any) -> bool:
    return isinstance(value, bool) and not says_train_or_test(name) and not set(words(name)) & _FREEZING


def _flag_pair(name: str) -> tuple[bool, bool]:
    return (True, False) if train_is_true(name) else (False, True)


def _frozen_pair(name: str, value: Any) -> tuple[bool, bool] | None:
    return (False, True) if isinstance(value, bool) and set(words(name)) & {"frozen", "freeze"} else None


def setting(name: str, pair: tuple[Any, Any]) -> Turn:
    """Return what sets an attribute to the first of two values in training, else to the second."""

    def turn(layer: Any, values: dict[str, Any], train: bool) -> None:
        setattr(layer, name, pair[not train])

    return turn


def _slots(layer: Any) -> Iterator[str]:
    for base in type(layer).__mro__:
        slots = base.__dict__.get("__slots__", ())
        yield from [slots] if isinstance(slots, str) else slots


# ------------------------------------------------------------ what the user said


def declared_name(said: str) -> str:
    """Return the bare name of what the user named: "mode" of "self.mode", "set_phase" of "set_phase(phase)"."""
    return said.partition("(")[0].split(".")[-1].strip()


def is_said(said: str, used: str) -> bool:
    """Tell whether a switch in words is the one that the user named."""
    return re.search(rf"(?<!\w){re.escape(declared_name(said))}(?!\w)", used) is not None


def declared_switch(said: str, layer: Any) -> Switch | None:
    """Return the switch of a layer that the user named: an attribute, or a method that takes the mode."""
    name = declared_name(said)
    value = getattr(layer, name, None)
    if inspect.ismethod(value):
        return next(iter(_setter(type(layer), name, name, {"flag"})), None)
    pair = value_pair(name, value, type(layer)) if hasattr(layer, name) else None
    return None if pair is None else Switch(f"attribute {name}", setting(name, pair))
