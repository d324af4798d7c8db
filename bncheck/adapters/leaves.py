"""What a layer holds, told apart: arrays and numbers, and objects that may hold some."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import numpy as np

from bncheck.adapters.frameworks import is_array


def is_leaf(value: Any) -> bool:
    """Tell numbers, arrays, lists of numbers and what is not there yet from things to look into."""
    if value is None or isinstance(value, np.ndarray | np.generic | float):
        return True  # most are: this is asked of all that a layer holds, at every step
    if isinstance(value, bool | str | bytes) or inspect.isroutine(value):
        return False
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, int | float) for item in value)
    return isinstance(value, int) or is_array(value) or hasattr(value, "__array__")


def is_own_array(value: Any) -> bool:
    """Tell an array of a class of the user's own, which may hold its gradient: ``class Parameter(np.ndarray)``."""
    return isinstance(value, np.ndarray) and type(value) is not np.ndarray and hasattr(value, "__dict__")


def is_plain_object(value: Any) -> bool:
    """Tell an object to look into from modules, classes, functions and single values."""
    opaque = isinstance(value, ModuleType | type | str | bytes | int | float) or inspect.isroutine(value)
    return not opaque and (hasattr(value, "__dict__") or hasattr(type(value), "__slots__"))
