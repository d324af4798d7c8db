"""Stand-ins: objects in the place of what is not there, which fail, clearly, only where batch norm really uses them.

A :class:`StandIn` takes the place of a module that is not installed, and of all that is got out of it. While the user's
module is loaded it goes along with everything; afterwards any use raises :class:`NotInstalledError`. A :class:`LeftOut`
takes the place of a variable whose statement was not run, and any use of it raises :class:`NotLoadedError`.
"""

from __future__ import annotations

import builtins
import difflib
import functools
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from bncheck.adapters import lacked
from bncheck.adapters.gone import BUILTINS

# What to install where the name of the distribution is another one than that of the module.
_DISTRIBUTIONS = {
    "cv2": "opencv-python", "PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image", "yaml": "pyyaml",
    "Image": "pillow", "pylab": "matplotlib", "mpl_toolkits": "matplotlib",
}  # fmt: skip
# What code of this kind imports: a name that is nearly one of these is a slip, and not a module to be installed.
_WELL_KNOWN = ("numpy", "scipy", "torch", "jax", "flax", "keras", "tensorflow", "matplotlib", "pandas", "autograd")
# Packages that carry Python 2's names over to Python 3.
_COMPATIBILITY = frozenset({"past", "six", "future", "__builtin__"})
_OPERATORS = [
    *"add sub mul truediv floordiv mod pow matmul and or xor lshift rshift divmod".split(),
    *(f"r{name}" for name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift divmod".split()),
    *"neg pos abs invert lt le gt ge getitem contains".split(),
]
_NUMBERS = "array float int index complex".split()


class NotInstalledError(Exception):
    """Code that runs now uses a module that is not installed."""


class _NotInstalledAttributeError(AttributeError):
    """The same for an attribute that would have come from a missing base class; ``hasattr`` must say no."""


class NotLoadedError(NameError):
    """Code that runs now uses a variable whose statement was left out when its file was loaded."""


# What stands for "it is not there" in code that runs.
ABSENT = (NotInstalledError, _NotInstalledAttributeError, NotLoadedError)


def misspelt(name: str) -> str:
    """Return the well-known module that a name is nearly, "" if there is none, and for what is called after one."""
    found = next(iter(difflib.get_close_matches(name, _WELL_KNOWN, n=1, cutoff=0.8)), "")
    return "" if name.startswith(found) else found


class Book:
    """The stand-ins of one load: what they belong to, and whether that is over.

    Parameters
    ----------
    user : str
        Whose imports they stand for ("my_bn.py").

    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.open = True
        self.reasons: dict[str, str] = {}
        self.put_back: list[str] = []

    def reason_for(self, name: str) -> tuple[str, str] | None:
        """Return the missing module that a dotted name belongs to and why it is missing, None if it is not missing."""
        parts = name.split(".")
        for count in range(len(parts), 0, -1):
            root = ".".join(parts[:count])
            if root in self.reasons:
                return root, self.reasons[root]
        return None

    def note(self, text: str) -> None:
        """Keep a note about what was put back, once."""
        if text not in self.put_back:
            self.put_back.append(text)

    def notes(self) -> list[str]:
        """Return what was replaced, in the order in which it was missed."""
        shown = [name for name in self.reasons if name.split(".")[0] not in _COMPATIBILITY]
        return [f"stand-in for {name} ({self.reasons[name]})" for name in shown] + self.put_back

    def complaint(self, path: str) -> str:
        """Return what to say about a use of ``module.name``."""
        root, reason = self.reason_for(path) or (path, "not installed")
        if reason != "not installed":
            return f"{self.user} uses {path}, and for {root} there is {reason}"
        if meant := misspelt(root):
            return f"{self.user} uses {path}, and no module {root} is found. Did you mean {meant}?"
        name = _DISTRIBUTIONS.get(root.split(".")[0], root.split(".")[0])
        how = f" (pip install {name})" if name != root else ""
        return f"{self.user} uses {path}, and {root} is not installed: install it{how}"


class _Absent:
    """An object every use of which ends in `_used`."""

    def _used(self) -> Any:
        raise NotImplementedError

    def __deepcopy__(self, memo: object) -> Any:
        return self

    def __copy__(self) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        self._used()
        return iter(())

    def __len__(self) -> int:
        self._used()
        return 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._used()

    def __setitem__(self, key: object, value: object) -> None:
        self._used()

    def __enter__(self) -> Any:
        return self._used()

    def __exit__(self, *what: object) -> None:
        return None


def _operator(self: _Absent, *operands: object) -> Any:
    return self._used()


for _name in _OPERATORS:
    setattr(_Absent, f"__{_name}__", _operator)


class StandIn(_Absent):
    """What stands for a missing module, or for something in it.

    It is false, no instance of anything and nothing is an instance of it, as if it were not there: code that asks
    whether it may use the library gets its answer.
    """

    def __init__(self, book: Book, path: str) -> None:
        self._book, self._path = book, path
        # Not the library's name: nobody shall take it for the library.
        self.__name__ = self.__qualname__ = f"stand-in for {path}"

    def _used(self) -> Any:
        if not self._book.open:
            raise NotInstalledError(complaint_of(self))
        return StandIn(self._book, self._path.removesuffix("()") + "()")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._path.split(".")[0] in _COMPATIBILITY and name in BUILTINS:
            if not hasattr(builtins, name):
                self._book.note(f"put back: {name}, as {BUILTINS[name].spelled}")
            return BUILTINS[name].value
        if self._path.endswith("()"):
            return self._used()
        inner = StandIn(self._book, f"{self._path}.{name}")
        self.__dict__[name] = inner
        return inner

    def __bool__(self) -> bool:
        return False

    def __instancecheck__(self, instance: object) -> bool:
        return False

    def __subclasscheck__(self, subclass: type) -> bool:
        return False

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (_base_for(self._book, self._path),)


def _convert(self: StandIn, *how: object, **more: object) -> Any:
    raise NotInstalledError(complaint_of(self))


for _name in _NUMBERS:
    setattr(StandIn, f"__{_name}__", _convert)


class Lacking:
    """Base of the classes whose own base class is missing."""

    _bncheck_book: Book
    _bncheck_path = ""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass  # it takes whatever the missing class would have taken

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        make = lacked.container(type(self), name)
        if make is not None:
            self.__dict__[name] = make()
            return self.__dict__[name]
        raise _NotInstalledAttributeError(f"{complaint_of(type(self))} (its {name} is asked for)")


def complaint_of(thing: type[Lacking] | StandIn) -> str:
    """Return what to say about a use of a stand-in, or of a class whose base is missing."""
    if isinstance(thing, StandIn):
        return thing._book.complaint(thing._path.removesuffix("()"))
    return thing._bncheck_book.complaint(thing._bncheck_path)


def _base_for(book: Book, path: str) -> type:
    name = path.removesuffix("()").rsplit(".", 1)[-1]
    return type(name, (Lacking,), {"_bncheck_book": book, "_bncheck_path": path, "__module__": __name__})


class LeftOut(_Absent):
    """What stands for a variable that was not set: `story` tells why."""

    def __init__(self, story: str) -> None:
        self._story = story

    def _used(self) -> Any:
        raise NotLoadedError(self._story)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._used()

    def __bool__(self) -> bool:
        return bool(self._used())


def _convert_left_out(self: LeftOut, *how: object, **more: object) -> Any:
    return self._used()


for _name in _NUMBERS:
    setattr(LeftOut, f"__{_name}__", _convert_left_out)


def left_out(thing: object) -> str:
    """Return why a variable was not set, "" for anything that is there."""
    return thing._story if isinstance(thing, LeftOut) else ""


def stands_for_something(thing: object) -> bool:
    """Tell a stand-in of either kind from real things."""
    return isinstance(thing, _Absent)


def applied(decorator: Any) -> Callable[[Any], Any]:
    """Return a decorator itself, or one that leaves functions as they are in the place of a stand-in."""
    inner = decorator.func if isinstance(decorator, functools.partial) else decorator
    return (lambda thing: thing) if isinstance(inner, StandIn) else decorator


class StandInFinder:
    """Finds the modules that a book has reasons for; stands last on ``sys.meta_path`` while a module is loaded."""

    def __init__(self, book: Book) -> None:
        self._book = book

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of a stand-in, None for a module that nobody gave up."""
        if self._book.reason_for(name) is None:
            return None
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the stand-in."""
        module = StandIn(self._book, spec.name)
        module.__dict__.update(__version__="0.0.0", __path__=[], __file__=None, __doc__=None)
        return module  # type: ignore[return-value]

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""

    def withdraw(self) -> None:
        """Take the stand-ins out of ``sys.modules``, and out of real packages that they were imported into."""
        for name in [name for name, module in sys.modules.items() if isinstance(module, StandIn)]:
            del sys.modules[name]
            parent, _, child = name.rpartition(".")
            owner = vars(sys.modules[parent]) if isinstance(sys.modules.get(parent), ModuleType) else {}
            if isinstance(owner.get(child), StandIn):
                delattr(sys.modules[parent], child)
