"""A draft of an adapter for code that discovery could not run: what names and the source say, TODO where they do not.

The name TODO is defined nowhere: who runs a draft as it stands is told the line that is still to be written.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from bncheck.adapters.adapter_words import ARGUMENTS
from bncheck.adapters.adapter_writer import function_text
from bncheck.adapters.layer_class import method_pairs, unbound
from bncheck.adapters.plans import Argument, arguments
from bncheck.adapters.stems import match
from bncheck.adapters.torch_parts import torch_base
from bncheck.adapters.words import (
    STATISTICS,
    Kind,
    Role,
    argument_role,
    clarity,
    gradient_name,
    kind,
    says_gradient,
    says_train_or_test,
    size_like,
    stem,
    train_is_true,
    upstream_named,
    words,
)

TODO = "TODO"
_SAME = (Role.X, Role.GAMMA, Role.BETA, Role.EPS, Role.MOMENTUM)


class Held(NamedTuple):
    """Something that a layer keeps: the expression that leads there, its own name, and that of what holds it."""

    text: str
    name: str
    holder: str


def draft(things: dict[str, Any]) -> str:
    """Return the functions of an adapter for what reads as a batch norm among functions and classes, "" if nothing."""
    functions = {name: thing for name, thing in things.items() if inspect.isroutine(thing)}
    names = _pair(list(functions))
    if names is not None:
        return "".join(_of_functions(functions, names))
    for name, cls in things.items():
        if inspect.isclass(cls) and torch_base(cls, "Function") and _reads(name):
            return _of_autograd(name, cls)
        pairs = [names for _, names in method_pairs(cls)] if inspect.isclass(cls) else []
        chosen = next((names for names in pairs if _reads(*names)), pairs[0] if pairs and _reads(name) else None)
        if chosen is not None:
            return "".join(_of_class(name, cls, chosen))
    return ""


def _pair(names: Sequence[str]) -> tuple[str, str] | None:
    """Return the names of a forward and a backward that read as batch norm; "" for a backward that is not there."""
    for pair in match(names):
        if _reads(*pair[:2]):
            return pair[:2]
    backwards = [name for name in names if stem(name).direction == "backward"]
    forward = next((name for name in names if name not in backwards and _reads(name)), None)
    alike = (name for name in backwards if set(words(name)) & set(words(forward or "")))
    return None if forward is None else (forward, next(alike, ""))


def methods(cls: type) -> Iterator[str]:
    """Yield the methods of a class with their arguments, as the source has them."""
    for name, thing in vars(cls).items():
        found = arguments(unbound(cls, name)) if inspect.isfunction(thing) and not name.startswith("__") else None
        if found is not None:
            yield f"{name}({', '.join(a.name for a in found)})"


def _reads(*names: str) -> bool:
    return any(kind(name) is Kind.BN for name in names)


# ------------------------------------------------------------------------------------------------------------ functions


def _of_functions(functions: dict[str, Any], names: tuple[str, str]) -> Iterator[str]:
    forward, backward = names
    call = f"module.{forward}{_call(functions[forward], 'forward')}"
    comment = "  # y alone, or: y, and what backward needs (the state)"
    yield function_text("forward", [f"result = {call}", f"return result{comment}"])
    call = f"module.{backward}{_call(functions[backward], 'backward')}" if backward else TODO
    yield function_text("backward", [f"result = {call}", "return result  # dx, dgamma, dbeta"])


_AUTOGRAD = """
import torch

framework = "torch"


def forward({asked}):
    leaves = [tensor.detach().requires_grad_() for tensor in ({leaves})]
    {leaves} = leaves
    y = module.{name}.apply({given})
    return y.detach(), (y, leaves)


def backward(state, dy):
    return torch.autograd.grad(*state, dy)
