"""Reading an adapter file: which of the words of a session it defines, what each asks for, what it states."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from dis import opmap
from functools import cached_property, reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from bncheck import guard
from bncheck.adapters.frameworks import FRAMEWORKS, NUMPY, Framework
from bncheck.adapters.standins import ABSENT
from bncheck.adapters.stated import Stated
from bncheck.errors import AdapterError, TargetError, UsageError
from bncheck.model import GRADIENTS, Declared
from bncheck.registry import did_you_mean

_OPENED = ("target", "module", "gamma", "beta", "eps", "momentum", "channels", "dtype")
# What each word may ask for.
ARGUMENTS = {
    "open": _OPENED,
    "forward": (*_OPENED, "state", "x", "train", "mode"),
    "backward": (*_OPENED, "state", "x", "train", "mode", "dy"),
    "running_stats": (*_OPENED, "state"),
}
NEEDED = ("forward", "backward")
STATISTICS = ("mean", "var")
# What an adapter may state, and of which type it is.
_CONSTANTS = {"layout": str, "parameter_shape": str, "eps": float, "framework": str}


@dataclass(frozen=True, slots=True)
class Word:
    """One function of an adapter, the arguments that it asks for, and where it is defined."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]
    place: str

    def call(self, values: dict[str, Any]) -> Any:
        """Call it with what it asks for; raise AdapterError for what its own code raises, and not the target's."""
        try:
            return self.function(**{name: values[name] for name in self.arguments})
        except (NotImplementedError, *ABSENT):
            raise  # these tell their story themselves
        except Exception as error:
            if not _slipped(error, self.file):
                raise
            said = f"{type(error).__name__}: {guard.one_line(error)}"
            raise AdapterError(f"{guard.where(error)}: {self.name} of the adapter raised {said}", error) from error

    @property
    def file(self) -> str:
        """The adapter file."""
        return str(getattr(inspect.unwrap(self.function), "__globals__", {}).get("__file__", ""))

    def __str__(self) -> str:
        return f"{self.name} ({self.place})"


