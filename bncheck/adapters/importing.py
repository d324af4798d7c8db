"""Finding and loading the files that the user's file imports: its neighbours, its package, and nobody else's.

For the time of one load two finders stand on ``sys.meta_path``: one before all others, for the files beside the target
and for its package, and one behind them, for files in the folders above it. Both answer only imports that the user's
own code makes: a ``random.py`` of the user's is not offered to NumPy.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

from bncheck import guard
from bncheck.adapters.definitions import roots, statements_of
from bncheck.adapters.execution import Loading, Runner
from bncheck.adapters.standins import StandInFinder

# Libraries that a file of the user's never takes the place of.
_LIBRARIES = frozenset(
    "numpy scipy torch jax jaxlib tensorflow keras matplotlib pandas cupy numba autograd pytest bncheck".split()
)
# Where to stop looking for modules above the target: no project is deeper, and a home folder is no project.
_MAX_ABOVE = 4
# Modules of the user's own that are in sys.modules.
_found: set[str] = set()
_PROJECT = (".git", "pyproject.toml", "setup.py", "setup.cfg")


@dataclass
class Places:
    """Where modules of the user's own are looked for.

    Attributes
    ----------
    beside : list of str
        Folders whose modules come before all others.
    above : list of str
        Folders whose modules come after all others.
    packages : dict
        Folders of the packages around the target, by dotted name; what they are called on disk does not matter.
    module : ModuleType or None
        The target's module, if it was made before its statements are run.
    file : str
        The target's file, "" if it is not known.
    name : str
        The dotted name that the target is imported by, "" if it is no part of a package.

    """

    beside: list[str]
    above: list[str] = field(default_factory=list)
    packages: dict[str, Path] = field(default_factory=dict)
    module: ModuleType | None = None
    file: str = ""
    name: str = ""

    def in_package(self, dots: int) -> None:
        """Make the target a part of the package around it, if its relative imports have any dots."""
        if dots:
            path = Path(self.file)
            self.packages = package_around(path, dots)
            package = list(self.packages)[-1]
            self.name = package if path.stem == "__init__" else f"{package}.{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}"


class OwnLoader(SourceFileLoader):
    """Loads a file of the user's own: its definitions, and what is needed of the rest. No bytecode is written."""

    def __init__(self, name: str, path: str, loading: Loading) -> None:
        super().__init__(name, path)
        self._loading = loading

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's statements."""
        path, loading = Path(self.path), self._loading
        label = f"{path.parent.name}/{path.name}" if path.name == "__init__.py" else path.name
        try:
            tree = parsed(path.read_bytes(), self.path)
        except SyntaxError:
            if path.name == "__init__.py" and self.path != loading.target:
                return  # its neighbours may do without it
            raise
        runner = Runner(module, statements_of(tree, self.path), label, loading)
        runner.run(roots(runner.statements, loading.asked) if self.path == loading.target else None)


class _AliasLoader(SourceFileLoader):
    """Hands the target's module, which is being loaded already, to a neighbour that imports it."""

    def __init__(self, name: str, path: str, module: ModuleType) -> None:
        super().__init__(name, path)
        self._module = module

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Its statements are being run."""


class OwnFinder:
    """Finds modules of the user's own, for the user's own code."""

    def __init__(self, folders: Sequence[str], places: Places, loading: Loading, late: bool = False) -> None:
        self._folders, self._places, self._loading, self._late = list(folders), places, loading, late

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module of the user's own, None for any other."""
        spec = self._find(name, path)
        if spec is not None:
            _found.add(name)
        return spec

    def _find(self, name: str, path: Sequence[str] | None) -> ModuleSpec | None:
        if name in self._places.packages:
            return self._package(name, self._places.packages[name])
        if name == self._places.name:
            loader = OwnLoader(name, self._places.file, self._loading)
            return spec_from_file_location(name, self._places.file, loader=loader)
        if path is None and (name in _LIBRARIES or not asked_by_user(self._late)):
            return None
        spec = PathFinder.find_spec(name, self._folders if path is None else path)
        if spec is None:
            return self._otherwise_spelled(name, self._folders if path is None else path)
        if spec.origin is None:
            return spec if path is None and _holds_python(spec) else None
        if not isinstance(spec.loader, SourceFileLoader) or not guard.is_written_file(spec.origin):
            return None
        if path is None and os.path.realpath(spec.origin) == self._places.file:
            return self._target(name, spec.origin)
        spec.loader = OwnLoader(name, os.path.realpath(spec.origin), self._loading)
        return spec

    def _otherwise_spelled(self, name: str, folders: Sequence[str]) -> ModuleSpec | None:
        """Return the spec of a file or folder that only a file system blind to upper and lower case would find."""
        last = name.rpartition(".")[2]
        for place in (Path(folder) for folder in folders if guard.is_written_file(folder) and os.path.isdir(folder)):
            for found in sorted(place.iterdir()):
                if found.stem.lower() != last.lower() or found.stem == last:
                    continue
                if found.suffix == ".py":
                    loader = OwnLoader(name, str(found), self._loading)
                    spec = spec_from_file_location(name, found, loader=loader)
                elif found.is_dir() and _holds_python(spec := self._package(name, found)):
                    pass  # the specification is made in the condition
                else:
                    continue
                self._loading.book.note(f"{name} is taken from {found.name}, which is spelled otherwise")
                return spec
        return None

    def _package(self, name: str, folder: Path) -> ModuleSpec:
        init = folder / "__init__.py"
        if not init.is_file():
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [str(folder)]
            return spec
        loader = OwnLoader(name, str(init), self._loading)
        found = spec_from_file_location(name, init, loader=loader, submodule_search_locations=[str(folder)])
        assert found is not None
        return found

    def _target(self, name: str, file: str) -> ModuleSpec | None:
        """Return the target's own module for an import of its name, unless a library has that name."""
        elsewhere = [folder for folder in sys.path if folder not in self._folders]
        if self._places.module is None or name in sys.stdlib_module_names or PathFinder.find_spec(name, elsewhere):
            return None
        return ModuleSpec(name, _AliasLoader(name, file, self._places.module), origin=file)


