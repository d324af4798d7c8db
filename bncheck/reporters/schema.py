"""The JSON Schema of the report, made from its types.

It is kept as report.schema.json beside this module, for those who read reports in other languages;
``python -m bncheck.reporters.schema`` writes that file anew after a type has changed.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from bncheck.report import SCHEMA, Report

FILE = Path(__file__).with_name("report.schema.json")
_PLAIN = {str: "string", int: "integer", bool: "boolean"}
# JSON has no word for what is not finite; the codec writes these.
_FLOAT = {
    "description": "A float64. What is not finite is a string.",
    "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}],
}


def kept() -> str:
    """Return the schema as it is shipped."""
    return FILE.read_text(encoding="utf-8")


def spelled() -> str:
    """Return the schema as the types have it now."""
    return json.dumps(schema(), indent=2) + "\n"


def schema() -> dict[str, Any]:
    """Return the schema of what ``--format json`` writes, draft 2020-12.

    Keys that are not named are allowed, and those with a default may be left out: a later 0.x may write more of them
    without another number in `schema`.
    """
    definitions: dict[str, Any] = {}
    _reference(Report, definitions)
    report = definitions.pop("Report")
    report["properties"]["schema"] = {"const": SCHEMA}
    report["required"].append("schema")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('.', ':').replace('/', ':')}",
        "title": "A report of bncheck",
        **report,
        "$defs": dict(sorted(definitions.items())),
    }


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one type; those that have a name go into `definitions`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if hint is float:
        definitions.setdefault("float", _FLOAT)
        return {"$ref": "#/$defs/float"}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_of(argument, definitions) for argument in arguments]}
    if hint is type(None):
        return {"type": "null"}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is tuple:
        size, items = len(arguments), [_of(argument, definitions) for argument in arguments]
        return {"type": "array", "prefixItems": items, "minItems": size, "maxItems": size}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    return _reference(hint, definitions)


def _reference(named: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to the schema of a dataclass or of a choice, which stands in `definitions`."""
    if named.__name__ not in definitions:
        summary = (inspect.getdoc(named) or "").partition("\n\n")[0]
        made = definitions[named.__name__] = {"description": " ".join(summary.split())}
        if issubclass(named, Enum):
            made["enum"] = [member.value for member in named]
        elif dataclasses.is_dataclass(named):
            made.update(_object(named, definitions))
        else:
            raise TypeError(f"there is no JSON for {named!r}")
    return {"$ref": f"#/$defs/{named.__name__}"}


def _object(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
    missing = dataclasses.MISSING
    return {
        "type": "object",
        "properties": {field.name: _of(hints[field.name], definitions) for field in fields},
        "required": [field.name for field in fields if field.default is missing and field.default_factory is missing],
    }


if __name__ == "__main__":
    FILE.write_text(spelled(), encoding="utf-8")
    sys.stdout.write(f"{FILE} is written\n")