@dataclass(frozen=True)
class Adaptation:
    """What an adapter file holds; `mentioned` are the attributes of the target's module that its text asks for."""

    words: dict[str, Word]
    stated: Stated
    framework: Framework
    mentioned: frozenset[str] = frozenset()

    @cached_property
    def asked(self) -> frozenset[str]:
        """Everything that its functions ask for."""
        return frozenset(name for word in self.words.values() for name in word.arguments)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Gamma or beta, if neither open nor forward asks for it: then the code does without."""
        given = {name for word in ("open", "forward") if word in self.words for name in self.words[word].arguments}
        return tuple(name for name in ("gamma", "beta") if name not in given)

    @cached_property
    def gradients(self) -> tuple[str, ...]:
        """What backward should return: the gradients of what the code is given."""
        return tuple(name for name in GRADIENTS if name[1:] not in self.missing)


def read(path: str, declared: Declared) -> Adaptation:
    """Import an adapter file; raise TargetError with file and line if it cannot be one."""
    file = Path(path)
    if file.suffix != ".py" or file.is_dir():
        raise TargetError(f"{path}: an adapter is a Python file, and this is none")
    if not file.exists():
        raise TargetError(
            f"{path}: there is no such adapter file. 'bncheck init --adapter TARGET' writes one to start from."
        )
    module = _imported(file)
    words = {name: _word(name, getattr(module, name), file.name) for name in ARGUMENTS if callable(_own(module, name))}
    if isinstance(kept := _own(module, "running_stats"), str):
        words["running_stats"] = _kept(kept, file.name)
    for name in NEEDED:
        if name not in words:
            defined = [n for n, thing in vars(module).items() if inspect.isfunction(thing) and n not in words]
            hint = did_you_mean(name, defined) if defined else "It defines no other function."
            raise TargetError(f"{file.name}: the adapter has no function {name}. {hint}")
    stated, framework = _stated(module, file.name), _framework(module, file.name, declared)
    nodes = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.Attribute)]
    mentioned = {n.attr for n in nodes if isinstance(n.value, ast.Name) and n.value.id in ("module", "target")}
    return Adaptation(words, stated, framework, frozenset(mentioned))


def _imported(file: Path) -> ModuleType:
    """Run a whole adapter file: unlike a target it is written for bncheck, and nothing in it is in the way."""
    module = ModuleType(f"bncheck_adapter_{file.stem}")
    module.__file__ = path = str(file.resolve())
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(file.resolve().parent))
    try:
        exec(compile(file.read_bytes(), path, "exec", dont_inherit=True), module.__dict__)
    except KeyboardInterrupt:
        raise
    except SyntaxError as error:
        raise TargetError(f"{file.name}, line {error.lineno}: not valid Python ({error.msg})") from None
    except BaseException as error:
        place = f" ({where})" if (where := guard.where(error)) else ""
        said = f"{type(error).__name__}: {guard.one_line(error)}"
        raise TargetError(f"{file.name}: importing the adapter raised {said}{place}") from None
    finally:
        # Last, so that imports inside its functions still work.
        folder = sys.path.pop(0)
        sys.path.extend([] if folder in sys.path else [folder])
    return module


def _slipped(error: BaseException, file: str) -> bool:
    """Tell whether it was a line of this file that raised, not what it called, and by no ``raise`` or ``assert``.

    What an adapter raises on purpose is its word for something that the target did.
    """
    innermost, step = None, error.__traceback__
    while step is not None:
        innermost = step if guard.is_user_file(step.tb_frame.f_code.co_filename) else innermost
        step = step.tb_next
    if innermost is None or innermost.tb_frame.f_code.co_filename != file:
        return False
    return innermost.tb_frame.f_code.co_code[innermost.tb_lasti] != opmap["RAISE_VARARGS"]


def _own(module: ModuleType, name: str) -> Any:
    return vars(module).get(name)


def _word(name: str, function: Any, file: str) -> Word:
    """Return one function of an adapter, or raise TargetError for an argument that nothing is known about."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    place = f"{file}:{code.co_firstlineno}" if code else file
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise TargetError(f"{place}: the signature of {name} cannot be read") from None
    asked = []
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in ARGUMENTS[name] and parameter.kind is not parameter.POSITIONAL_ONLY:
            asked.append(parameter.name)
        elif parameter.default is parameter.empty:
            known = did_you_mean(parameter.name, ARGUMENTS[name])
            raise TargetError(f"{place}: {name} asks for {parameter.name!r}, which it cannot be given. {known}")
    return Word(name, function, tuple(asked), place)


def _kept(said: str, file: str) -> Word:
    """Return the word for statistics that are said by where the state keeps them: "running_mean, running_var"."""
    names = [part.strip() for part in said.split(",")]
    if len(names) != len(STATISTICS) or not all(part.isidentifier() for name in names for part in name.split(".")):
        raise TargetError(f"{file}: running_stats should be a function, or two names like 'running_mean, running_var'")

    def running_stats(state: Any) -> tuple[Any, ...]:
        try:
            return tuple(reduce(_held, name.split("."), state) for name in names)
        except (AttributeError, KeyError, TypeError) as error:
            raise AdapterError(f"{file}: the state has no {said}: {guard.one_line(error)}", error) from error

    return Word("running_stats", running_stats, ("state",), file)


def _held(state: Any, name: str) -> Any:
    """Return the entry of a dict, or the attribute of anything else."""
    return state[name] if isinstance(state, dict) else getattr(state, name)


def _stated(module: ModuleType, file: str) -> Stated:
    for name, kind in _CONSTANTS.items():
        value = _own(module, name)
        if value is not None and not isinstance(value, (int, float) if kind is float else kind):
            raise TargetError(f"{file}: {name} should be a {kind.__name__}, not {value!r}")
    layout, eps = _own(module, "layout"), _own(module, "eps")
    stated = Stated(
        () if layout is None else tuple(part.strip() for part in layout.split(",")),
        _own(module, "parameter_shape"),
        None if eps is None else float(eps),
    )
    return stated.checked(file)


def _framework(module: ModuleType, file: str, declared: Declared) -> Framework:
    name = _own(module, "framework")
    if name in (None, NUMPY.name):
        return NUMPY
    try:
        return FRAMEWORKS.get(name)(declared.device)
    except UsageError as error:
        raise TargetError(f"{file}: {error}") from None