def asked_by_user(late: bool) -> bool:
    """Tell whether the import that is going on was asked for by code of the user's.

    Parameters
    ----------
    late : bool
        Whether the target is loaded already; before, bncheck itself may ask for it.

    """
    frame = sys._getframe(1)
    own = __file__
    loading = os.path.join(os.path.dirname(own), "loading.py")
    while frame is not None:
        file = frame.f_code.co_filename
        if (
            file != own
            and not file.startswith("<frozen importlib")
            and os.path.basename(os.path.dirname(file)) != "importlib"
        ):
            return guard.is_written_file(file) or (file == loading and not late)
        frame = frame.f_back  # type: ignore[assignment]
    return True


def _holds_python(spec: ModuleSpec) -> bool:
    """Tell a folder of modules without __init__.py from a folder of data."""
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    return any(next(folder.glob(pattern), None) for folder in folders for pattern in ("*.py", "*/*.py"))


def parsed(text: bytes, file: str) -> ast.Module:
    """Return a source as a tree; a source that imports Keras has its backend chosen first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text, file)
        compile(text, file, "exec", dont_inherit=True)  # what only the compiler objects to
    prepare_keras(text)
    return tree


def prepare_keras(text: bytes) -> None:
    """Let the adapter for Keras choose a backend for a source that imports it, before Keras chooses one itself."""
    if "KERAS_BACKEND" in os.environ or not re.search(rb"^\s*(?:import|from)\s+keras\b", text, re.MULTILINE):
        return
    from bncheck.adapters.keras_code import prepare

    prepare()


def folders_above(folder: Path) -> list[str]:
    """Return the folders above one, up to the one that is the project's."""
    found: list[str] = []
    for above in [folder, *folder.parents][: _MAX_ABOVE + 1]:
        found.append(str(above))
        if any((above / mark).exists() for mark in _PROJECT):
            break
    return [above for above in found[1:] if above not in (str(Path.home()), os.sep)]


@contextlib.contextmanager
def importing(loading: Loading, places: Places) -> Iterator[None]:
    """Let the user's modules be found inside the block, and keep stand-ins for what is missing to it.

    Afterwards a finder stays behind all others: imports inside the user's functions still work.
    """
    stand_ins = StandInFinder(loading.book)
    finders = [OwnFinder(places.beside, places, loading), OwnFinder(places.above, places, loading), stand_ins]
    argv, sys.argv = sys.argv, [loading.target]
    sys.meta_path.insert(0, finders[0])  # type: ignore[arg-type]
    sys.meta_path.extend(finders[1:])  # type: ignore[arg-type]
    loading.book.open = True
    try:
        with guard.quiet_import(), _without_windows():
            yield
    finally:
        loading.book.open = False
        for finder in finders:
            sys.meta_path.remove(finder)  # type: ignore[arg-type]
        stand_ins.withdraw()
        sys.argv = argv
        _stay(OwnFinder([*places.beside, *places.above], places, loading, late=True))


@contextlib.contextmanager
def _without_windows() -> Iterator[None]:
    """Let what is plotted inside the block open no window."""
    backend = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = backend or "Agg"
    try:
        yield
    finally:
        if backend is None:
            os.environ.pop("MPLBACKEND", None)


def _stay(finder: OwnFinder) -> None:
    """Let the finder of the latest target answer what the user's functions import when they are called."""
    sys.meta_path[:] = [other for other in sys.meta_path if not isinstance(other, OwnFinder)]
    sys.meta_path.append(finder)


def forget_earlier_targets() -> None:
    """Take the modules of earlier targets out of ``sys.modules``: two folders may both have a ``layers.py``."""
    guard.forget_replaced()
    for name in _found:
        sys.modules.pop(name, None)
    _found.clear()


def package_around(path: Path, dots: int) -> dict[str, Path]:
    """Return the packages that a file lives in, outermost first: as many as have an ``__init__.py``, or as its relative
    imports have dots. Folder names that are no module names, or are taken, are spelled differently.
    """  # noqa: D205
    folders: list[Path] = []
    for folder in path.parents:
        if not (folder / "__init__.py").is_file() and len(folders) >= dots:
            break
        folders.insert(0, folder)
    found: dict[str, Path] = {}
    name = ""
    for folder in folders:
        part = re.sub(r"\W", "_", folder.name) or "root"
        if not name and _is_taken(part, folder):
            part = f"{part}_of_the_target"
        name = f"{name}.{part}" if name else part
        found[name] = folder
    return found


def _is_taken(name: str, folder: Path) -> bool:
    there = sys.modules.get(name)
    other = there is not None and str(folder) not in list(getattr(there, "__path__", []))
    return other or name in _LIBRARIES or name in sys.stdlib_module_names
