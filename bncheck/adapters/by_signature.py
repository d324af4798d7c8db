"""Classes and functions that were asked for by name, and of which no name says forward or backward.

Which method is which is told by trying: what takes data and returns an array of its shape, and then what takes one of
that shape. What is handed over goes by place.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from itertools import permutations
from typing import Any

from bncheck.adapters.function_pair import FunctionPair, is_function
from bncheck.adapters.layer_class import LayerClass, takes, unbound
from bncheck.adapters.plans import arguments
from bncheck.adapters.protocol import Namespace
from bncheck.adapters.torch_parts import torch_base
from bncheck.adapters.words import Role, argument_role, kind, upstream_like
from bncheck.model import Declared

# Of more methods than these trying all pairs takes too long, and says too little.
_MOST = 3
_OF_FORWARD, _OF_BACKWARD = ("x", "gamma", "beta"), 2


def unnamed_layers(name: str, cls: Any, declared: Declared) -> list[LayerClass]:
    """Return a candidate for each pair of methods of a class that may be its forward and its backward."""
    if not inspect.isclass(cls) or torch_base(cls, "Module") or torch_base(cls, "Function"):
        return []
    own = dict.fromkeys(n for base in cls.__mro__[:-1] for n in vars(base) if not n.startswith("_"))
    methods = [n for n in own if _takes_one(cls, n)]
    if len(methods) > _MOST:
        return []
    found = []
    for forward, backward in permutations(methods, 2):
        read = {n: _placed(getattr(cls, n), at, method=True) for n, at in ((forward, "x"), (backward, "dout"))}
        found.append(LayerClass(name, type(cls.__name__, (cls,), read), (forward, backward), declared))
    return found


def _takes_one(cls: type, name: str) -> bool:
    """Tell whether a method has to be handed one thing, and nothing else."""
    if not inspect.isfunction(inspect.getattr_static(cls, name)) or not takes(unbound(cls, name)):
        return False
    return [a.required for a in arguments(unbound(cls, name)) or ()].count(True) == 1


def unnamed_pairs(name: str, namespace: Namespace) -> list[FunctionPair]:
    """Return the pair of a function with the only other one of its file that takes two things, in both their orders.

    Where the names of its arguments say which is gamma and which is beta, names have to say which is its backward.
    """
    functions = {other: thing for other, thing in namespace.things.items() if is_function(thing)}
    forward = functions.get(name)
    if forward is None or _required(forward) != len(_OF_FORWARD):
        return []
    said = {argument.role for argument in arguments(forward) or ()}
    others = [n for n, thing in functions.items() if n != name and _required(thing) == _OF_BACKWARD]
    if {Role.GAMMA, Role.BETA} <= said or len(others) != 1 or kind(name) is not kind(others[0]):
        return []
    backward = others[0]
    return [
        FunctionPair(
            name,
            _placed(forward, *_OF_FORWARD),
            _placed(functions[backward], *order),
            (name, backward),
            namespace.declared,
        )
        for order in (("dout", "cache"), ("cache", "dout"))
    ]


def _required(function: Callable[..., Any]) -> int:
    return [a.required for a in arguments(function) or ()].count(True)


def _placed(function: Callable[..., Any], *names: str, method: bool = False) -> Callable[..., Any]:
    """Return a function whose first arguments are called so, unless their own names say what they are for."""
    signature = inspect.signature(function)
    own = list(signature.parameters.values())
    first = int(method)
    for place, name in enumerate(names, first):
        if own[place].name != name and not _says(own[place].name, name):
            own[place] = own[place].replace(name=name)
    called = [parameter.name for parameter in own]

    @wraps(function)
    def placed(*args: Any, **named: Any) -> Any:
        taken = dict(zip(called, args, strict=False)) | named
        known = [taken.pop(name) for name in called[: first + len(names)]]
        return function(*known, **taken)

    placed.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    return placed


def _says(own: str, name: str) -> bool:
    """Tell whether the name of an argument says by itself that it is what another one means."""
    return upstream_like(own) if name == "dout" else argument_role(own) is argument_role(name)
