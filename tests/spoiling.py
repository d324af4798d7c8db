"""Valid documents, and what may become of them on their way: strategies of hypothesis for the tests of the readers."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

WHOLE_NUMBERS = st.one_of(
    st.integers(-2, 5),
    st.integers(),
    st.sampled_from([2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63)]),
    st.sampled_from([10**30, 10**99, 10**400, 10**4300 - 1]),
)
# What a terminal, a parser, an encoder or a rule of layout would rather not see.
CHARACTERS = st.one_of(
    st.sampled_from(
        "\x00\x07\x1b\x7f\x85\t\r\n \\\"'`|<>&[]{}()%:,;=#@$~*_-.0aZé×\u200f\u2028\u202e\ufeff\uffff\U0001f600"
    ),
    st.characters(),
    st.sampled_from("\ud800\udbff\udfff"),
)
TEXTS = st.one_of(
    st.text(CHARACTERS, max_size=30),
    st.sampled_from(
        ["NaN", "Infinity", "-Infinity", "pass", "fail", "BN101", "BUG000", "v1:plain:seed=0,n=2,c=1", "1"]
    ),
    st.builds(str.__mul__, st.text(CHARACTERS, min_size=1, max_size=5), st.sampled_from([100, 5000, 20_000])),
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | WHOLE_NUMBERS | FLOATS | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)
_PAIRS = (("[", "]"), ('{"a":', "}"))
# What may stand in the place of a token of JSON.
TOKENS = st.one_of(
    st.sampled_from("{ } [ ] , : - + . ' \" null true tru NaN -Infinity 1e999 -1e999 1e-999 -0 01 1. .5 0x10".split()),
    st.sampled_from(["", "//", "\ufeff", '"\\ud800"', '"\\u12"', '"\n"', '"schema": 1, "schema": 2,', '"a": 1,']),
    st.sampled_from(["9" * 4300, "9" * 5000]),
    SCALARS.map(json.dumps),
)
DEEP = st.one_of(
    st.builds(lambda pair, levels: pair[0] * levels + pair[1] * levels, st.sampled_from(_PAIRS), st.integers(1, 2000)),
    st.sampled_from(["[" * 20_000, "]" * 20_000, *(opened * 20_000 + closed * 20_000 for opened, closed in _PAIRS)]),
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[-+.\w]+|\s+|.', re.DOTALL)


def times(weight: int) -> Callable[[Any], Any]:
    """Return the decorator that gives a test so many times the examples of the profile."""
    return settings(max_examples=weight * settings().max_examples)


@cache
def made(hint: Any) -> st.SearchStrategy[Any]:
    """Return values of a type of plain data, every field of a dataclass drawn; few of each, so that they stay small."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*map(made, arguments))
    if origin is tuple and arguments[1:] == (...,):
        return st.lists(made(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(made, arguments))
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(*map(made, arguments), max_size=2)
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    hints = typing.get_type_hints(hint)
    return st.builds(hint, **{field.name: made(hints[field.name]) for field in dataclasses.fields(hint)})


_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    type(None): st.none(),
    bool: st.booleans(),
    int: st.integers(),
    float: st.floats(),
    # Two halves of a character that do not belong together are one character when they come back.
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    tuple[Any, ...]: st.just(()),  # what is live stays in its process
}


# ------------------------------------------------------------------------------------------------------------ of data


@st.composite
def spoiled_data(draw: st.DrawFn, documents: Callable[[], Sequence[Any]]) -> Any:
    """Return the data of a document of which some values are removed, exchanged, or out of all bounds."""
    at = draw(st.integers(0, len(documents()) - 1))
    whole = data = documents()[at]
    places = _places(documents, at)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places))
        how = draw(st.integers(0, 9))
        if not _is_there(data, place):
            continue
        if how == 0:
            data = _with(data, place, None, remove=True)
        elif how == 1:
            data = _with(data, place, _at(whole, draw(st.sampled_from(places))))
        elif how == 2:
            data = _with(data, place, draw(VALUES))
        elif how == 3:
            kind, new = draw(st.sampled_from([(int, WHOLE_NUMBERS), (float, FLOATS), (str, TEXTS)]))
            data = _with(data, place, _everywhere(_at(data, place), kind, draw(new)))
        else:  # what is still read goes farthest
            data = _with(data, place, _stretched(draw, _at(data, place)))
    return data


