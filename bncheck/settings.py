"""What a run is asked to do: one frozen type, read from the command line or from ``[tool.bncheck]``."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bncheck.case import DTYPES
from bncheck.errors import UsageError
from bncheck.registry import did_you_mean


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a run.

    Attributes
    ----------
    cases : int
        How many cases to verify per target: the recipes first, random draws for the rest.
    seed : int
        Seed of the random draws.
    dtype : str
        dtype of the arrays handed to the target.
    layout : str or None
        Overrides the detected layout ("NC", "CN", "NCHW", "NHWC").
    select, ignore : tuple of str
        Codes or prefixes of the checks to run, or to leave out ("BN2", "BN503").
    timeout : float
        Seconds without any sign of life after which an isolated worker is killed.
    strict : bool
        Whether warnings fail.

    """

    # 200: all recipes (about 60) and every pair of the covering array of random draws (about 70), with some to spare.
    cases: int = 200
    seed: int = 0
    dtype: str = "float64"
    layout: str | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    timeout: float = 20.0
    strict: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(f"dtype {self.dtype!r} is not known. {did_you_mean(self.dtype, DTYPES)}")
        if self.cases < 1:
            raise UsageError(f"cases must be at least 1, not {self.cases}")
        if not 0 <= self.seed < 2**64:
            raise UsageError(f"seed must be between 0 and 2**64 - 1, not {self.seed}")
        if not self.timeout > 0:
            raise UsageError(f"timeout must be positive, not {self.timeout}")


def read_pyproject(folder: Path) -> dict[str, Any]:
    """Return the settings in ``[tool.bncheck]`` of the nearest pyproject.toml at or above `folder`.

    Raises
    ------
    UsageError
        If the file is not TOML, or a key or the type of a value is not known; names the file and the key.

    """
    path = next((p / "pyproject.toml" for p in (folder, *folder.parents) if (p / "pyproject.toml").is_file()), None)
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("bncheck", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: {error}") from error
    defaults = {f.name: f.default for f in dataclasses.fields(Settings)}
    values = {}
    for key, value in table.items():
        if key not in defaults:
            raise UsageError(f"{path}: [tool.bncheck] has no setting {key!r}. {did_you_mean(key, defaults)}")
        values[key] = _fitting(value, defaults[key], f"{path}: [tool.bncheck] {key}")
    return values


def _fitting(value: object, default: object, where: str) -> object:
    """Return `value` in the type of `default`, or raise UsageError that starts with `where`."""
    if isinstance(default, tuple) and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if isinstance(default, float) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if type(value) is type(default) or (default is None and isinstance(value, str)):
        return value
    wanted = (
        "a list of strings" if isinstance(default, tuple) else "a string" if default is None else (f"like {default!r}")
    )
    raise UsageError(f"{where} should be {wanted}, not {value!r}")
