"""What code is told when it is told the mode: flags, 0 and 1, members of an enumeration, or texts of its own choice.

Which texts a piece of code knows ("TRAIN", "eval") follows from the constants that it holds.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from types import CodeType
from typing import Any

import numpy as np

from bncheck.adapters.frameworks import codes_of, functions_of
from bncheck.adapters.words import says_train_or_test, train_is_true, words

TRAINING = ("train", "training", "trn", "learn", "fit")
TESTING = ("test", "testing", "eval", "evaluate", "evaluation", "inference", "infer", "predict", "val", "valid")
_DEFAULT = ("train", "test")
_LONGEST = 12  # letters of a text that a mode is called by; longer ones are messages
# Pairs of values (training, not training) by the key that stands for them in call plans.
_pairs: dict[str, tuple[Any, Any]] = {"train": (True, False), "test": (False, True), "mode:train": _DEFAULT}


def mode_values(train: bool) -> dict[str, Any]:
    """Return the values of every key that says whether this is training."""
    return {key: pair[not train] for key, pair in _pairs.items()}


def turn_arguments(layer: Any, values: dict[str, Any], train: bool) -> None:
    """Give the values of a run what says the mode in arguments; `layer` has no part in it."""
    values.update(mode_values(train))


def turn_options(name: str, key: str) -> Callable[[Any, dict[str, Any], bool], None]:
    """Return what puts the value of a key into a run's dict of options, under a name."""

    def turn(layer: Any, values: dict[str, Any], train: bool) -> None:
        values["params"][name] = mode_values(train)[key]

    return turn


def mode_key(train: Any, test: Any) -> str:
    """Return the key under which call plans find a value that says training, or its opposite."""
    if (train, test) == _DEFAULT:
        return "mode:train"
    key = f"mode:{train!r}|{test!r}"
    key += f"|{id(type(train))}" if isinstance(train, Enum) else ""  # two files may have a Mode.TRAIN each
    _pairs[key] = (train, test)
    return key


def is_mode_key(key: str) -> bool:
    """Tell whether a key of a call plan says whether this is training."""
    return key in _pairs


def argument_key(name: str, default: Any, required: bool, function: Callable[..., Any] | None) -> str | None:
    """Return the key of an argument or option that reads as the mode; None where its default should stay."""
    if isinstance(default, Enum):
        pair = _enum_pair(type(default))
        return mode_key(*pair) if pair else None
    asks = says_train_or_test(name)
    if isinstance(default, str):
        return mode_key(*text_pair(mode_texts(function), default))
    numbers = constant_pair(getattr(inspect.unwrap(function), "__globals__", {})) if function is not None else None
    if not asks and numbers is not None and (required or default in numbers):
        return mode_key(*numbers)
    if isinstance(default, bool) or (asks and (required or default is None or default in (0, 1))):
        return _flag_or_text(name, function) if required and not asks else "train" if train_is_true(name) else "test"
    if required or default is None:
        return _flag_or_text(name, function)
    return None


def _flag_or_text(name: str, function: Callable[..., Any] | None) -> str:
    """Return the key of a required "mode" or "phase": texts where the code compares with such, else a flag."""
    texts = mode_texts(function)
    known = bool(_sorted(texts, TRAINING) or _sorted(texts, TESTING))
    return mode_key(*text_pair(texts)) if known or function is None else "train" if train_is_true(name) else "test"


def text_pair(texts: Iterable[str], like: str = "") -> tuple[str, str]:
    """Return the texts for training and for its opposite, out of those that the code knows, in the style of `like`."""
    train, test = _sorted(texts, TRAINING), _sorted(texts, TESTING)
    if like:
        train = [like, *train] if _sorted([like], TRAINING) else [t for t in train if _style(t) == _style(like)]
        test = [like, *test] if _sorted([like], TESTING) else test
        test = [t for t in test if _style(t) == _style(like)]
    model = like or (train or test or [""])[0]
    suffix = "ing" if not test and train and train[0].lower() == "training" else ""
    return (
        train[0] if train else _styled("training" if model.lower() == "testing" else "train", model),
        test[0] if test else _styled(f"test{suffix}", model),
    )


