"""What a library that differentiates the code is not shown: statistics under ``torch.no_grad()``, or detached.

The gradient is then the library's, and no formula for it stands in the code: what is to be mended is the forward.
"""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Sequence
from functools import lru_cache

from bncheck.bugs.catalogue import Version
from bncheck.bugs.steps import Array, Steps
from bncheck.case import Case
from bncheck.lines.quantities import Values
from bncheck.lines.statements import Statement, statements_of
from bncheck.lines.trace import Execution

# How the libraries call it.
_BLOCKS = r"\b(no_grad|inference_mode|set_grad_enabled)\b"
_HIDES = re.compile(r"\.(detach|data|numpy|item|tolist)\b|\bstop_gradient\b")
# Rules of the code's own: a gradient may be theirs.
_OWN_RULE = re.compile(r"autograd\.Function|\(Function\)|custom_[jv]vp|custom_gradient|register_hook")


def mending(version: Version, returns: str, executions: Sequence[Execution]) -> str:
    """Return what to do where a library does not see what dx or a gradient lacks; "" where the code has own rules.

    Parameters
    ----------
    version : Version
        What is wrong.
    returns : str
        Whose backward it is (`Conventions.returns`).
    executions : sequence of Execution
        What ran.

    """
    what = _lost(version)
    if what is None or not returns.startswith("autograd of "):
        return ""
    if any(_OWN_RULE.search("".join(linecache.getlines(file))) for file in {e.statement.file for e in executions}):
        return ""
    said = (
        f"{returns.partition(';')[0]} does not see that y depends on {what[0]}: look for detach(), .data, no_grad(), "
    )
    return f"{said}stop_gradient() or a way through NumPy where it is worked out or used"


def hiding(case: Case, version: Version, executions: Sequence[Execution]) -> Statement | None:
    """Return the one statement that hides from the library what a gradient lacks; None of none, or of several.

    It detaches what the missing path goes through, or works it out in a block without gradients: then it is the block.
    Where the library traces the code, and no arrays are to be seen, the only one of its kind is taken.
    """
    what = _lost(version)
    if what is None:
        return None
    s = Steps(case)
    values = Values(
        [getattr(s, name) for name in what[1]] + ([1 / s.inv_std, s.var + s.eps] if "var" in what[1] else [])
    )
    found: dict[Statement, None] = {}
    held: dict[tuple[int, str], Array] = {}
    for e in executions:
        held |= {(e.call, path): a for path, a in e.makes.items()}
        # What is worked out once more, to the same value, is made there too.
        again = held.get((e.call, e.statement.sets))
        makes = any(a in values for a in (*e.makes.values(), *([] if again is None else [again])))
        block = _blocks_of(e.statement.file).get(e.statement.first)
        if block is not None:
            if makes and block != e.statement.first:
                found[statements_of(e.statement.file)[block]] = None
        elif _HIDES.search(e.statement.text) and (makes or any(a in values for a in e.reads.values())):
            found[e.statement] = None
    if all(array.size == 1 for e in executions for array in e.makes.values()):
        found = dict.fromkeys(e.statement for e in executions if _HIDES.search(e.statement.text))
    return next(iter(found)) if len(found) == 1 else None


def _lost(version: Version) -> tuple[str, tuple[str, ...]] | None:
    """Return what the library does not see where this is wrong, in words and as steps; None of what it is not about."""
    steps, gone = set(version.bug.steps), version.choice.text in ("", "0")
    if not gone:
        return None
    if steps == {"variance_path"}:
        return "the variance", ("var", "inv_std")
    if steps == {"mean_path"}:
        return "the mean", ("mu",)
    if steps == {"mean_path", "variance_path"}:
        return "mean and variance", ("mu", "var", "inv_std")
    if steps == {"dx"}:
        return "x", ("x", "mu", "var", "inv_std", "centred", "xhat")
    return {"dgamma": ("gamma", ("gamma",)), "dbeta": ("beta", ("beta",))}.get("".join(steps))


@lru_cache(maxsize=64)
def _blocks_of(file: str) -> dict[int, int]:
    """Return, for each line inside of a block (or a function) without gradients, the line where that begins."""
    source = "".join(linecache.getlines(file))
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # no source of Python: nothing is known of its blocks
        return {}
    found: dict[int, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.With):
            heads: list[ast.expr] = [item.context_expr for item in node.items]
        elif isinstance(node, ast.FunctionDef):
            heads = node.decorator_list
        else:
            continue
        if any(re.search(_BLOCKS, ast.unparse(head)) for head in heads):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                found.setdefault(line, node.lineno)
    return found
