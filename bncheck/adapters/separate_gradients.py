"""Functions that make one gradient each: a forward, and beside it ``dgamma(dy, xhat)``, ``dbeta(dy)``, ``dx(...)``.

The three are joined to one backward that takes the arguments of all of them and hands each its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from bncheck.adapters.words import Kind, gradient_name, kind, stem, words
from bncheck.model import GRADIENTS

# What such a name may say beside whose gradient it is.
_BESIDE = frozenset("compute calc calculate get batch norm batchnorm batchnormalization bn layer backward".split())


def separate(functions: Mapping[str, Callable[..., Any]]) -> tuple[str, dict[str, str]] | None:
    """Return the name of the one forward, and those of the functions that make dx, dgamma and dbeta; else None."""
    found: dict[str, list[str]] = {of: [] for of in GRADIENTS}
    for name in functions:
        of = _gradient(name)
        if of is not None:
            found[of].append(name)
    named = {name for names in found.values() for name in names}
    forwards = [n for n in functions if n not in named and stem(n).direction != "backward" and kind(n) is Kind.BN]
    if len(forwards) != 1 or any(len(names) != 1 for names in found.values()):
        return None
    return forwards[0], {of: names[0] for of, names in found.items()}


def _gradient(name: str) -> str | None:
    """Return whose gradient a function's name says that it makes."""
    said = [word for word in words(name) if word not in _BESIDE]
    read = gradient_name("_".join(said)) if said else None
    return read.of if read is not None else None


def joined(functions: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Return one backward out of the functions that make "dx", "dgamma" and "dbeta"; arguments go by their names."""
    signatures = {of: inspect.signature(function).parameters for of, function in functions.items()}
    union: dict[str, inspect.Parameter] = {}
    for of in ("dbeta", "dgamma", "dx"):  # that of beta has the least beside the upstream gradient
        for name, parameter in signatures[of].items():
            given = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            required = parameter.default is parameter.empty
            union[name] = given if required or name not in union else union[name]

    def made(of: str, values: Mapping[str, Any]) -> Any:
        own = [p for name, p in signatures[of].items() if name in values]
        by_name = {p.name: values[p.name] for p in own if p.kind is p.KEYWORD_ONLY}
        return functions[of](*[values[p.name] for p in own if p.kind is not p.KEYWORD_ONLY], **by_name)

    def backward(**values: Any) -> Any:
        dx = made("dx", values)
        dgamma = made("dgamma", values)
        dbeta = made("dbeta", values)
        return dx, dgamma, dbeta

    backward.__signature__ = inspect.Signature(list(union.values()))  # type: ignore[attr-defined]
    return backward
