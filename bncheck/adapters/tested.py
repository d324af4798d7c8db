"""What code tests: arguments and attributes, bare or compared with a value; one of them may be its mode switch.

``if self.learning``, ``stage == "fit"``, ``self.mode is Mode.LEARN``: no list of names has them all. Most of what code
tests is about something else (``affine``, ``debug``), so that a proposal counts only where numbers prove it
(:mod:`bncheck.adapters.mode_proof`).
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from enum import Enum
from itertools import permutations
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from bncheck.adapters.frameworks import functions_of
from bncheck.adapters.mode_values import mode_key, reachable, text_pair, turn_arguments
from bncheck.adapters.modes import Switch, setting
from bncheck.adapters.plans import Plan, arguments
from bncheck.adapters.sources import source_tree
from bncheck.adapters.words import words

# To try such a flag might leave files behind.
_LASTING = frozenset("save write dump export store log plot draw show load download delete remove".split())
# Of more values than that, pairs are too many to try, and they are hardly modes.
_MOST_VALUES = 6
# What a required argument that nothing is known about was given.
_GUESSES = ("eps", "params", "train", "momentum", "none")
_NORMALISING = frozenset({"lower", "upper", "strip", "casefold", "title"})


class Tested(NamedTuple):
    """How an argument or attribute is tested: whether bare, and the values that it is compared with."""

    bare: bool
    values: tuple[Any, ...]


def attributes_tested(layer: Any, name: str = "") -> list[Switch]:
    """Return what the attributes that the methods of a layer test may be turned to; with `name` of that one alone."""
    found = []
    functions = functions_of(type(layer))
    counted = set() if name else _counted(functions)
    for attribute, how in _tested(functions, type(layer), own=True).items():
        if attribute in counted or attribute not in ("", name or attribute):
            continue
        value = inspect.getattr_static(layer, attribute, inspect.Parameter.empty)
        if not isinstance(value, property) and value is not _UNSET:
            found += [Switch(f"attribute {attribute}", setting(attribute, pair)) for pair in _pairs(how, value)]
    return found


def arguments_tested(
    forward: Callable[..., Any], plan: Plan, functions: Iterable[Any], name: str = ""
) -> list[tuple[Switch, Plan]]:
    """Return what arguments of a forward that are tested may be turned to, each with the plan that turns them.

    Parameters
    ----------
    forward : callable
        The forward (a bound method for a class).
    plan : Plan
        How it is called so far.
    functions : iterable of callable
        The functions that may test them, under the same name.
    name : str
        The argument that the user says is the mode, "" for those that may be left out and that nothing is known of.

    """
    found = []
    functions = list(functions)
    tests = _tested(functions, None, own=True) | _tested(functions, None, own=False)  # self.stage = stage
    bound = dict(plan.bound)
    for argument in arguments(forward) or ():
        free = argument.role is None and bound.get(argument.name) in (_GUESSES if argument.required else (None,))
        if not (argument.name == name if name else free) or argument.positional_only:
            continue
        how = tests.get(argument.name, Tested(bool(name), ()))
        for pair in _pairs(how, None if argument.required else argument.default):
            switch = Switch(f"argument {argument.name}", turn_arguments)
            found.append((switch, giving(plan, argument.name, mode_key(*pair))))
    return found


_UNSET = inspect.Parameter.empty


def giving(plan: Plan, name: str, key: str) -> Plan:
    """Return the plan with another key for one argument, given by name if it was not given."""
    bound = dict(plan.bound)
    if name not in bound:
        return replace(plan, named=(*plan.named, (name, key)), bound=(*plan.bound, (name, key)))
    place = list(bound).index(name)
    before = plan.positional
    positional = (*before[:place], key, *before[place + 1 :]) if place < len(before) else before
    named = tuple((n, key if n == name else k) for n, k in plan.named)
    return Plan(positional, named, tuple((bound | {name: key}).items()))


# ------------------------------------------------------------ values


def _pairs(how: Tested, value: Any) -> list[tuple[Any, Any]]:
    """Return the pairs of values for training and for inference that a test suggests, the present one first."""
    known = _known(how, value.item() if isinstance(value, np.bool_) else value)
    return list(permutations(known, 2)) if len(known) <= _MOST_VALUES else []


def _known(how: Tested, value: Any) -> list[Any]:
    """Return the values that tell an argument or attribute from its other state, the present one first."""
    said = [*([value] if _is_plain(value) else []), *how.values]
    enums = [type(one) for one in said if isinstance(one, Enum)]
    if enums:
        return _unlike([*said, *enums[0]])
    if how.bare and (value is None or (isinstance(value, int) and value in (0, 1))):
        said += [1, 0] if isinstance(value, int) and not isinstance(value, bool) else [True, False]
    said = _unlike(said)
    if how.values and (len(said) == 1 or isinstance(said[0], str)):  # stage in ("fit", "learn"), and anything else
        said.append(_other(said))
    return said


def _other(known: list[Any]) -> Any:
    """Return a value that is none of those which code compares with."""
    value = known[0]
    if isinstance(value, str):
        pair = text_pair([text for text in known if isinstance(text, str)])
        return next((text for text in (*reversed(pair), "train", "test", "") if text not in known), value + "_")
    return not value if isinstance(value, bool) else 1 - value if value in (0, 1) else value + 1


def _unlike(values: Iterable[Any]) -> list[Any]:
    """Return values once each; 1 and True are two."""
    # A member of an enumeration need have no hash of its own.
    return list({(type(one), one.name if isinstance(one, Enum) else one): one for one in values}.values())


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | str | Enum)


# ------------------------------------------------------------ the source


def _counted(functions: Iterable[Any]) -> set[str]:
    """Return the attributes that the code itself moves on: counters, and what a function both tests and sets.

    They are its state (``self.seen += 1``, ``if not self.initialised: ...``): to hold them still breaks right code.
    """
    found = set()
    for function in functions:
        tree = source_tree(function)
        if not isinstance(tree, ast.FunctionDef) or not tree.args.args or tree.name == "__init__":
            continue
        first = tree.args.args[0].arg
        nodes = list(ast.walk(tree))
        tested = {_name(subject, first) for node in nodes for subject, _ in _tests(node)}
        for node in nodes:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in (part for whole in targets for part in getattr(whole, "elts", [whole])):
                name = "" if target is None else _name(target, first)
                if name and (isinstance(node, ast.AugAssign) or name in tested):
                    found.add(name)
    return found


def _tested(functions: Iterable[Any], owner: type | None, *, own: bool) -> dict[str, Tested]:
    """Return what functions test, by name: attributes of their first argument if `own`, else variables."""
    found: dict[str, Tested] = {}
    for function in functions:
        tree = source_tree(function)
        if not isinstance(tree, ast.FunctionDef):
            continue
        first = tree.args.args[0].arg if tree.args.args else ""
        scope = dict(getattr(function, "__globals__", {})) | ({first: owner} if owner is not None else {})
        for subject, with_what in (test for node in ast.walk(tree) for test in _tests(node)):
            name = _name(subject, first if own else "")
            if not name or set(words(name)) & _LASTING:
                continue
            so_far = found.get(name, Tested(bare=False, values=()))
            values = () if with_what is None else tuple(_values(with_what, scope))
            found[name] = Tested(so_far.bare or with_what is None, tuple(_unlike((*so_far.values, *values))))
    return found


def _tests(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST | None]]:
    """Yield what a node of a source tests, and what it compares it with; None for what is tested bare."""
    if isinstance(node, ast.If | ast.IfExp):
        yield node.test, None
    elif isinstance(node, ast.BoolOp):
        yield from ((value, None) for value in node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand, None
    elif isinstance(node, ast.Compare):
        yield node.left, node.comparators[0]
        yield node.comparators[0], node.left
    elif isinstance(node, ast.Match):
        patterns = [pattern for case in node.cases for pattern in ast.walk(case.pattern)]
        yield from ((node.subject, pattern.value) for pattern in patterns if isinstance(pattern, ast.MatchValue))


def _name(node: ast.AST, first: str) -> str:
    """Return the attribute of the first argument, or the variable, that an expression is; "" of any other."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _NORMALISING:
        node = node.func.value  # stage.lower() == "fit"
    if first:
        own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == first
        return node.attr if own and isinstance(node, ast.Attribute) else ""
    return node.id if isinstance(node, ast.Name) else ""


def _values(node: ast.AST, scope: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the literals, constants of a module and members of an enumeration that an expression stands for."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        for element in node.elts:
            yield from _values(element, scope)
        return
    value = _constant(node, scope)
    yield from (one for one in (value if isinstance(value, tuple | list | frozenset) else [value]) if _is_plain(one))


def _constant(node: ast.AST, scope: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return scope.get(node.id)
    if isinstance(node, ast.Attribute):
        holder = _constant(node.value, scope)
        # What a property of the user's would answer is nobody's constant.
        return getattr(holder, node.attr, None) if isinstance(holder, type | Enum | ModuleType) else None
    return None


def functions_asked(function: Callable[..., Any], layer: Any = None) -> list[Any]:
    """Return the functions that may test an argument of a forward: those that it names, the methods of its layer."""
    return reachable(function, *([type(layer)] if layer is not None else []))
