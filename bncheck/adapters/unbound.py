"""What reads as a backward and was not bound to a forward: code that has one must not pass for code that has none."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from typing import Any

from bncheck.adapters.affine import gradient_in
from bncheck.adapters.function_pair import is_function
from bncheck.adapters.layer_class import LIKE_BACKWARD, method_pairs
from bncheck.adapters.plans import arguments
from bncheck.adapters.protocol import Namespace
from bncheck.adapters.stems import NO_TRAINING
from bncheck.adapters.words import (
    Kind,
    clears_gradients,
    composite,
    kind,
    stem,
    upstream_named,
    words,
)


def unbound_backward(namespace: Namespace, own: str, bound: Collection[str]) -> str:
    """Return in words what may be the backward of a forward, and was not bound to it; "" if nothing may.

    Parameters
    ----------
    namespace : Namespace
        The things beside the forward, and the one that holds it.
    own : str
        The name of that one.
    bound : collection of str
        The function or method that is the forward, and the functions that are bound in pairs of their own.

    """
    for name, thing in namespace.things.items():
        if set(words(name)) & NO_TRAINING or kind(name) is Kind.OTHER_NORM:
            continue
        if name != own and kind(name) is Kind.BN and (name in bound or _has_both(thing)):
            continue  # a Batch Normalization of its own
        said = next(_own(thing, bound) if name == own else _others(name, thing, name in bound), "")
        if said:
            return f"{name}{said}"
    return ""


def _own(thing: Any, bound: Collection[str]) -> Iterator[str]:
    """Yield what in the code that holds the forward reads as a backward."""
    if inspect.isclass(thing):
        yield from (
            f".{name} reads as a backward"
            for name in _methods(thing)
            if name not in bound and _reads_as_backward(thing, name)
        )
    if gradient := gradient_in(thing):
        yield f" speaks of {gradient}"


def _others(name: str, thing: Any, bound: bool) -> Iterator[str]:
    """Yield what in other code reads as a backward that may be meant; that of another layer by its name is not."""
    if inspect.isclass(thing):
        named = [n for n in _methods(thing) if stem(n).direction == "backward" and not clears_gradients(n)]
        named += [n for n in _methods(thing) if takes_upstream(inspect.getattr_static(thing, n, None))]
        if named and not _has_both(thing) and not composite(name):
            yield f".{named[0]} reads as a backward"
    elif is_function(thing) and not bound and not composite(name):
        if stem(name).direction == "backward" or takes_upstream(thing):
            yield " reads as a backward"
    if gradient := gradient_in(thing):
        yield f" speaks of {gradient}"


def takes_upstream(thing: Any) -> bool:
    """Tell whether a function asks for something that reads as the upstream gradient."""
    return is_function(thing) and any(a.required and upstream_named(a.name) for a in arguments(thing) or ())


def _has_both(thing: Any) -> bool:
    return inspect.isclass(thing) and bool(method_pairs(thing))


def _methods(cls: type) -> list[str]:
    return list(dict.fromkeys(n for base in cls.__mro__[:-1] for n in vars(base) if not n.startswith("__")))


def _reads_as_backward(cls: type, name: str) -> bool:
    if not callable(getattr(cls, name, None)) or clears_gradients(name):
        return False
    if stem(name).direction == "backward" or set(words(name)) & LIKE_BACKWARD:
        return True
    return takes_upstream(inspect.getattr_static(cls, name, None))
