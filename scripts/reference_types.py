"""The pages of the reference that are made from types: settings, the Python API, the JSON report."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import click
from docstrings import bullets, doc_of, fields, inline, paragraphs, sections

import bncheck
from bncheck import model, report
from bncheck.cli import cli
from bncheck.model import PROFILES, Expected
from bncheck.reporters.markup import code, fenced
from bncheck.reporters.schema import schema
from bncheck.settings import Settings


def of(command: click.Command, name: str | None = None) -> click.Context:
    """Return a context for a command, like the command line's own: the option for help is made once, by the first."""
    return click.Context(command, info_name=name, **cli.context_settings)


def settings(option: Callable[[click.Option, click.Context], str]) -> str:
    """Return the page of ``[tool.bncheck]``; `option` makes the line of an option."""
    says = (
        "`[tool.bncheck]` in the nearest `pyproject.toml` at or above the current folder. An option of the command "
        "line overrides it. `bncheck.verify(...)` does not read it, and takes all but `targets` as arguments."
    )
    told = {**_attributes(model.Declared), **_attributes(Settings)}
    hints = typing.get_type_hints(Settings)
    options = {p.name: p for p in cli.commands["verify"].params if isinstance(p, click.Option)}
    context = of(cli.commands["verify"])
    parts = ["# Settings", says]
    for field in sorted(dataclasses.fields(Settings), key=lambda field: field.name not in ("targets", "expected")):
        at = options.get(field.name)
        key = at.opts[0].removeprefix("--") if at else field.name
        default = "none" if field.default in (None, ()) else code(_toml(field.default))
        in_python = "" if key == field.name else f" In Python: {code(field.name)}."
        parts += [f"## {key}", f"{_words(hints[field.name])}; default: {default}.{in_python}"]
        parts += [paragraphs(_with_profiles(told[field.name][1])), *([option(at, context)] if at else [])]
        if field.name == "expected":
            parts.append(bullets(_attributes(Expected)))
    return "\n\n".join(parts)


def _attributes(cls: type) -> dict[str, tuple[str, str]]:
    return fields(sections(doc_of(cls)).get("Attributes", ""))


def _with_profiles(text: str) -> str:
    return text.replace("``PROFILES``", ", ".join(PROFILES))


_TYPES = {int: "A whole number", float: "A number", str: "A string", bool: "`true` or `false`"}


def _words(hint: Any) -> str:
    """Return what TOML has for a type."""
    arguments = [argument for argument in typing.get_args(hint) if argument not in (type(None), Ellipsis)]
    if typing.get_origin(hint) is tuple:
        return "Tables" if arguments == [Expected] else "A list of strings"
    return _TYPES[arguments[0] if arguments else hint]


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def python() -> str:
    """Return the page of what ``import bncheck`` offers."""
    parts = ["# Python", "All that `import bncheck` offers. It is loaded when it is first used."]
    for name in sorted(bncheck.__all__, key=lambda name: (name != "verify", name)):
        parts += [f"## {name}", *_thing(name, getattr(bncheck, name))]
    return "\n\n".join(parts)


def _thing(name: str, thing: Any) -> list[str]:
    parts = [] if inspect.isclass(thing) else [_call(name, thing)]
    for title, body in sections(doc_of(thing)).items():
        parts += [f"### {title}"] if title else []
        if title in ("Parameters", "Raises", "Returns"):
            parts.append(bullets(fields(body)))
        else:
            parts.append(fenced(body, "pycon") if title == "Examples" else paragraphs(body))
    if dataclasses.is_dataclass(thing):
        keys = ", ".join(code(field.name) for field in dataclasses.fields(thing))
        parts.append(f"Attributes: {keys}; their types are those of the [JSON report](json.md#{name.lower()}).")
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        parts.append(", ".join(code(f"{name}.{member.name}") for member in thing))
    for key, member in vars(thing).items() if inspect.isclass(thing) else ():
        if not key.startswith("_") and inspect.isfunction(member):
            parts += [_call(f"{name}.{key}", member), paragraphs(doc_of(member))]
    return parts


def _call(name: str, function: Callable[..., Any]) -> str:
    """Return how a function is called, an argument a line where there are several."""
    # Annotations are kept as text, which is quoted in a signature.
    text = re.sub(r"((?:: |-> ))'([^']*)'", r"\1\2", str(inspect.signature(function)))
    arguments, _, returns = text[1:].rpartition(") -> ")
    split = re.split(r", (?=[*\w]+(?::| =|,|$)|\*,)", arguments)
    inside = "".join(f"\n    {argument}," for argument in split) + "\n" if len(split) > 1 else arguments
    return fenced(f"{name}({inside}) -> {returns}", "python")


def json_schema() -> str:
    """Return the page of the JSON report."""
    says = (
        "What `--format json` writes. `bncheck report --schema` prints this as JSON Schema (draft 2020-12). Keys that "
        "are not listed may be added by a later version, so ignore those that you do not know."
    )
    whole = schema()
    parts = ["# JSON report", says, "## Report", _keys("Report", whole)]
    for name, made in whole["$defs"].items():
        parts += [f"## {name}", inline(made.get("description", ""))]
        parts += [_keys(name, made)] if "properties" in made else []
        parts += [", ".join(code(str(value)) for value in made["enum"])] if "enum" in made else []
        parts += [" or ".join(_type(part) for part in made["anyOf"])] if "anyOf" in made else []
    return "\n\n".join(parts)


def _keys(name: str, made: Mapping[str, Any]) -> str:
    """Return the table of an object's keys, with what the class says of each if it does."""
    cls = report.Report if name == "Report" else getattr(report, name, None) or getattr(model, name)
    told = _attributes(cls)
    rows = []
    for key, value in made["properties"].items():
        absent = "" if key in made.get("required", ()) else "may be left out"
        text = f" {inline(_with_profiles(told.get(key, ('', ''))[1]))} |" if told else ""
        rows.append(f"| {code(key)} | {_type(value)} | {absent} |{text}")
    more = told and (" |", "---|")
    head, rule = more or ("", "")
    return "\n".join([f"| key | type | |{head}", f"|---|---|---|{rule}", *rows])


def _type(value: Mapping[str, Any]) -> str:
    """Return a type of the schema in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return " or ".join(_type(part) for part in value["anyOf"])
    if "prefixItems" in value:
        return f"array of {', '.join(_type(part) for part in value['prefixItems'])}"
    if "items" in value:
        return f"array of {_type(value['items'])}"
    if "additionalProperties" in value:
        return f"object of {_type(value['additionalProperties'])}"
    if "const" in value or "enum" in value:
        return ", ".join(code(str(one)) for one in value.get("enum", [value.get("const")]))
    return str(value["type"])