"""


def _of_autograd(name: str, cls: type) -> str:
    """Return the adapter of a torch.autograd.Function: autograd calls its methods, and hands them their context."""
    found = arguments(getattr(cls, "forward")) or []  # noqa: B009 - what it holds is anybody's
    given = [_value(argument, "forward", TODO) for argument in found if argument.role is not Role.CACHE]
    leaves = [text for text in ("x", "gamma", "beta") if text in given]
    asked = ["module", *dict.fromkeys(text for text in given if text is not None and text in ARGUMENTS["forward"])]
    texts = [text for text in given if text is not None]
    return _AUTOGRAD.format(
        name=name, asked=", ".join(asked), leaves=", ".join(leaves) + "," * (len(leaves) == 1), given=", ".join(texts)
    )


def _of_class(name: str, cls: type, names: tuple[str, str]) -> Iterator[str]:
    held = list(_held(cls))
    forward, backward = names
    running = [_plain(held, role) for role in STATISTICS]
    if all(running):
        yield f'\nrunning_stats = "{", ".join(text.removeprefix("layer.") for text in running)}"\n'
    lines = [f"layer = module.{name}{_call(cls, 'open')}"]
    given = {a.role for a in (arguments(cls) or [])}
    forwards = arguments(unbound(cls, forward)) or []
    for role in (Role.GAMMA, Role.BETA):
        if role not in given | {a.role for a in forwards}:
            lines.append(f"{_parameter(held, role) or f'layer.{TODO}'} = {role}")
    yield function_text("open", [*lines, "return layer"])
    lines = []
    if not any(a.role is Role.MODE for a in forwards):
        switch = _plain(held, Role.MODE)
        said = "train" if train_is_true(switch) else "not train"
        lines = [f"{_of_state(switch)} = {said if says_train_or_test(switch) else 'mode'}"] if switch else []
    yield function_text("forward", [*lines, f"return state.{forward}{_call(unbound(cls, forward), 'forward')}"])
    least = 1 if kind(name) is Kind.BN else 2  # "dW" of a layer that has others beside is theirs
    gradients = [_of_state(_gradient(held, of, least)) or TODO for of in ("dgamma", "dbeta")]
    saved = _of_state(_plain(held, Role.CACHE)) or TODO
    call = f"state.{backward}{_call(unbound(cls, backward), 'backward', saved)}"
    if TODO in gradients:
        yield function_text("backward", [f"result = {call}", "return result  # dx, dgamma, dbeta"])
    else:
        yield function_text("backward", [f"dx = {call}", f"return dx, {', '.join(gradients)}"])


def _of_state(text: str) -> str:
    return text.replace("layer.", "state.", 1)


# ------------------------------------------------------------------------------------------------------------ arguments


def _call(function: Callable[..., Any], word: str, saved: str = "state") -> str:
    """Return the arguments of a call: what their names ask for, TODO for others that have to be there."""
    found = arguments(function)
    if found is None:
        return f"({TODO})"
    first = next((a.name for a in found if a.required and a.role in (None, Role.X)), None)
    main = {"forward": "x", "backward": "dy", "open": None}[word]
    said = [a.name for a in found if (upstream_named(a.name) if word == "backward" else a.role is Role.X)]
    named = said[0] if said else first
    parts, skipped = [], False
    for argument in found:
        text = main if main and argument.name == named else _value(argument, word, saved)
        if text is None:
            skipped = True
        else:
            parts.append(f"{argument.name}={text}" if skipped or argument.keyword_only else text)
    return f"({', '.join(parts)})"


def _value(argument: Argument, word: str, saved: str) -> str | None:
    """Return the expression for an argument, None where its default may stay."""
    role = argument.role
    if role in _SAME and (word != "open" or role is not Role.X):
        return str(role)
    if role is Role.MODE:
        if word == "open":
            return None if not argument.required else "True"
        return _mode(argument)
    if role is Role.CACHE and word == "backward":
        return saved
    if word == "open" and argument.required and size_like(argument.name):
        return "channels"
    return TODO if argument.required else None


def _mode(argument: Argument) -> str:
    if isinstance(argument.default, str) or not says_train_or_test(argument.name):
        return "mode"
    return "train" if train_is_true(argument.name) else "not train"


# ----------------------------------------------------------------------------------------------------- what layers keep


def _held(cls: type) -> Iterator[Held]:
    """Yield what the methods of a class, and of those it is built on, assign to ``self``."""
    for base in cls.__mro__[:-1]:
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError, ValueError):  # a base without a source says nothing
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
                yield from _target(node)
            elif isinstance(node, ast.Assign):
                for target, value in _assigned(node.targets[0], node.value):
                    keys = [key.value for key in value.keys if isinstance(key, ast.Constant)]
                    yield from (_entry(_attribute(target), key) for key in keys if isinstance(key, str))


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.Dict]]:
    """Yield the dicts of an assignment, of several things at once too, and what of ``self`` they become."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, other in zip(target.elts, value.elts, strict=True):
            yield from _assigned(one, other)
    elif isinstance(value, ast.Dict) and _attribute(target):
        yield target, value


def _target(node: ast.Attribute | ast.Subscript) -> Iterator[Held]:
    if isinstance(node, ast.Attribute) and (name := _attribute(node)):
        yield Held(f"layer.{name}", name, "")
    elif isinstance(node, ast.Subscript) and (holder := _attribute(node.value)):
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(key, str):
            yield _entry(holder, key)


def _entry(holder: str, key: str) -> Held:
    return Held(f"layer.{holder}[{json.dumps(key)}]", key, holder)


def _attribute(node: ast.AST) -> str:
    """Return the name of an attribute of ``self``, "" for any other expression."""
    of_self = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return node.attr if of_self and isinstance(node, ast.Attribute) else ""


def _clearest(found: list[Held]) -> str:
    """Return the expression of the one whose name says most clearly what it is, "" of none."""
    return max(found, key=lambda one: clarity(one.name)).text if found else ""


def _plain(held: list[Held], role: Role) -> str:
    return _clearest([one for one in held if argument_role(one.name) is role and not one.holder])


def _parameter(held: list[Held], role: Role) -> str:
    own = [one for one in held if gradient_name(one.name) is None and not says_gradient(one.holder)]
    return _clearest([one for one in own if argument_role(one.name) is role])


def _gradient(held: list[Held], of: str, least: int) -> str:
    """Return the expression of a gradient; `least` is how clearly its name has to say so."""
    named = [(one, gradient_name(one.name, marked=not says_gradient(one.holder))) for one in held]
    return _clearest([one for one, name in named if name is not None and name.of == of and name.clarity >= least])
