"""What a run is asked to do: one frozen type, read from the command line or from ``[tool.bncheck]``."""

from __future__ import annotations

import dataclasses
import math
import os
import threading
import tomllib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bncheck.case import DTYPES
from bncheck.errors import UsageError
from bncheck.model import PROFILES, Declared, Expected
from bncheck.registry import did_you_mean

# As bncheck.adapters.layouts knows them; that module needs NumPy, which --help does without.
LAYOUTS = ("NC", "CN", "NCHW", "NHWC", "NCL", "NLC", "NCDHW", "NDHWC")
_KINDS = {
    "cases": (int, "a whole number"),
    "seed": (int, "a whole number"),
    "dtype": (str, "a string"),
    "layout": (str | None, "a string"),
    "parameter_shape": (str | None, "a string"),
    "eps": (int | float | None, "a number"),
    "momentum_sense": (str | None, "a string"),
    "running_var": (str | None, "a string"),
    "mode_switch": (str | None, "a string"),
    "returns": (str | None, "a string"),
    "profile": (str, "a string"),
    "grad_scale": (str, "a string"),
    "kind": (str | None, "a string"),
    "adapter_file": (str | None, "a string"),
    "device": (str, "a string"),
    "stand_ins": (bool, "true or false"),
    "timeout": (int | float, "a number"),
    "jobs": (int | None, "a whole number"),
    "max_time": (int | float | None, "a number"),
    "memory": (int | float | None, "a number"),
    "strict": (bool, "true or false"),
}


# Each is a process with the libraries of the source in it: more of them is a slip of the key on most machines.
_MOST_JOBS = 64
# Keys that are not called as the setting is.
_KEYS = {"as": "kind", "adapter": "adapter_file"}
# What a setting may be, where that is a short list.
_CHOICES = {
    "profile": PROFILES,
    "grad_scale": ("sum", "mean"),
    "momentum_sense": ("kept", "new"),
    "running_var": ("biased", "unbiased"),
    "dtype": DTYPES,
}


@dataclass(frozen=True, slots=True)
class Settings(Declared):
    """The options of a run, and what the user says about the targets (see :class:`bncheck.model.Declared`).

    Attributes
    ----------
    cases : int
        How many cases to verify per target: the recipes first, random draws for the rest.
    seed : int
        Seed of the random draws.
    dtype : str
        dtype of the arrays handed to the target.
    select, ignore : tuple of str
        Codes or prefixes of the checks to run, or to leave out ("BN2", "BN503"). A string or a list is taken too, and
        "BN2, BN503" is split.
    timeout : float
        Seconds without any sign of life after which an isolated worker is killed.
    strict : bool
        Whether warnings fail.
    targets : tuple of str
        What to verify where nothing else is asked for: "my_bn.py", "my_bn.py::bn_forward", "package.layers:name".
    expected : tuple of Expected
        Failures that are known and stay for a reason; tables or mappings with check, reason and target are taken too.
        One that does not happen any more is a failure.
    jobs : int or None
        How many isolated workers share the cases; None lets the number of cases and of cores decide.
    max_time : float or None
        Seconds after which the sweep of a target ends; what was seen until then decides.
    memory : float or None
        GiB of address space that an isolated worker may have; None leaves it what the machine has.

    """

    # 150: all recipes (77 at most), and every pair of the covering array of random draws (70).
    cases: int = 150
    seed: int = 0
    dtype: str = "float64"
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    timeout: float = 20.0
    strict: bool = False
    targets: tuple[str, ...] = ()
    expected: tuple[Expected, ...] = ()
    jobs: int | None = None
    max_time: float | None = None
    memory: float | None = None

    @property
    def declared(self) -> Declared:
        """What the user says about the targets."""
        return Declared(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Declared)})

    def __post_init__(self) -> None:
        for name, (kind, words) in _KINDS.items():
            value = getattr(self, name)
            # True is an int to Python; as a number of cases it is a slip.
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise UsageError(f"{name} should be {words}, not {value!r}")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise UsageError(f"{name} {value!r} is not known. {did_you_mean(value, choices)}")
        names = [part.strip() for part in (self.returns or "").strip("() ").split(",") if part.strip()]
        if set(names) - {"dx", "dgamma", "dbeta", "_"}:
            raise UsageError(
                f"returns should be an order of dx, dgamma, dbeta (and _ for the rest), not {self.returns!r}"
            )
        if self.eps is not None and not 0 <= self.eps < math.inf:
            raise UsageError(f"eps must be a number from 0 on, not {self.eps}")
        if self.layout is not None and sorted(self.layout) not in map(sorted, LAYOUTS):
            raise UsageError(f"layout {self.layout!r} is not known. {did_you_mean(self.layout.upper(), LAYOUTS)}")
        if self.cases < 1:
            raise UsageError(f"cases must be at least 1, not {self.cases}")
        if self.jobs is not None and not 1 <= self.jobs <= _MOST_JOBS:
            raise UsageError(f"jobs must be between 1 and {_MOST_JOBS}, not {self.jobs}")
        if self.max_time is not None and not 0 < self.max_time < math.inf:
            raise UsageError(f"max-time must be more than 0 seconds, not {self.max_time}")
        # With less than that no library can be loaded; more has no machine.
        if self.memory is not None and not 0.25 <= self.memory <= 2**20:
            raise UsageError(f"memory must be between 0.25 and {2**20} GiB, not {self.memory}")
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"seed must be between 0 and 2**64 - 1, not {self.seed}")
        # Python's queues and locks wait no longer than this.
        if not 0 < self.timeout <= threading.TIMEOUT_MAX:
            raise UsageError(f"timeout must be between 0 and {threading.TIMEOUT_MAX:.0f} seconds, not {self.timeout}")
        object.__setattr__(self, "timeout", float(self.timeout))
        for name in ("select", "ignore"):
            object.__setattr__(self, name, _split(name, getattr(self, name)))
        object.__setattr__(self, "targets", _targets(self.targets))
        object.__setattr__(self, "expected", _expected(self.expected))


