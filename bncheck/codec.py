"""Frozen dataclasses to plain JSON data and back, by their type hints.

The JSON is strict: NaN and the infinities are the strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache
from itertools import repeat
from typing import Any, TypeVar

from bncheck.errors import UsageError
from bncheck.report import SCHEMA, Report

T = TypeVar("T")
Reader = Callable[[Any], Any]

# JSON has whole numbers of any length, and Python spells none of more than 4300 digits, such as the sum of two others.
_MOST = 10**100
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(report: Report) -> dict[str, Any]:
    """Return a report as the JSON object that ``--format json`` prints: schema and verdict first."""
    data = encode(report)
    return {"schema": data["schema"], "verdict": data["verdict"], **data}


def report_from_json(data: object) -> Report:
    """Return the report that `data` describes; raise UsageError that names the place where it does not fit."""
    schema = data.get("schema") if isinstance(data, Mapping) else None
    if _is_newer(schema):
        raise UsageError(f"a newer bncheck wrote this report: its schema is {schema:.80}, and this one reads {SCHEMA}")
    if schema != SCHEMA:
        raise UsageError(f"this is no report of bncheck: schema should be {SCHEMA!r}, not {schema!r:.80}")
    return decode(Report, data)


def _is_newer(schema: object) -> bool:
    """Tell whether a schema is ours with a higher number."""
    name, _, ours = SCHEMA.partition("/")
    known, _, theirs = schema.partition("/") if isinstance(schema, str) else ("", "", "")
    return known == name and theirs.isdecimal() and len(theirs) < 10 and int(theirs) > int(ours)


def encode(value: Any) -> Any:
    """Return `value` as data that ``json.dumps(..., allow_nan=False)`` takes.

    Raises
    ------
    TypeError
        If something in it is no data, such as a live callable in a TargetSpec.

    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _spell(value)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {_key(key): encode(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _field_names(type(value))}
    if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:
        return encode(value.item())  # a NumPy scalar that is no Python number
    raise TypeError(f"{type(value).__name__} is no plain data and cannot be encoded")


def decode(cls: type[T], data: object) -> T:
    """Return the `cls` that :func:`encode` made `data` from.

    Keys that `cls` does not know are ignored, so that a newer writer can be read.

    Raises
    ------
    UsageError
        If `data` does not fit; names the place, such as "Report.targets[0].findings[2].code".

    """
    hint: Any = cls
    try:
        return typing.cast(T, _reader(hint)(data))
    except _MisfitError as misfit:
        raise UsageError(f"{cls.__name__}{misfit.place}: {misfit.complaint}") from misfit


class _MisfitError(Exception):
    """Data that does not fit; `place` grows from the inside out while it travels up."""

    def __init__(self, complaint: str, place: str = "") -> None:
        super().__init__(complaint)
        self.complaint = complaint
        self.place = place

    def inside(self, place: str) -> _MisfitError:
        return _MisfitError(self.complaint, place + self.place)


def _spell(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is no string and cannot be encoded")
    return str(key)


@cache
def _field_names(cls: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(cls))


@cache
def _reader(hint: Any) -> Reader:
    """Return the function that reads data of the type `hint`; made once per type."""
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if hint is Any or hint is object:
        return lambda data: data
    if origin in (types.UnionType, typing.Union) and len(arguments) == 2 and type(None) in arguments:
        inner = _reader(next(a for a in arguments if a is not type(None)))
        return lambda data: None if data is None else inner(data)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _tuple_reader(repeat(_reader(arguments[0])), None)
    if origin is tuple:
        return _tuple_reader([_reader(a) for a in arguments], len(arguments))
    if origin is not None and issubclass(origin, Mapping) and arguments[0] is str:
        return _mapping_reader(_reader(arguments[1]))
    if hint in (str, int, bool, float):
        return _float if hint is float else _plain_reader(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice_reader(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _dataclass_reader(hint)
    raise TypeError(f"the codec does not know how to read {hint!r}")


def _wanted(what: str, data: object) -> _MisfitError:
    return _MisfitError(f"should be {what}, not {data!r:.80}")


def _plain_reader(cls: type) -> Reader:
    what = {str: "a string", int: "a whole number", bool: "true or false"}[cls]

    def read(data: Any) -> Any:
        if type(data) is not cls:  # type(), since True is an int
            raise _wanted(what, data)
        return data

    def read_number(data: Any) -> Any:
        if abs(read(data)) >= _MOST:
            raise _wanted("a whole number of at most 100 digits", "an integer too large")
        return data

    return read_number if cls is int else read


def _float(data: Any) -> float:
    if type(data) is float:
        return data
    if type(data) is int:
        try:
            return float(data)
        except OverflowError:
            raise _wanted("a number that float64 holds", "an integer too large") from None
    if isinstance(data, str) and data in _NOT_FINITE:
        return _NOT_FINITE[data]
    raise _wanted("a number", data)


def _choice_reader(cls: type[Enum]) -> Reader:
    choices = {member.value: member for member in cls}

    def read(data: Any) -> Enum:
        if not isinstance(data, str) or data not in choices:
            raise _wanted(f"one of {', '.join(choices)}", data)
        return choices[data]

    return read


def _tuple_reader(readers: Iterable[Reader], length: int | None) -> Reader:
    def read(data: Any) -> tuple[Any, ...]:
        if not isinstance(data, list | tuple) or length not in (None, len(data)):
            raise _wanted("a list" if length is None else f"a list of {length}", data)
        items: list[Any] = []
        try:
            # Not strict: the readers of a tuple of any length never end.
            for value, reader in zip(data, readers, strict=False):
                items.append(reader(value))
        except _MisfitError as misfit:
            raise misfit.inside(f"[{len(items)}]") from misfit
        return tuple(items)

    return read


def _mapping_reader(item: Reader) -> Reader:
    def read(data: Any) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            raise _wanted("an object", data)
        items = {}
        for key, value in data.items():
            try:
                items[key] = item(value)
            except _MisfitError as misfit:
                raise misfit.inside(f"[{key!r:.80}]") from misfit
        return items

    return read


def _dataclass_reader(cls: type) -> Reader:
    hints = typing.get_type_hints(cls)
    readers = {f.name: _reader(hints[f.name]) for f in dataclasses.fields(cls)}
    required = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]

    def read(data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise _wanted("an object", data)
        values = {}
        for name, reader in readers.items():
            if name in data:
                try:
                    values[name] = reader(data[name])
                except _MisfitError as misfit:
                    raise misfit.inside(f".{name}") from misfit
        for name in required:
            if name not in values:
                raise _MisfitError(f"{name!r} is missing")
        return cls(**values)

    return read
