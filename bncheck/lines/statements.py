"""The statements of a source by line, and what each reads, from its syntax tree."""

from __future__ import annotations

import ast
import linecache
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Statement:
    """A simple statement, or the head of a compound one.

    Attributes
    ----------
    file : str
        The file name that its code carries.
    first, last : int
        Its lines.
    text : str
        Its source on one line.
    reads : tuple of str
        What it reads, as paths: "x", "self.gamma", "cache['xhat']"; with what is looked up on them ("x.mean").
    sets : str
        The one name (or attribute's name) that it sets; "" if it is none, or sets more.
    hands_on : bool
        Whether it sets that to something that is not made by a call or by collecting things.
    adds : bool
        Whether it sets that to a plain sum of two or more, each with its sign: ``dx = direct - mean - variance``.

    """

    file: str
    first: int
    last: int
    text: str
    reads: tuple[str, ...]
    sets: str
    hands_on: bool
    adds: bool


@lru_cache(maxsize=64)
def statements_of(file: str) -> dict[int, Statement]:
    """Return the innermost statement of each line of a file, or of a cell; nothing where there is no source."""
    lines = linecache.getlines(file)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return {}
    found: dict[int, Statement] = {}
    for node in ast.walk(tree):  # outer statements first: inner ones overwrite them
        if isinstance(node, ast.stmt):
            statement = _statement(node, file, lines)
            for number in range(statement.first, statement.last + 1):
                found[number] = statement
    return found


def _statement(node: ast.stmt, file: str, lines: list[str]) -> Statement:
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    first, last = node.lineno, node.end_lineno or node.lineno
    if body:
        last = max(first, min(last, getattr(body[0], "lineno", first + 1) - 1))
    text = " ".join(line.strip() for line in lines[first - 1 : last])
    parts = [child for child in ast.iter_child_nodes(node) if not body or not isinstance(child, ast.stmt)]
    reads = [path for part in parts for path in _reads(part)]
    if isinstance(node, ast.AugAssign):
        reads += _path(node.target)
    return Statement(file, first, last, text, tuple(dict.fromkeys(reads)), *_sets(node))


def _reads(node: ast.AST) -> list[str]:
    """Return the longest paths that an expression reads; inside of indices and calls too."""
    whole = _path(node)
    if whole and isinstance(getattr(node, "ctx", None), ast.Load):
        return whole
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return _reads(node.slice) if isinstance(node, ast.Subscript) else []
    return [path for child in ast.iter_child_nodes(node) for path in _reads(child)]


def _path(node: ast.AST) -> list[str]:
    """Return a name, or an attribute or constant item of one, as text; nothing for other expressions."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [f"{owner}.{node.attr}" for owner in _path(node.value)]
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return [f"{owner}[{node.slice.value!r}]" for owner in _path(node.value)]
    return []


def _sets(node: ast.stmt) -> tuple[str, bool, bool]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        target = node.target
    else:
        return "", False, False
    name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
    hands_on = isinstance(node.value, ast.Name | ast.Attribute | ast.BinOp | ast.UnaryOp | ast.Constant)
    adds = not isinstance(node, ast.AugAssign) and isinstance(node.value, ast.BinOp) and _is_sum(node.value)
    return name, bool(name) and hands_on, bool(name) and adds


def _is_sum(node: ast.AST) -> bool:
    """Tell whether an expression is a name, or a sum of names, each with its sign."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Sub) and _is_sum(node.left) and _is_sum(node.right)
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.UAdd | ast.USub) and _is_sum(node.operand)
    return bool(_path(node))
