"""Which statements at the top level of a module only define something: they cost nothing and touch nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
_ASSIGNMENTS = (ast.Assign, ast.AnnAssign, ast.AugAssign)
_BUILTINS = frozenset(
    "abs bool bytes complex dict divmod enumerate filter float frozenset getattr hasattr hash int isinstance "
    "issubclass iter len list map max min next object pow property range repr reversed round set setattr slice sorted "
    "staticmethod classmethod str sum super tuple type zip xrange NotImplementedError".split()
)
# Modules that compute, configure or describe; what reads, writes, waits or ends is named below.
_MODULES = frozenset(
    "numpy math cmath collections functools itertools operator typing typing_extensions dataclasses enum re string "
    "time datetime random decimal fractions abc types copy warnings logging sys os pathlib contextlib platform inspect "
    "textwrap threading numbers statistics scipy torch jax tensorflow keras cupy autograd numba __future__".split()
)
_TOUCHING = frozenset(
    "load loads loadtxt genfromtxt fromfile fromregex save savez savez_compressed savetxt memmap tofile dump dumps "
    "open read read_text read_bytes write write_text write_bytes mkdir unlink rmdir rename touch sleep exit _exit "
    "abort system popen chdir makedirs remove removedirs replace symlink link walk listdir scandir fork kill exec "
    "execv stdin input download get_file datasets data hub io utils show savefig fit train compile run test".split()
)
# Of these two only the parts that describe or configure.
_ONLY = {
    "os": frozenset("path environ getcwd getenv fspath sep name cpu_count".split()),
    "sys": frozenset("path setrecursionlimit getrecursionlimit getsizeof modules version_info".split()),
}
# Methods of built-in objects and arrays that cost nothing.
_METHODS = frozenset(
    "add append astype capitalize clear copy count decode encode endswith extend format get index insert items join "
    "keys lower lstrip pop ravel remove replace reshape reverse rstrip setdefault sort split splitlines startswith "
    "strip title transpose update upper values view zfill".split()
)
_PLOTTING = frozenset({"matplotlib", "seaborn", "pylab", "plotly"})
_EXPENSIVE = (ast.Await, ast.Yield, ast.YieldFrom)


def is_cheap(node: ast.expr, modules: dict[str, str]) -> bool:
    """Tell whether evaluating an expression costs nothing and touches nothing outside the module.

    Parameters
    ----------
    node : ast.expr
        The expression.
    modules : dict
        The dotted origin of every imported name.

    """
    for inner in _evaluated(node):
        if isinstance(inner, _EXPENSIVE) or (isinstance(inner, ast.Call) and not _is_cheap_call(inner.func, modules)):
            return False
    return True


def _evaluated(node: ast.AST) -> list[ast.AST]:
    """Return the nodes that are evaluated with an expression: not the insides of its lambdas."""
    found, waiting = [], [node]
    while waiting:
        inner = waiting.pop()
        found.append(inner)
        if not isinstance(inner, ast.Lambda):
            waiting += ast.iter_child_nodes(inner)
    return found


def _is_cheap_call(function: ast.expr, modules: dict[str, str]) -> bool:
    path = _dotted(function)
    if path:
        head, *rest = path
        if head in modules:
            return _is_cheap_path([*modules[head].split("."), *rest])
        if not rest:
            return head in _BUILTINS
    return isinstance(function, ast.Attribute) and function.attr in _METHODS


def _is_cheap_path(path: list[str]) -> bool:
    root, rest = path[0], path[1:]
    if root in _ONLY and not (rest and rest[0] in _ONLY[root]):
        return False
    return root in _MODULES and not _TOUCHING & set(rest)


def _dotted(node: ast.expr) -> list[str]:
    """Return ["np", "random", "seed"] for ``np.random.seed``, [] for what is no dotted name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return [node.id, *parts] if isinstance(node, ast.Name) else []


def is_harmless(node: ast.stmt, modules: dict[str, str]) -> bool:
    """Tell whether a statement can be left out without a word: a print, an assertion, the looks of plots."""
    if isinstance(node, ast.Assert | ast.Pass):
        return True
    if not isinstance(node, ast.Expr):
        return False
    if not isinstance(node.value, ast.Call):
        return isinstance(node.value, ast.Name | ast.Attribute | ast.Constant)
    path = _dotted(node.value.func)
    if not path:
        return isinstance(node.value.func, ast.Attribute) and _dotted_call(node.value.func) == "get_ipython"
    origin = [*modules[path[0]].split("."), *path[1:]] if path[0] in modules else path
    if origin[0] in _PLOTTING:
        return bool({"style", "rc", "use", "rcParams", "set", "set_theme", "set_style"} & set(origin[1:]))
    return path in (["print"], ["display"])


def _dotted_call(node: ast.Attribute) -> str:
    """Return "f" for ``f().method``."""
    inner = node.value
    return inner.func.id if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) else ""


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a statement and what is in it, but for the inside of functions and classes."""
    yield node
    if not isinstance(node, (*DEFINITIONS, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from outside_functions(child)


def is_plain(node: ast.stmt, modules: dict[str, str]) -> bool:
    """Tell definitions, imports and constants, also under ``if``, ``try`` and ``with``, from what does something."""
    if isinstance(node, (*DEFINITIONS, *IMPORTS, ast.Pass, ast.Global)) or _is_main_guard(node):
        return True
    if isinstance(node, _ASSIGNMENTS):
        return node.value is None or is_cheap(node.value, modules)
    if isinstance(node, ast.Expr):
        return is_cheap(node.value, modules) and not is_harmless(node, modules)
    if any(isinstance(inner, DEFINITIONS) for inner in outside_functions(node)):
        return True
    if isinstance(node, ast.If):
        return is_cheap(node.test, modules) and _all_plain(node.body + node.orelse, modules)
    if isinstance(node, ast.Try):
        handled = [statement for handler in node.handlers for statement in handler.body]
        only_imports = _all_plain(node.body, modules) and any(isinstance(inner, IMPORTS) for inner in node.body)
        return only_imports or _all_plain([*node.body, *handled, *node.orelse, *node.finalbody], modules)
    if isinstance(node, ast.With):
        return all(is_cheap(item.context_expr, modules) for item in node.items) and _all_plain(node.body, modules)
    return False


def _all_plain(nodes: Iterable[ast.stmt], modules: dict[str, str]) -> bool:
    return all(is_plain(node, modules) or is_harmless(node, modules) for node in nodes)


def _is_main_guard(node: ast.stmt) -> bool:
    """Recognise ``if __name__ == "__main__":``; its test is false, so that running it runs nothing."""
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare) or node.orelse:
        return False
    sides = [node.test.left, *node.test.comparators]
    named = any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
    return named and isinstance(node.test.ops[0], ast.Eq)
