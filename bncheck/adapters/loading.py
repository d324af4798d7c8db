"""Loading what a target refers to: a file, a notebook or a module, with one clear message where that fails."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import inspect
import os
import re
import sys
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from bncheck import guard
from bncheck.adapters import gone, notebooks
from bncheck.adapters.definitions import Statement, dots_in, roots, statements_of
from bncheck.adapters.dependence import without_dependent
from bncheck.adapters.execution import Loading, Runner
from bncheck.adapters.import_errors import explain, explaining, is_python_2
from bncheck.adapters.importing import (
    Places,
    folders_above,
    forget_earlier_targets,
    importing,
    parsed,
    prepare_keras,
)
from bncheck.adapters.other_code import as_program
from bncheck.adapters.protocol import Namespace
from bncheck.adapters.scripted import unscripted
from bncheck.adapters.standins import stands_for_something
from bncheck.errors import TargetError

# Modules of one installed package whose source is read for names that are gone; more would take seconds.
_MAX_MODULES = 200


class Source(NamedTuple):
    """A target reference taken apart: the file or module, and the name within it ("" for all)."""

    place: str
    name: str
    is_file: bool


class _Loaded(NamedTuple):
    """A module that was loaded, and how, so that it can be asked for more."""

    module: ModuleType
    loading: Loading
    places: Places


_loaded: dict[tuple[str, int, int, bool], _Loaded] = {}
# The folder that a worker began in: user code may go to another one, and the names of files are from here.
home: Path | None = None


def parse(text: str) -> Source:
    """Take ``file.py``, ``file.py::name``, ``notebook.ipynb::name`` or ``package.module:name`` apart."""
    place, double, name = text.partition("::")
    is_file = place.endswith((".py", ".ipynb")) or os.path.exists(place)
    if double and not is_file and "." in place and all(part.isidentifier() for part in place.split(".")):
        return Source(place, name, False)  # a module, with the colons of a file
    if double or is_file:
        return Source(place, name, True)
    module, colon, name = place.partition(":")
    if colon and not module.endswith(_ENDINGS) and all(part.isidentifier() for part in module.split(".")):
        return Source(module, name, False)
    return Source(place, "", True)


def load(source: Source, stand_ins: bool = True) -> Namespace:
    """Import what a reference names, as far as its batch norm needs it.

    Parameters
    ----------
    source : Source
        The reference.
    stand_ins : bool
        Whether modules that are not installed are replaced, names that are gone put back, and imports that fail left
        out; else they are errors.

    Raises
    ------
    TargetError
        If it cannot be loaded; the message says what is wrong and what to do.

    """
    if source.is_file:
        path = Path(source.place)
        label, prefix = path.name, f"{path.name}::"
        found = _load_file(path, source.name, stand_ins)
    else:
        label, prefix = source.place, f"{source.place}:"
        found = _load_module(source, stand_ins)
    things = things_of(found.module)
    runner = _runner_of(found)
    if not things and runner is not None:
        things = _things_of_all(found, runner, label)
    head = source.name.split(".")[0]
    if head and head not in things and callable(getattr(found.module, head, None)):
        # What the module only passes on is taken if it is asked for by name.
        things = {name: thing for name, thing in vars(found.module).items() if _is_thing(name, thing)}
    return Namespace(prefix, without_dependent(things, head, prefix), found.module, found.loading.notes())


def _load_file(path: Path, asked: str, stand_ins: bool) -> _Loaded:
    """Load a file, or a notebook, under a name that clashes with nothing; once."""
    place = path if home is None else home / path
    file = place.resolve()
    known = [key for key in _loaded if (key[0], key[3]) == (str(file), stand_ins)]
    if known and home is not None and not file.exists():  # it has deleted itself: what was read of it goes on
        return _ask(_loaded[known[-1]], asked, path.name)
    text, stat = _read(path, place), place.stat()
    key = (str(file), stat.st_mtime_ns, stat.st_size, stand_ins)
    if key in _loaded:
        return _ask(_loaded[key], asked, path.name)
    statements = _statements(place, text)
    forget_earlier_targets()
    loading = Loading(path.name, str(file), asked, stand_ins)
    places = Places([str(file.parent)], folders_above(file.parent), file=str(file))
    if path.suffix == ".py":
        places.in_package(dots_in(statements))
    with explaining(path.name, str(file)), importing(loading, places):
        if places.name:
            module = importlib.import_module(places.name)
        else:
            module = places.module = _new_module(file)
            Runner(module, statements, path.name, loading).run(roots(statements, asked))
    _loaded[key] = _Loaded(module, loading, places)
    return _ask(_loaded[key], asked, path.name)


def _ask(found: _Loaded, asked: str, label: str) -> _Loaded:
    """Run what a name needs that was not asked for when the module was loaded."""
    runner = _runner_of(found)
    if runner is not None and runner.left:
        with explaining(label, found.loading.target), importing(found.loading, found.places):
            runner.need(roots(runner.statements, asked))
    return found


def _runner_of(found: _Loaded) -> Runner | None:
    return next((runner for runner in found.loading.runners if runner.module is found.module), None)


def _new_module(file: Path) -> ModuleType:
    stem = re.sub(r"\W", "_", file.stem)
    module = ModuleType(f"bncheck_target_{stem}_{sha256(str(file).encode()).hexdigest()[:8]}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module
    return module


def _statements(path: Path, text: bytes) -> list[Statement]:
    """Return a file's statements; raise TargetError for what is no Python, or no notebook."""
    file = str(path.resolve())
    if path.suffix == ".ipynb":
        return notebooks.statements(path.name, file, text)
    try:
        return statements_of(parsed(text, file), file)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        shown = f": {error.text.strip()}" if error.text and error.text.strip() else ""
        old = " It looks like Python 2: convert it first (2to3, or by hand)." if is_python_2(error, text) else ""
        raise TargetError(f"{path.name}{line}: not valid Python ({error.msg}){shown}{old and '.'}{old}") from None
    except ValueError as error:
        raise TargetError(f"{path.name}: not valid Python ({error})") from None