def _sorted(texts: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return the texts that say one mode, the usual words first."""
    rank = {word: place for place, word in enumerate(known)}
    said = [(min(rank[w] for w in words(text) if w in rank), text) for text in texts if set(words(text)) & {*known}]
    return [text for _, text in sorted(said)]


def _style(text: str) -> str:
    return "upper" if text.isupper() else "title" if text[:1].isupper() else "lower"


def _styled(text: str, like: str) -> str:
    return text.upper() if like.isupper() else text.capitalize() if like[:1].isupper() else text


def _enum_pair(enum: type[Enum]) -> tuple[Any, Any] | None:
    train, test = (_sorted([m.name for m in enum], known) for known in (TRAINING, TESTING))
    return (enum[train[0]], enum[test[0]]) if train and test else None


# ------------------------------------------------------------ what the code speaks of


def mode_texts(*things: Any) -> list[str]:
    """Return the short texts in the code of functions and classes that may be names of modes."""
    found: dict[str, None] = {}
    for function in reachable(*things):
        scope = getattr(function, "__globals__", {})
        for code in codes_of(getattr(function, "__code__", None)):
            named = (scope.get(name) for name in code.co_names if _says_mode(name))
            found.update(dict.fromkeys(t for t in (*texts_of(code), *named) if isinstance(t, str) and _says_mode(t)))
    return list(found)


def reachable(*things: Any) -> list[Any]:
    """Return the functions that make up functions and classes, and those of the same module which they name."""
    found: dict[int, Any] = {}
    for function in (f for thing in things if thing is not None for f in functions_of(thing)):
        found[id(function)] = function
        scope, home = getattr(function, "__globals__", {}), getattr(function, "__module__", None)
        for name in (n for code in codes_of(getattr(function, "__code__", None)) for n in code.co_names):
            helper = scope.get(name)
            if inspect.isfunction(helper) and helper.__module__ == home:
                found[id(helper)] = helper
    return list(found.values())


def _says_mode(text: str) -> bool:
    return len(text) <= _LONGEST and bool(set(words(text)) & {*TRAINING, *TESTING})


def texts_of(code: CodeType) -> Iterator[str]:
    """Yield the texts among the constants of a code object."""
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple | frozenset):
            yield from (item for item in constant if isinstance(item, str))


def is_constant(name: str, scope: Mapping[str, Any]) -> bool:
    """Tell the name of a mode (``TRAIN = 0``, beside ``TEST = 1``) from a flag that says which one it is."""
    value = scope.get(name)
    if isinstance(value, str):
        return bool(set(words(name)) & set(words(value)))
    return not isinstance(value, bool) and isinstance(value, int) and constant_pair(scope) is not None


def constant_pair(scope: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the numbers that a module calls its two modes by, None if it does not."""
    found: dict[bool, int] = {}
    for name, value in scope.items():
        said = set(words(name))
        if isinstance(value, int) and not isinstance(value, bool) and len(said & {*TRAINING, *TESTING}) == 1:
            found.setdefault(bool(said & {*TRAINING}), value)
    return (found[True], found[False]) if len(found) == 2 and found[True] != found[False] else None


def value_pair(name: str, value: Any, *things: Any) -> tuple[Any, Any] | None:
    """Return what to set a flag to, in training and otherwise, after what it holds now; None if it is no flag."""
    if isinstance(value, Enum):
        return _enum_pair(type(value))
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1) and says_train_or_test(name)):
        one, zero = (True, False) if isinstance(value, bool | np.bool_) else (1, 0)
        return (one, zero) if train_is_true(name) else (zero, one)
    if isinstance(value, str) and (not value or _says_mode(value)):
        return text_pair(mode_texts(*things), value)
    if isinstance(value, int) and not isinstance(value, bool):
        scopes = [getattr(f, "__globals__", {}) for f in reachable(*things)]
        pair = next((pair for scope in scopes if (pair := constant_pair(scope))), None)
        return pair if pair is not None and value in pair else None
    return None


def spoken_words(*things: Any) -> set[str]:
    """Return every name in the code of functions and classes: attributes, globals, arguments, variables."""
    codes = [c for f in reachable(*things) for c in codes_of(getattr(f, "__code__", None))]
    return {name for code in codes for name in (*code.co_names, *code.co_varnames)}
