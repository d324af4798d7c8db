"""Writing an adapter file: calls of user code that were seen become functions that make the same calls."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bncheck.adapters.adapter_words import ARGUMENTS
from bncheck.adapters.watching import EPS, MOMENTUM, Call, Observed, UnclearError, leaves

# Stands for what forward returned until it is known where an adapter keeps it.
_RESULT = "result_of_forward"


class Writer:
    """Writes calls that were seen as the functions of an adapter; `maker` is what makes a layer, "" for functions."""

    def __init__(self, seen: Observed, names: tuple[str, str], maker: str) -> None:
        self._seen, self._maker = seen, maker
        forwards = [call for call in seen.calls if call.name == names[0]]
        backwards = [call for call in seen.calls if call.name == names[1]]
        if len(forwards) != 1 or len(backwards) != 1:
            raise UnclearError("its parameters are there only after a first forward")
        self._forward, self._backward = forwards[0], backwards[0]
        self._made = next((call for call in seen.calls if call.name == "__init__"), None)
        if maker and self._made is None:
            raise UnclearError("nobody makes an object of that class: its methods are called by a library")
        self._given: dict[str, Any] = {"gamma": seen.gamma, "beta": seen.beta, "eps": EPS, "momentum": MOMENTUM}
        if "none" in seen.conventions.parameter_shape:
            del self._given["gamma"], self._given["beta"]
        # What is made once and lasts: dicts of options, running statistics.
        self._lasting = {n: v for n, v in self._forward.before.items() if isinstance(v, dict) or self._starts(v)}
        self._result_is_state = not maker and not self._lasting
        self._needs_result = self._result_is_state or "result" in self._backward_call()
        self._alone = bool(maker) and not self._lasting and not self._needs_result

    # ------------------------------------------------------------------------------------------------------- pieces

    @property
    def _layer(self) -> str:
        return "state" if self._alone else 'state["layer"]'

    @property
    def _result(self) -> str:
        return "state" if self._result_is_state else 'state["result"]'

    def _starts(self, value: Any) -> bool:
        """Tell what a running statistic may start with: zeros or ones, one per channel, or several of these."""
        if isinstance(value, tuple) and value:
            return all(self._starts(item) for item in value)
        size = self._seen.gamma.size
        return isinstance(value, np.ndarray) and value.size == size and bool(np.all(value == 0) or np.all(value == 1))

    def _expression(self, value: Any, known: Mapping[str, Any]) -> str:
        """Return what gives a value: one of those known, or a literal; raise UnclearError if nothing does."""
        for text, other in known.items():
            if _same(value, other):
                return text
        if value is None or isinstance(value, bool | int | float | str):
            return "channels" if type(value) is int and value == self._seen.gamma.size else _literal(value)
        if isinstance(value, dict):
            items = [f"{_literal(key)}: {self._expression(item, known)}" for key, item in value.items()]
            return f"{{{', '.join(items)}}}"
        if isinstance(value, tuple | list):
            inner = ", ".join(self._expression(item, known) for item in value)
            return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
        if self._starts(value):
            return "0 * gamma" if np.all(value == 0) else "0 * gamma + 1"
        raise UnclearError("it is called with something that bncheck has no name for")

    def _call(self, call: Call, texts: Mapping[str, str]) -> str:
        """Return the arguments of a call."""
        positional = [texts[name] for name in call.before if name in call.positional]
        named = [f"{name}={texts[name]}" for name in call.before if name not in call.positional]
        return f"({', '.join([*positional, *named])})"

    def _backward_call(self) -> str:
        """Return the arguments of backward: dy, what forward was given, and what it returned."""
        known = {"dy": self._seen.dy, "x": self._seen.x, **self._given}
        rest = self._forward.result
        if isinstance(rest, tuple) and len(rest) > 2:
            known |= {f"{_RESULT}[1:]": rest[1:], f"{_RESULT}[:-1]": rest[:-1]}
        known |= dict(leaves(rest, _RESULT))
        return self._call(self._backward, {n: self._expression(v, known) for n, v in self._backward.before.items()})

    def _found(self, value: Any, places: Iterable[tuple[str, Any]], what: str) -> str:
        """Return the place that holds a value."""
        for text, other in places:
            if _same(np.asarray(value), other):
                return text
        raise UnclearError(f"{what} was not found in what came back")

    # ---------------------------------------------------------------------------------------------------- functions

    def constants(self) -> str:
        """Return what the adapter states."""
        conventions, lines = self._seen.conventions, []
        if conventions.framework != "numpy":
            lines.append(f'framework = "{conventions.framework}"')
        lines.append(f'layout = "{", ".join(conventions.layouts)}"')
        if len(conventions.layouts) == 1 and conventions.parameter_shape != "none":
            lines.append(f'parameter_shape = "{conventions.parameter_shape}"')
        if conventions.eps is not None:
            lines.append(f"eps = {conventions.eps!r}  # hard-coded in the target, as measured")
        return "\n" + "\n".join(lines) + "\n"

    def functions(self) -> list[str]:
        """Return the text of every function."""
        parts = [self._open(), self._forward_lines(), self._backward_lines(), self._running()]
        words = ("open", "forward", "backward", "running_stats")
        return [function_text(word, lines) for word, lines in zip(words, parts, strict=True) if lines]

    def _open(self) -> list[str]:
        entries = {name: self._expression(value, self._given) for name, value in self._lasting.items()}
        made = [f"{_literal(name)}: {text}" for name, text in entries.items()]
        if self._made is None:
            return [f"return {{{', '.join(made)}}}"] if made else []
        texts = {name: self._expression(value, self._given) for name, value in self._made.before.items()}
        lines = [f"layer = {self._maker}{self._call(self._made, texts)}"]
        # What the layer held when forward began, and not when it was made, was put there.
        for name in ("gamma", "beta", "eps"):
            held = [t for t, v in self._forward.owner.items() if _same(v, self._given.get(name))]
            put = [text for text in held if not _same(self._made.owner.get(text), self._given[name])]
            lines += [f"layer.{text}{'[...]' * ('()' in text)} = {name}" for text in put]
        if self._alone:
            return [*lines, "return layer"] if lines[1:] else [f"return {lines[0].removeprefix('layer = ')}"]
        made.insert(0, '"layer": layer')
        return [*lines, f"return {{{', '.join(made)}}}"]

    def _forward_lines(self) -> list[str]:
        known = {"x": self._seen.x, **self._given}
        there, lines = self._seen.inference, []
        texts = {}
        for name, value in self._forward.before.items():
            other = there.before.get(name, value) if there else value
            if name in self._lasting:
                texts[name] = f"state[{_literal(name)}]"
                lines += self._switched(texts[name], value, other)
            else:
                switched = _by_mode(value, other)
                texts[name] = switched or self._expression(value, known)
        if self._maker and there:
            for text, value in self._forward.owner.items():
                if switched := _by_mode(value, there.owner.get(text, value)):
                    lines.append(f"{self._layer}.{text} = {switched}")
        called = self._layer + "." if self._maker else "module."
        call = f"{called}{self._forward.name}{self._call(self._forward, texts)}"
        places = list(leaves(self._forward.result, "result"))
        if places[0][1] is None:
            raise UnclearError("its forward returns nothing")
        y = self._found(self._seen.y, places, "y")
        if y == "result" and not self._needs_result:
            return [*lines, f"return {call}"]
        lines.append(f"result = {call}")
        if self._needs_result and not self._result_is_state:
            lines.append('state["result"] = result')
        lines += self._carried(places)
        return [*lines, f"return {y}, result" if self._result_is_state else f"return {y}"]

    def _switched(self, text: str, value: Any, other: Any) -> list[str]:
        """Return the lines that set the keys of lasting options which say the mode."""
        if not isinstance(value, dict) or not isinstance(other, dict):
            return []
        pairs = [(key, _by_mode(item, other.get(key, item))) for key, item in value.items()]
        return [f"{text}[{_literal(key)}] = {switched}" for key, switched in pairs if switched]

    def _carried(self, places: list[tuple[str, Any]]) -> list[str]:
        """Return the lines that hand what a forward returned, such as running statistics, to the next one."""
        lines = []
        for name, value in self._lasting.items():
            other = self._seen.second.before.get(name) if self._seen.second else None
            if other is not None and not isinstance(value, dict) and not _same(other, value):
                text = next((text for text, part in places if _same(other, part)), None)
                inner = [next((t for t, part in places if _same(o, part)), "") for o in other]
                text = text or (f"({', '.join(inner)})" if isinstance(other, tuple) and all(inner) else None)
                lines += [f"state[{_literal(name)}] = {text}"] if text else []
        return lines

    def _backward_lines(self) -> list[str]:
        gradients = self._seen.gradients
        assert gradients is not None
        wanted = ("dx", "dgamma", "dbeta") if "gamma" in self._given else ("dx",)
        call = (self._layer + "." if self._maker else "module.") + self._backward.name
        call += self._backward_call().replace(_RESULT, self._result)
        places = [*leaves(self._backward.result, "result")]
        held = [(f"{self._layer}.{text}", value) for text, value in self._seen.leaves.items()]
        texts = [self._found(getattr(gradients, name), [*places, *held], name) for name in wanted]
        plain = [f"result[{i}]" for i in range(len(wanted))]
        if texts == plain and len(self._backward.result) == len(plain) and isinstance(self._backward.result, tuple):
            return [f"return {call}"]
        if texts[0] == "result":
            return [f"dx = {call}", f"return {', '.join(['dx', *texts[1:]])}"]
        return [f"result = {call}", f"return {', '.join(texts)}"]

    def _running(self) -> list[str]:
        if self._seen.running is None or not self._seen.conventions.momentum_sense:
            return []
        held = [(f"{self._layer}.{text}", value) for text, value in self._seen.leaves.items()] if self._maker else []
        after = self._seen.second.before if self._seen.second else {}
        lasting = [part for n in self._lasting for part in leaves(after.get(n), f"state[{_literal(n)}]")]
        result = leaves(self._forward.result, self._result) if self._needs_result else ()
        places = [*held, *lasting, *result]
        try:
            texts = [self._found(value, places, "a running statistic") for value in self._seen.running]
        except UnclearError:
            return []
        return [f"return {', '.join(texts)}"]


def _same(value: Any, other: Any) -> bool:
    """Tell whether two values are the same numbers; gamma counts in any shape of so many numbers."""
    if isinstance(value, tuple | list) and isinstance(other, tuple | list):
        return len(value) == len(other) > 0 and all(map(_same, value, other))
    if isinstance(value, np.ndarray) and isinstance(other, np.ndarray):
        flat = value.size == other.size == max((*value.shape, 0)) == max((*other.shape, 0))
        return bool((value.shape == other.shape or flat) and np.array_equal(value.ravel(), other.ravel()))
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and len(value) > 0 and all(_same(value[k], other[k]) for k in value)
    return type(value) is type(other) is float and value == other


def _by_mode(value: Any, other: Any) -> str:
    """Return what tells the mode where training has one value and inference another, "" if they are equal."""
    if not isinstance(value, bool | str | int) or type(value) is not type(other) or value == other:
        return ""
    if isinstance(value, bool):
        return "train" if value else "not train"
    return f"{_literal(value)} if train else {_literal(other)}"


def _literal(value: Any) -> str:
    """Return a value as source has it, texts in double quotes."""
    return json.dumps(value) if isinstance(value, str) and value.isascii() else repr(value)


def function_text(word: str, lines: list[str]) -> str:
    """Return the text of one function, which asks for what its lines use."""
    body = "".join(f"    {line}\n" for line in lines)
    tree = ast.parse("".join(f"{line}\n" for line in lines if not line.startswith("return")) + "0")
    returned = [ast.parse(line.removeprefix("return ")) for line in lines if line.startswith("return")]
    used = {node.id for one in (tree, *returned) for node in ast.walk(one) if isinstance(node, ast.Name)}
    order = ("module", "state", "x", "dy", "gamma", "beta", "eps", "momentum", "channels", "dtype", "train", "mode")
    asked = [name for name in order if name in used and name in ARGUMENTS[word]]
    return f"\n\ndef {word}({', '.join(asked)}):\n{body}"
