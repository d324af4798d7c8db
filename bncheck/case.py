"""A case: every parameter that it follows from, its replay id, and its arrays."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bncheck.errors import UsageError
from bncheck.registry import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.floating[Any]]

CASE_SCHEMA = "v1"
DTYPES = ("float64", "float32", "float16", "bfloat16")
MEMORY = ("C", "F", "strided", "readonly", "channels_last")
GAMMAS = ("random", "zero", "negative", "one")
NUMBERS = ("drawn", "plain")


@dataclass(frozen=True, slots=True)
class CaseSpec:
    """Every parameter of one case; its :attr:`id` is the replay id. The arrays follow from it, bit for bit.

    Attributes
    ----------
    recipe : str
        Where the case came from (a label; it does not influence the arrays).
    seed : int
        Seed of the raw bits, 0 <= seed < 2**64.
    n, c : int
        Batch size N and number of channels C.
    spatial : tuple of int
        Sizes of the spatial axes, () for (N, C) data.
    dtype : str
        One of ``DTYPES``.
    eps, momentum : float
        What the target is opened with.
    mean, sd : float
        Offset and spread of every channel of x (channels differ by factors near 1 around them).
    constant : int
        How many leading channels are constant (all elements equal).
    gamma : str
        One of ``GAMMAS``: the first channel's gamma is drawn, 0, negative, or all gammas are 1.
    dy_scale : float
        Factor on the upstream gradient dy.
    memory : str
        One of ``MEMORY``: the memory layout of the arrays handed to the target.
    numbers : str
        One of ``NUMBERS``: as drawn, or doubled and rounded to whole ones and halves, to be followed with a pencil.

    """

    recipe: str = "custom"
    seed: int = 0
    n: int = 4
    c: int = 3
    spatial: tuple[int, ...] = ()
    dtype: str = "float64"
    eps: float = 1e-5
    momentum: float = 0.1
    mean: float = 0.0
    sd: float = 1.0
    constant: int = 0
    gamma: str = "random"
    dy_scale: float = 1.0
    memory: str = "C"
    numbers: str = "drawn"

    @property
    def m(self) -> int:
        """Number of elements that one channel's statistics average over."""
        m = self.n
        for size in self.spatial:
            m *= size
        return m

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of x in the canonical layout (N, C, *spatial)."""
        return (self.n, self.c, *self.spatial)

    @property
    def id(self) -> str:
        """The replay id: schema, recipe, then every parameter that is not the schema's default."""
        parts = [
            f"{f.name}={_spell(getattr(self, f.name))}"
            for f in dataclasses.fields(self)
            if f.name != "recipe" and (f.name in ("seed", "n", "c") or getattr(self, f.name) != f.default)
        ]
        return f"{CASE_SCHEMA}:{self.recipe}:{','.join(parts)}"

    @classmethod
    @lru_cache(maxsize=4096)  # each case is read by whoever hears of it
    def parse(cls, text: str) -> CaseSpec:
        """Read a replay id; raise UsageError that says what is wrong with it."""
        if len(text) > LONGEST_ID:
            raise UsageError(f"{text[:40]!r:.80} is no replay id: it has more than {LONGEST_ID} characters.")
        schema, _, rest = text.strip().partition(":")
        recipe, colon, body = rest.partition(":")
        if schema != CASE_SCHEMA or not colon or not re.fullmatch(r"[a-z0-9-]{1,40}", recipe):
            raise UsageError(f"{text!r:.80} is no replay id: it should look like {cls().id!r}.")
        values: dict[str, Any] = {"recipe": recipe}
        known = [f.name for f in dataclasses.fields(cls) if f.name != "recipe"]
        for part in filter(None, body.split(",")):
            key, _, value = part.partition("=")
            if key not in known:
                raise UsageError(f"replay id: no parameter is called {key!r:.40}. {did_you_mean(key, known)}")
            if key in values:
                raise UsageError(f"replay id: {key} is given twice.")
            values[key] = _read(key, value)
        spec = cls(**values)
        if spec.m * spec.c > MAX_ELEMENTS:
            raise UsageError(f"replay id: x would have {spec.m * spec.c} elements, more than {MAX_ELEMENTS}.")
        return spec


# Ids that bncheck makes have less than 140 characters; one with every parameter at full length has some 700.
LONGEST_ID = 1000
# Limits of a replay id: a case larger than this is a typing mistake, not a test (2**27 float64 are 1 GiB).
MAX_ELEMENTS = 2**27
_INTS = {"seed": (0, 2**64 - 1), "n": (1, MAX_ELEMENTS), "c": (1, MAX_ELEMENTS), "constant": (0, MAX_ELEMENTS)}
_CHOICES = {"dtype": DTYPES, "gamma": GAMMAS, "memory": MEMORY, "numbers": NUMBERS}
_AT_LEAST_ZERO = ("eps", "sd", "momentum")


def _spell(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _read(key: str, value: str) -> object:
    complaint = UsageError(f"replay id: {key}={value!r:.40} is not a fitting value.")
    if key in _CHOICES:
        if value not in _CHOICES[key]:
            raise UsageError(f"replay id: {key}={value!r:.40}. {did_you_mean(value, _CHOICES[key])}")
        return value
    if key == "spatial":
        if not re.fullmatch(r"[1-9]\d{0,8}(x[1-9]\d{0,8}){0,3}", value, re.ASCII):
            raise complaint
        return tuple(int(size) for size in value.split("x"))
    if key in _INTS:
        low, high = _INTS[key]
        if not re.fullmatch(r"\d{1,20}", value, re.ASCII) or not low <= int(value) <= high:
            raise complaint
        return int(value)
    if not re.fullmatch(r"-?\d{1,40}(\.\d{1,40})?([eE][-+]?\d{1,3})?", value, re.ASCII):
        raise complaint
    number = float(value)
    if abs(number) > 1e300 or (key in _AT_LEAST_ZERO and number < 0):
        raise complaint
    return number + 0.0  # -0.0 equals 0.0, and would not make the same bytes


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Case:
    """A case with its arrays, in the canonical layout and in the target's dtype. Compared and hashed by identity.

    ``x`` and ``dy`` have shape (N, C, *spatial), ``gamma`` and ``beta`` shape (C,).
    """

    spec: CaseSpec
    x: Array
    gamma: Array
    beta: Array
    dy: Array

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that statistics average over: all but the channel axis 1."""
        return (0, *range(2, self.x.ndim))