# How many files a message lists.
_MOST_FILES = 8


def _beside(path: Path) -> str:
    """Return a sentence about the files beside one that is not there: those of a near name, else the first."""
    there = sorted(p.name for p in path.parent.glob(f"*{path.suffix}")) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=3, cutoff=0.75)
    if near:
        return f" Did you mean {' or '.join(str(path.parent / name) for name in near)}?"
    kind_of_file = "Python files" if path.suffix == ".py" else "Notebooks"
    more = f" and {len(there) - _MOST_FILES} more" if len(there) > _MOST_FILES else ""
    return f" {kind_of_file} there: {', '.join(there[:_MOST_FILES])}{more}." if there else ""


_ENDINGS = (".py", ".ipynb")


def _inside(path: Path, place: Path) -> str:
    """Return a sentence about the files in a folder that may be meant."""
    names = sorted(p.name for p in place.iterdir() if p.suffix in _ENDINGS and p.is_file())
    if not names:
        return f"It holds no Python file and no notebook: name one elsewhere, {path}/folder/my_bn.py."
    more = f" and {len(names) - _MOST_FILES} more" if len(names) > _MOST_FILES else ""
    return f"Name a file in it: {', '.join(str(path / name) for name in names[:_MOST_FILES])}{more}."


def _read(path: Path, place: Path) -> bytes:
    """Return what stands in a file; `path` is how the user called it."""
    if place.is_dir():
        raise TargetError(f"{path} is a folder. {_inside(path, place)}")
    if path.suffix not in _ENDINGS:
        meant = [f"{path}{ending}" for ending in _ENDINGS if Path(f"{place}{ending}").is_file()]
        if meant and not place.exists():
            raise TargetError(f"{path} is not there. Did you mean {' or '.join(meant)}?")
        file, colon, name = str(path).rpartition(":")
        if colon and file.endswith(_ENDINGS):
            raise TargetError(f"{path} is not there. Did you mean {file}::{name}?")
        known = "A target is file.py, file.py::name, notebook.ipynb, or package.module:name."
        there = "is not a Python file" if place.exists() else "is not there, and is not a Python file"
        raise TargetError(f"{path} {there}. {as_program(path) or known}")
    if not place.exists():
        raise TargetError(f"{path}: no such file.{_beside(path)}")
    try:
        return place.read_bytes()
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror}.") from None


