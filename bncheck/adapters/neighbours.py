"""What stands beside a Batch Normalization as another operator, or as its helper, and is left alone where that runs."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from bncheck.adapters.function_pair import plain
from bncheck.adapters.inferring_classes import named_for_inference
from bncheck.adapters.mode_values import reachable
from bncheck.adapters.plans import Argument, arguments
from bncheck.adapters.protocol import Candidate, Namespace
from bncheck.adapters.sources import source_tree
from bncheck.adapters.words import Kind, Role, joined_layers, kind, output_like, upstream_like, words

# Words beside "batch norm" of an operator that does something more, or something else. What may as well be said of a
# plain one is not among them: "fused", "spatial", "affine", "time" (an axis), "parallel".
_MORE = frozenset(
    "act activation activate activated residual res skip shortcut add addition conditional cond ghost virtual sync "
    "synced synchronized synchronised synchronous distributed masked mask padded weighted adaptive ada adabn modulated "
    "renorm re frozen freeze fold folded folding quantized quantised quant".split()
)
# Layers that a plain one may be called after, for where it stands; one that does their work takes weights, and does not
# run as a plain one.
_PLACES = frozenset("affine conv convolution dense fc linear".split())
_ABOUT = frozenset("benchmark benchmarks bench profile profiled profiler timeit timed timing demo plot show".split())
_SEVERAL = frozenset("shards batches chunks microbatches minibatches replicas".split())
_DATA = frozenset({Role.X, Role.GAMMA, Role.BETA, Role.PARAMS, Role.CACHE, Role.DY})
_FEWEST = 3  # x, gamma, beta


def others(candidates: Iterable[Candidate], namespace: Namespace) -> dict[str, str]:
    """Return the names of candidates that are other operators or helpers by what they say, and what says so."""
    candidates = list(candidates)
    names = {candidate.name for candidate in candidates}
    why = {candidate.name: _named_for(candidate) or _taking(candidate, namespace) for candidate in candidates}
    inferring = (name for name in names if named_for_inference(name, namespace.things, names))
    why |= {name: "its name says inference" for name in inferring if not why[name]}
    return {name: said for name, said in why.items() if said}


def helpers(failed: Iterable[Candidate], bound: Iterable[Candidate], namespace: Namespace) -> dict[str, str]:
    """Return the names of candidates that cannot be run by themselves, and which of those that can calls them."""
    found: dict[str, str] = {}
    failed = list(failed)
    for caller in bound if failed else ():
        own = [thing for part in _heads(caller) if (thing := namespace.things.get(part)) is not None]
        called = {id(function) for function in reachable(*own)}
        for candidate in failed:
            function = _function(candidate.forward_name, namespace)
            if function is not None and id(function) in called and not _heads(candidate) & _heads(caller):
                found.setdefault(candidate.name, f"{caller.name} calls it")
    return found


def note_of_left(left: dict[str, str], label: str) -> str:
    """Return what a report says of what was left alone."""
    first = next(iter(left))
    said = ", ".join(f"{name} ({why})" for name, why in left.items())
    return f"left alone beside it: {said}; verified where it is named: {label}{first}"


def _named_for(candidate: Candidate) -> str:
    """Return what the names of a candidate say beside batch norm, "" if they say nothing more."""
    said: dict[str, None] = {}
    for name in (candidate.forward_name, candidate.backward_name):
        owner, _, method = name.rpartition(".")
        own = owner if kind(owner) is Kind.BN else method
        known = _MORE | _ABOUT | joined_layers(own) - _PLACES
        said |= dict.fromkeys(word for word in words(own) if word in known)
    return f"its name says {' and '.join(said)}" if said else ""


def _taking(candidate: Candidate, namespace: Namespace) -> str:
    """Return why the arguments of a pair of functions are not those of a Batch Normalization, "" if they may be."""
    forward, backward = (_function(name, namespace) for name in (candidate.forward_name, candidate.backward_name))
    if forward is None:
        return ""
    if _takes_no_data(forward, _FEWEST):
        return "it takes no data"
    if backward is not None and _takes_no_data(backward):
        return f"{candidate.backward_name} takes no data"
    given = arguments(forward) or []
    several = [a.name for a in given if a.required and set(words(a.name)) & _SEVERAL]
    if several:
        return f"it takes several batches, {several[0]}"
    written = [a.name for a in given if a.required and output_like(a.name)]
    return f"it writes into {written[0]}" if written and not _returns(forward) else ""


def _takes_no_data(function: Callable[..., Any], fewest: int = 0) -> bool:
    """Tell whether a function can be called without arguments, or with less than `fewest`, and none reads as data."""
    given = arguments(function)
    if given is None or any(map(_is_data, given)):
        return False
    return len(given) < fewest or not any(a.required for a in given)


def _is_data(argument: Argument) -> bool:
    if isinstance(argument.default, bool | int | float | str):
        return False  # ``batch=32``, ``dim=3``: a size
    return argument.role in _DATA or upstream_like(argument.name)


def _returns(function: Callable[..., Any]) -> bool:
    """Tell whether a function returns a value; one that does not show its source may."""
    tree = source_tree(function)
    nodes = ast.walk(tree) if isinstance(tree, ast.FunctionDef) else ()
    return tree is None or any(isinstance(node, ast.Return) and node.value is not None for node in nodes)


def _function(name: str, namespace: Namespace) -> Callable[..., Any] | None:
    thing = namespace.things.get(name)
    function = plain(thing) if thing is not None else None
    return function if inspect.isfunction(function) else None


def _heads(candidate: Candidate) -> set[str]:
    """Return the names of the functions or the class that a candidate is made of."""
    return {name.partition(".")[0] for name in (candidate.name, candidate.forward_name, candidate.backward_name)}