@cache
def _places(documents: Callable[[], Sequence[Any]], at: int) -> list[tuple[Any, ...]]:
    """Return the ways to the values of a document; of a list, the first ones and the last, as most are alike."""

    def below(data: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        yield place
        steps = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else []
        for step in steps if isinstance(data, dict) else dict.fromkeys((*steps[:2], *steps[-1:])):
            yield from below(data[step], (*place, step))

    return list(below(documents()[at], ()))[:0:-1]  # the schema is what examples are not to shrink to


def _is_there(data: Any, place: Sequence[Any]) -> bool:
    try:
        _at(data, place)
    except (LookupError, TypeError):
        return False
    return not isinstance(_at(data, place[:-1]), str)


def _at(data: Any, place: Sequence[Any]) -> Any:
    for step in place:
        data = data[step]
    return data


def _with(data: Any, place: Sequence[Any], value: Any, remove: bool = False) -> Any:
    """Return the data with another value in one place, or none there; what was given stays as it is."""
    changed = data.copy()
    if len(place) > 1:
        changed[place[0]] = _with(data[place[0]], place[1:], value, remove)
    elif remove:
        del changed[place[0]]
    else:
        changed[place[0]] = value
    return changed


def _everywhere(value: Any, kind: type, new: Any) -> Any:
    """Return a value in which everything of one type is the same."""
    if isinstance(value, dict):
        return {key: _everywhere(item, kind, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_everywhere(item, kind, new) for item in value]
    return new if type(value) is kind else value


def _stretched(draw: st.DrawFn, value: Any) -> Any:
    """Return a value of the same type that is shorter, longer, or another."""
    if isinstance(value, list):
        return value * draw(st.integers(2, 3)) if draw(st.booleans()) else value[draw(st.integers(0, 3)) :]
    if isinstance(value, dict):
        return {**value, draw(TEXTS): draw(VALUES)}
    if isinstance(value, str):
        return value + draw(TEXTS)
    if isinstance(value, bool):
        return not value
    return draw(FLOATS) if isinstance(value, float) else draw(WHOLE_NUMBERS)


# -------------------------------------------------------------------------------------------------- of text and bytes


@cache
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text))


@st.composite
def spoiled_text(
    draw: st.DrawFn, documents: Callable[[], Sequence[str]], tokens: st.SearchStrategy[str] = TOKENS | DEEP
) -> str:
    """Return a document of which some tokens are others, more or fewer, or that is cut off."""
    found = list(_tokens(draw(st.sampled_from(documents()))))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(found)))
        how = draw(st.integers(0, 5))
        if how == 0:
            del found[start:]
        elif how == 1:
            del found[start : start + draw(st.integers(1, 9))]
        elif how == 2:
            found[start:start] = found[start : start + draw(st.integers(1, 9))]
        elif how == 3:
            found[start:start] = [draw(tokens)]
        else:
            found[start : start + 1] = [draw(tokens)]
    return "".join(found)


def encoded(text: str) -> bytes:
    """Return the bytes of a text, of lone surrogates, too."""
    return text.encode("utf-8", "surrogatepass")


@st.composite
def spoiled_bytes(draw: st.DrawFn, documents: Callable[[], Sequence[bytes]]) -> bytes:
    """Return a document of which some bytes are others, more or fewer, or that is cut off."""
    found = bytearray(draw(st.sampled_from(documents())))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(found)))
        how = draw(st.integers(0, 5))
        if how == 0:
            del found[start:]
        elif how == 1:
            del found[start : start + draw(st.integers(1, 40))]
        elif how == 2:
            found[start:start] = draw(st.binary(max_size=20))
        else:
            new = draw(st.sampled_from([b"\x00", b"\xff", b"\xff" * 4, b"\xff" * 8, bytes(8)]) | st.binary(max_size=8))
            found[start : start + len(new)] = new
    return bytes(found)


# -------------------------------------------------------------------------------------------------------- what is said


def assert_short_line(error: BaseException, place: str = "", longest: int = 400) -> None:
    """Assert that an error names a place first, and that the rest is one line of a length that can be shown."""
    text = str(error)
    assert text.startswith(place)
    said = text.removeprefix(place)
    assert said
    assert len(said.splitlines()) == 1, said
    assert len(said) <= longest, said