# ---------------------------------------------------------------------------------------------------------- modules


def _load_module(source: Source, stand_ins: bool) -> _Loaded:
    """Import ``package.module``, from the current folder, from ``src`` in it, or from what is installed."""
    name, folder = source.place, Path.cwd()
    loading = Loading(name, name, source.name, stand_ins)
    places = Places([str(folder), *([str(folder / "src")] if (folder / "src").is_dir() else [])])
    forget_earlier_targets()
    prepare_keras(f"import {name}".encode())
    with explaining(name, ""), importing(loading, places):
        while True:
            try:
                module = importlib.import_module(name)
                break
            except (ImportError, AttributeError) as error:
                if not loading.repairs(error):
                    raise
        runner = next((runner for runner in loading.runners if runner.module is module), None)
        if runner is not None:
            runner.need(roots(runner.statements, source.name))
        elif stand_ins:
            _put_back_in_package(name, loading)
    return _Loaded(module, loading, places)


def _put_back_in_package(name: str, loading: Loading) -> None:
    """Put back the names that are gone and that the functions of an installed package use."""
    root = name.split(".")[0]
    if root in sys.stdlib_module_names or root in ("bncheck", "numpy"):
        return
    found = [m for n, m in list(sys.modules.items()) if n == root or n.startswith(f"{root}.")]
    modules = [module for module in found if isinstance(module, ModuleType)]  # anything may be put there
    for module in modules[:_MAX_MODULES]:
        for owner, gone_name in _gone_used_by(module):
            if owner in sys.modules:
                loading.note(gone.put_back(owner, gone_name))


@functools.lru_cache(maxsize=4 * _MAX_MODULES)
def _gone_used_by(module: ModuleType) -> tuple[tuple[str, str], ...]:
    """Return the names that may be gone and that a module of an installed package uses; nothing where none can tell."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return ()
    return tuple(dict.fromkeys(gone.used_in([tree])))


# ----------------------------------------------------------------------------------------------------------- things


def _things_of_all(found: _Loaded, runner: Runner, label: str) -> dict[str, Any]:
    """Return what a module defines whose definitions alone are nothing; say what kept it from defining anything."""
    with explaining(label, found.loading.target), importing(found.loading, found.places):
        runner.run_the_rest()
    things = things_of(found.module)
    failed = [error for _, error in runner.failures] or found.loading.missing
    if not things and failed:
        raise TargetError(explain(failed[0], label, found.loading.target))
    return things


def things_of(module: ModuleType) -> dict[str, Any]:
    """Return the functions and classes that a module defines; if it defines none, those that it imported from files
    of the user's own, or from its own package.
    """  # noqa: D205
    own, passed_on = {}, {}
    for name, thing in vars(module).items():
        if not _is_thing(name, thing):
            continue
        thing = unscripted(thing)
        home = getattr(thing, "__module__", None)
        home = home if isinstance(home, str) else None
        if home == module.__name__ or (home in (None, "functools") and not inspect.isclass(thing)):
            own[name] = thing
        elif home is not None and _is_near(module, home):
            passed_on[name] = thing
    return own or passed_on


def _is_thing(name: str, thing: Any) -> bool:
    dunder = name.startswith("__")
    return not dunder and not stands_for_something(thing) and (callable(thing) or inspect.isclass(thing))


def _is_near(module: ModuleType, home: str) -> bool:
    """Tell whether a module is a file of the user's, or a part of the same package."""
    file = getattr(sys.modules.get(home), "__file__", None) or "<frozen>"
    if "site-packages" in file:
        return home.split(".")[0] == module.__name__.split(".")[0]
    return guard.is_user_file(file)
