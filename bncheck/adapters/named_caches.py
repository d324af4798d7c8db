"""Caches that name their entries: a forward returns a dict, and its backward takes the entries as arguments."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bncheck.adapters.sources import source_tree
from bncheck.adapters.words import STATISTICS, argument_role, words

_ENTRY = "entry:"


def entries(function: Callable[..., Any]) -> list[str]:
    """Return the keys of the dicts that a function writes out: ``{"x_hat": x_hat}``, ``dict(x_hat=x_hat)``."""
    tree = source_tree(function)
    return list(dict.fromkeys(key for node in ast.walk(tree) for key in _keys(node))) if tree is not None else []


def _keys(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Dict):
        yield from (k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        yield from (word.arg for word in node.keywords if word.arg)


def entries_for(names: Iterable[str], held: list[str]) -> dict[str, str]:
    """Return the keys of a call plan for the arguments that a dict of such entries has a value for.

    An entry of the same name counts first, else the only one whose words hold those of the argument (``mean`` is
    ``sample_mean``); the statistics of a batch are never the running ones.
    """
    found = {}
    for name in names:
        said = set(words(name))
        like = [key for key in held if said <= set(words(key)) and argument_role(key) not in STATISTICS]
        if name in held or len(like) == 1:
            found[name] = f"{_ENTRY}{name if name in held else like[0]}"
    return found


def is_entry(key: str) -> bool:
    """Tell whether a key of a call plan stands for an entry of a dict that the forward returned."""
    return key.startswith(_ENTRY)


def entry_values(rest: tuple[Any, ...]) -> dict[str, Any]:
    """Return the entries of the dicts among what a forward returned, under the keys of call plans; the first counts."""
    held = [item for item in reversed(rest) if isinstance(item, Mapping)]
    return {f"{_ENTRY}{name}": value for item in held for name, value in item.items()}
