"""Loading what a target refers to: a file, a module, or live objects, with one clear message where that fails."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from bncheck import guard
from bncheck.adapters.protocol import Namespace
from bncheck.errors import TargetError

_loaded: dict[tuple[str, int, int], ModuleType] = {}


class Source(NamedTuple):
    """A target reference taken apart: the file or module, and the name within it ("" for all)."""

    place: str
    name: str
    is_file: bool


def parse(text: str) -> Source:
    """Take ``file.py``, ``file.py::name`` or ``package.module:name`` apart."""
    place, double, name = text.partition("::")
    if double or place.endswith((".py", ".ipynb")) or os.path.exists(place):
        return Source(place, name, True)
    module, colon, name = place.partition(":")
    if colon and all(part.isidentifier() for part in module.split(".")):
        return Source(module, name, False)
    return Source(place, "", True)


def load(source: Source) -> Namespace:
    """Import what a reference names; raise TargetError that says what is wrong and what to do."""
    if source.is_file:
        path = Path(source.place)
        module = load_file(path)
        return Namespace(f"{path.name}::", things_of(module), module)
    module = _load_module(source.place)
    things = things_of(module)
    head = source.name.split(".")[0]
    if head and head not in things and hasattr(module, head):
        things = dict(vars(module))  # what the module only passes on is taken if it is asked for by name
    return Namespace(f"{source.place}:", things, module)


def load_file(path: Path) -> ModuleType:
    """Import a file as ``python file.py`` would find its neighbours, but under a name that clashes with nothing."""
    text = _read(path)
    stat = path.stat()
    key = (str(path.resolve()), stat.st_mtime_ns, stat.st_size)
    if key in _loaded:
        return _loaded[key]
    try:
        code = compile(text, str(path.resolve()), "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        shown = f": {error.text.strip()}" if error.text and error.text.strip() else ""
        raise TargetError(f"{path.name}{line}: not valid Python ({error.msg}){shown}") from None
    except ValueError as error:
        raise TargetError(f"{path.name}: not valid Python ({error})") from None
    module = ModuleType(f"bncheck_target_{path.stem}_{sha256(key[0].encode()).hexdigest()[:8]}")
    module.__file__ = key[0]
    with _importing(path.name, key[0], str(path.resolve().parent)):
        package = _package_name(path.resolve())
        if package and _is_relative(text):
            module = importlib.import_module(package)
        else:
            sys.modules[module.__name__] = module
            exec(code, module.__dict__)
    _loaded[key] = module
    return module


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise TargetError(f"{path} is a folder. Name a file in it: {path}/my_bn.py, or {path}/my_bn.py::name.")
    if path.suffix != ".py":
        known = "A target is file.py, file.py::name, or package.module:name."
        there = "is not a Python file" if path.exists() else "is not there, and is not a Python file"
        raise TargetError(f"{path} {there}. {known}")
    if not path.exists():
        near = sorted(p.name for p in path.parent.glob("*.py"))[:8] if path.parent.is_dir() else []
        beside = f" Python files there: {', '.join(near)}." if near else ""
        raise TargetError(f"{path}: no such file.{beside}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror}.") from None


def _package_name(path: Path) -> str:
    """Return the dotted name of a file that lives in a package, "" otherwise; put the package's folder on the path."""
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if len(parts) == 1:
        return ""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return ".".join(parts)


def _is_relative(text: bytes) -> bool:
    """Tell whether a file imports from its own package (``from .layers import ...``)."""
    return any(line.lstrip().startswith(b"from .") for line in text.splitlines())


def _load_module(name: str) -> ModuleType:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    with _importing(name, "", ""):
        return importlib.import_module(name)


@contextmanager
def _importing(label: str, file: str, folder: str) -> Iterator[None]:
    """Import with `folder` first on the path, and turn whatever the import raises into one message.

    Afterwards the folder is last on the path: imports inside the user's functions still work, but a file called
    random.py there cannot take the place of Python's own for anyone else.
    """
    if folder:
        sys.path.insert(0, folder)
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise TargetError(_explain(error, label, file)) from None
    finally:
        if folder:
            sys.path.remove(folder)
            if folder not in sys.path:
                sys.path.append(folder)


def _explain(error: BaseException, label: str, file: str) -> str:
    """Return what to say about an import that failed."""
    line = next((n for f, n in reversed(list(guard.user_lines(error))) if f == file), None)
    place = f" (line {line})" if line else f" ({guard.where(error)})" if guard.where(error) else ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        if error.name == label or label.startswith(f"{error.name}."):
            return f"{label}: there is no module {error.name!r} on the path. Run from the folder that holds it."
        return (
            f"{label} imports {error.name!r}{place}, which is not installed here. Install it, or, if the batch norm "
            "does not need it, move that import out of the way (into the function that uses it, or under try)."
        )
    if isinstance(error, SystemExit):
        return (
            f"{label} exits when it is imported{place}. Put what should only run as a script under "
            '`if __name__ == "__main__":`.'
        )
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{label} imports {Path(error.filename or '?').name}, which has a syntax error in line {error.lineno}."
    return f"importing {label} raised {type(error).__name__}: {guard.one_line(error)}{place}."


def things_of(module: ModuleType) -> dict[str, Any]:
    """Return the functions and classes that a module defines; if it defines none, those that it imported from files
    of the user's own.
    """  # noqa: D205
    own, passed_on = {}, {}
    for name, thing in vars(module).items():
        if name.startswith("__") or not (callable(thing) or inspect.isclass(thing)):
            continue
        home = getattr(thing, "__module__", None)
        if home == module.__name__ or (home in (None, "functools") and not inspect.isclass(thing)):
            own[name] = thing
        elif guard.is_user_file(getattr(sys.modules.get(home or ""), "__file__", None) or "<frozen>"):
            passed_on[name] = thing
    return own or {n: t for n, t in passed_on.items() if "site-packages" not in str(inspect.getmodule(t))}
