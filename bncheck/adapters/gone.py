"""Names that are gone from Python or NumPy, and what stands for them today.

They are only ever added where they are missing; nothing that is there is replaced. Python 2's built-in functions are
put into the globals of the module that asks for them, never into ``builtins``.
"""

from __future__ import annotations

import ast
import builtins
import collections.abc
import functools
import importlib
import inspect
import math
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np


class Today(NamedTuple):
    """What a name that is gone stands for, and how a note spells it."""

    value: Any
    spelled: str


def _old_getargspec(function: Any) -> tuple[Any, ...]:
    """Return what ``inspect.getargspec`` did: the first four fields of its successor."""
    return inspect.getfullargspec(function)[:4]


def _msort(a: Any) -> Any:
    return np.sort(a, axis=0)


def _asscalar(a: Any) -> Any:
    return np.asarray(a).item()


def _in1d(a: Any, b: Any, **how: Any) -> Any:
    return np.isin(np.ravel(a), b, **how)


def _asfarray(a: Any, dtype: Any = np.float64) -> Any:
    return np.asarray(a, dtype=dtype if np.issubdtype(dtype, np.inexact) else np.float64)


def _numpy(names: str) -> dict[str, Today]:
    """Return entries of a table "old=new"; the new names are NumPy's own."""
    pairs = (pair.split("=") for pair in names.split())
    return {old: Today(getattr(np, new), f"np.{new}") for old, new in pairs if hasattr(np, new)}


_NUMPY = {
    **_numpy(
        "product=prod cumproduct=cumprod sometrue=any alltrue=all Inf=inf Infinity=inf PINF=inf infty=inf NaN=nan "
        "NAN=nan row_stack=vstack trapz=trapezoid float_=float64 complex_=complex128 unicode_=str_ "
        "string_=bytes_ round_=round singlecomplex=complex64 cfloat=complex128 longfloat=longdouble mat=asmatrix "
        "rank=ndim"
    ),
    **{
        name: Today(getattr(builtins, name), f"Python's {name}")
        for name in ("int", "float", "bool", "object", "complex", "str")
    },
    "long": Today(int, "Python's int"),
    "unicode": Today(str, "Python's str"),
    "NINF": Today(-np.inf, "-np.inf"),
    "NZERO": Today(-0.0, "-0.0"),
    "PZERO": Today(0.0, "0.0"),
    "in1d": Today(_in1d, "np.isin"),
    "msort": Today(_msort, "np.sort along axis 0"),
    "asfarray": Today(_asfarray, "np.asarray of floats"),
    "asscalar": Today(_asscalar, ".item()"),
    "math": Today(math, "math"),
    "warnings": Today(warnings, "warnings"),
}
BUILTINS = {
    "xrange": Today(range, "range"),
    "unicode": Today(str, "str"),
    "basestring": Today(str, "str"),
    "long": Today(int, "int"),
    "unichr": Today(chr, "chr"),
    "raw_input": Today(input, "input"),
    "reduce": Today(functools.reduce, "functools.reduce"),
    "range": Today(range, "range"),
    "zip": Today(zip, "zip"),
    "map": Today(map, "map"),
    "filter": Today(filter, "filter"),
    "input": Today(input, "input"),
    "str": Today(str, "str"),
    "int": Today(int, "int"),
    "object": Today(object, "object"),
    "print_function": Today(None, "print"),
}
_GONE: dict[str, dict[str, Today]] = {
    "numpy": _NUMPY,
    "collections": {n: Today(getattr(collections.abc, n), f"collections.abc.{n}") for n in collections.abc.__all__},
    "inspect": {"getargspec": Today(_old_getargspec, "inspect.getfullargspec")},
    "time": {"clock": Today(time.perf_counter, "time.perf_counter")},
    "sys": {"maxint": Today(sys.maxsize, "sys.maxsize")},
    "math": {},
    "fractions": {"gcd": Today(math.gcd, "math.gcd")},
    "itertools": {
        "izip": Today(zip, "zip"),
        "imap": Today(map, "map"),
        "ifilter": Today(filter, "filter"),
    },
}
# Modules by the name they had in Python 2, or before they were removed.
_MODULES = {
    "cPickle": "pickle", "Queue": "queue", "ConfigParser": "configparser", "StringIO": "io", "cStringIO": "io",
    "__builtin__": "builtins", "urllib2": "urllib.request", "Tkinter": "tkinter", "imp": "importlib",
}  # fmt: skip
_added: dict[str, str] = {}


def put_back(module: str, name: str) -> str | None:
    """Add a name to the module that it is gone from; return the note about it, None if it is not gone."""
    spelled = f"{'np' if module == 'numpy' else module}.{name}"
    if spelled in _added:
        return _added[spelled]
    today, owner = _GONE.get(module, {}).get(name), sys.modules.get(module)
    if today is None or owner is None or _is_there(owner, name):
        return None
    setattr(owner, name, today.value)
    _added[spelled] = f"put back: {spelled}, as {today.spelled}"
    return _added[spelled]


def put_back_module(name: str) -> str | None:
    """Give a module its old name in ``sys.modules``; return the note about it, None if the name is not a known one."""
    today = _MODULES.get(name)
    if today is None:
        return None
    try:
        sys.modules[name] = importlib.import_module(today)
    except ImportError:  # it is not installed: the import error of the code itself tells
        return None
    return f"put back: module {name}, as {today}"


def _is_there(owner: ModuleType, name: str) -> bool:
    with warnings.catch_warnings():  # numpy 1 warns of np.bool before it says that it is gone
        warnings.simplefilter("ignore")
        return name in vars(owner) or hasattr(owner, name)


def used_in(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for every use of a name that may be gone, imports among them."""
    seen = [inner for node in nodes for inner in ast.walk(node)]
    aliases = {"np": "numpy"} | {name: name for name in _GONE}
    for node in seen:
        if isinstance(node, ast.Import):
            aliases |= {alias.asname: alias.name for alias in node.names if alias.asname and alias.name in _GONE}
    for node in seen:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in aliases and node.attr in _GONE[aliases[node.value.id]]:
                yield aliases[node.value.id], node.attr
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module in _GONE:
            yield from ((node.module, alias.name) for alias in node.names if alias.name in _GONE[node.module])


def missed_by(error: BaseException) -> tuple[str, str] | None:
    """Return (module, name) of the name that an exception says is gone from a module, None if it says no such thing."""
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType) and error.name:
        return error.obj.__name__, error.name
    if isinstance(error, ImportError) and error.name and str(error).startswith("cannot import name"):
        return error.name, str(error).split("'")[1]
    return None


def missing_builtins(names: Iterable[str]) -> dict[str, Today]:
    """Return what stands for those of the names that were built into Python 2 and are not today."""
    return {name: BUILTINS[name] for name in names if name in BUILTINS and not hasattr(builtins, name)}
