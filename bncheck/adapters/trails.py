"""Names on the way to what a layer keeps: which say parameters or gradients, and which something else of that name."""

from __future__ import annotations

from bncheck.adapters import languages
from bncheck.adapters.words import words

Trail = tuple[str | int, ...]

VALUE = frozenset("data value val array values".split())
GRADIENT = frozenset("grad gradient g d diff derivative".split())
GRADIENTS = frozenset("grads gradients grad gradient gs d deltas".split())
PARAMETERS = frozenset("params param parameters weights ps p theta thetas trainable learnable variables vars".split())
GRADIENTS |= {f"d{name}" for name in PARAMETERS} | languages.GRADIENTS
FILLER = frozenset("get all list named bn my trainable learnable layer collect the".split())
# What optimizers and moving averages keep under the names of the parameters.
_NOT_PARAMETERS = frozenset(
    "running moving cache velocity velocities momentum m v opt optimizer optim adam state states history previous prev "
    "saved memory config cfg hyper shapes".split()
)
# Of these, what may hold the parameters themselves in code that keeps all it has in one dict.
_ALL_IN_ONE = frozenset("state states memory config cfg cache saved".split())


def is_gradients(name: str | int) -> bool:
    """Tell whether a name says that what it holds are gradients."""
    said = set(words(str(name))) - FILLER
    return bool(said & GRADIENTS) and said <= GRADIENTS | PARAMETERS


def is_parameters(name: str | int) -> bool:
    """Tell whether a name says that what it holds are parameters."""
    said = set(words(str(name))) - FILLER
    return bool(said) and said <= PARAMETERS


def is_foreign(name: str | int) -> bool:
    """Tell whether a name says that what it holds only has the names of parameters."""
    return bool(set(words(str(name))) & _NOT_PARAMETERS)


def all_in_one(name: str | int) -> bool:
    """Tell whether what has this name may hold the parameters beside all else."""
    said = set(words(str(name)))
    return bool(said & _ALL_IN_ONE) and not said & (_NOT_PARAMETERS - _ALL_IN_ONE)


def lists_parameters(name: str | int) -> bool:
    """Tell whether a list of this name is one of parameters."""
    return is_parameters(name) and not is_gradients(name)
