"""A return that is missing: code that computes, and runs off its end, is no stub."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bncheck.adapters.hidden import revealed
from bncheck.adapters.protocol import Candidate, Namespace
from bncheck.adapters.sources import source_tree

# What no Batch Normalization does without, forward or backward. A product may be of sizes: a stub has that, too.
_ARITHMETIC = (ast.Sub, ast.Div, ast.Pow)


def missing_return(namespace: Namespace, candidate: Candidate, name: str) -> str:
    """Return where a forward or a backward that computes something runs off its end; "" if it does not.

    Parameters
    ----------
    namespace : Namespace
        What the candidate was found in.
    candidate : Candidate
        The candidate.
    name : str
        The function, or the class and its method, as the candidate calls it.

    """
    owner, _, method = name.rpartition(".")
    thing = namespace.things.get(candidate.name if owner else name)
    function = getattr(thing, method, None) if owner else thing
    tree = source_tree(function) if inspect.isroutine(function) else None
    if not isinstance(tree, ast.FunctionDef):
        return ""
    run_through = list(_falling(tree.body))
    if not any(_computes(statement) for statement in run_through):
        return ""
    assert function is not None
    first, file = _place(function)
    return f"{file}:{first + max(s.end_lineno or s.lineno for s in run_through) - 1}"


def _place(function: Callable[..., Any]) -> tuple[int, str]:
    code = inspect.unwrap(revealed(function))
    return inspect.getsourcelines(code)[1], Path(inspect.getsourcefile(code) or "").name


def _falling(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that are run where a body is run to its end; nothing if it always returns or raises.

    Branches that return are left out: what they compute comes back.
    """
    if not body or _ends(body):
        return
    for statement in body:
        if not isinstance(statement, ast.If):
            yield statement
            continue
        yield from _falling(statement.body)
        yield from _falling(statement.orelse)


def _ends(body: Sequence[ast.stmt]) -> bool:
    """Tell whether a body never comes to its end."""
    for statement in body:
        if isinstance(statement, ast.Return | ast.Raise):
            return True
        if isinstance(statement, ast.If) and statement.orelse and _ends(statement.body) and _ends(statement.orelse):
            return True
        if isinstance(statement, ast.With) and _ends(statement.body):
            return True
        if isinstance(statement, ast.Try | ast.While | ast.For | ast.Match) and _returns(statement):
            return True  # it may
    return False


def _returns(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Return | ast.Raise) for node in ast.walk(statement))


def _computes(statement: ast.stmt) -> bool:
    """Tell whether a statement has arithmetic in it that is not of constants alone."""
    for node in ast.walk(statement):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, _ARITHMETIC):
            if any(isinstance(inner, ast.Name) for inner in ast.walk(node)):
                return True
    return False