def is_file(target: str) -> bool:
    """Tell a target in a file from one in a module."""
    return target.partition("::")[0].endswith((".py", ".ipynb"))


def _targets(texts: object) -> tuple[str, ...]:
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise UsageError(f'targets should be a list of strings, such as ["my_bn.py"], not {texts!r}')
    return tuple(texts)


def _expected(entries: object) -> tuple[Expected, ...]:
    """Return expected failures, from tables that name a check and a reason."""
    if not isinstance(entries, list | tuple):
        raise UsageError(f"expected should be tables, [[tool.bncheck.expected]] with check and reason, not {entries!r}")
    found = []
    for entry in entries:
        table = dataclasses.asdict(entry) if isinstance(entry, Expected) else entry
        if not isinstance(table, dict):
            raise UsageError(f"expected should be a list of tables with check and reason, not {entry!r}")
        known = [field.name for field in dataclasses.fields(Expected)]
        for key, value in table.items():
            if key not in known:
                raise UsageError(f"expected has no key {key!r}. {did_you_mean(str(key), known)}")
            if not isinstance(value, str) or not value.strip():
                raise UsageError(f"expected: {key} should be a text, not {value!r}")
        for key in ("check", "reason"):
            if key not in table:
                raise UsageError(f"expected: an entry needs a {key}: {table!r}")
        found.append(Expected(**table))
    return tuple(found)


def misfits(expected: Iterable[Expected], names: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each expected failure that fits none of the names of all the targets that there are."""
    for entry in expected:
        if names and not entry.fits(names):
            near = did_you_mean(entry.target, dict.fromkeys(names))
            yield f"expected failure of {entry.check}: no target fits {entry.target!r}. {near}"


def _split(name: str, codes: object) -> tuple[str, ...]:
    """Return the codes of "BN2, BN503", or of a list of such texts, one by one."""
    texts = [codes] if isinstance(codes, str) else codes
    if not isinstance(texts, list | tuple | set | frozenset) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"{name} should be a string or a list of strings, not {codes!r}")
    found = tuple(code.strip() for text in texts for code in text.split(","))
    # An empty code is the beginning of every code: it would select, or ignore, all there is.
    if not all(found):
        raise UsageError(f"{name} has an empty code in it: {codes!r}")
    return found


def read_pyproject(folder: Path) -> dict[str, Any]:
    """Return the settings in ``[tool.bncheck]`` of the nearest pyproject.toml at or above `folder`.

    Raises
    ------
    UsageError
        If the file is not TOML, or a key or a value is refused; names the file and the key.

    """
    path = next((p / "pyproject.toml" for p in (folder, *folder.parents) if (p / "pyproject.toml").is_file()), None)
    if path is None:
        return {}
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: {error}") from error
    for name in ("tool", "bncheck"):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} should be a table, not {table!r}")
    known = [field.name for field in dataclasses.fields(Settings)]
    values = {}
    for key, value in table.items():
        name = _KEYS.get(key, key.replace("-", "_"))
        if name not in known:
            spelled = [key.replace("_", "-") for key in known if key not in _KEYS.values()]
            raise UsageError(f"{path}: [tool.bncheck] has no setting {key!r}. {did_you_mean(key, [*spelled, *_KEYS])}")
        try:
            values[name] = getattr(Settings(**{name: value}), name)
        except UsageError as error:
            raise UsageError(f"{path}: [tool.bncheck] {error}") from error
    if "targets" in values:
        values["targets"] = tuple(_seen_from_here(path.parent, target) for target in values["targets"])
    if "expected" in values:
        values["expected"] = tuple(_expected_from_here(path.parent, entry) for entry in values["expected"])
    return values


def _seen_from_here(folder: Path, target: str) -> str:
    """Return a target whose file stands in the settings of a folder, for whoever is in another one."""
    if not is_file(target) or folder == Path.cwd():
        return target
    path, sep, name = target.partition("::")
    return f"{os.path.relpath(folder / path)}{sep}{name}"


def _expected_from_here(folder: Path, entry: Expected) -> Expected:
    """Return an expected failure whose pattern, if it has a path, is that of whoever is in another folder."""
    # Without a "::" it may be that of a program's command line, which is as it is written.
    if "/" not in entry.target or ("::" not in entry.target and folder == Path.cwd()):
        return entry
    return dataclasses.replace(entry, target=Path(os.path.relpath(folder / entry.target)).as_posix())
