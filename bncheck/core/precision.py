"""The dtypes that targets are verified in, by name; bfloat16 comes from ml_dtypes, imported only where it is asked for.

NumPy has no bfloat16. The one of ml_dtypes works with its ufuncs, but its kind is "V", and ``np.finfo`` refuses it.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np

from bncheck.errors import UsageError

BFLOAT16 = "bfloat16"


@cache
def dtype_of(name: str) -> Any:
    """Return the NumPy dtype of that name; raise UsageError for bfloat16 where ml_dtypes is not installed."""
    if name != BFLOAT16:
        return np.dtype(name)
    try:
        return np.dtype(_ml_dtypes().bfloat16)
    except ImportError:
        raise UsageError(
            'dtype bfloat16 needs the package ml_dtypes: pip install ml_dtypes (or "bncheck[torch]").'
        ) from None


@cache
def limits(name: str) -> Any:
    """Return what ``np.finfo`` says of a floating-point dtype: eps, max, smallest_subnormal."""
    dtype = dtype_of(name)
    return _ml_dtypes().finfo(dtype) if name == BFLOAT16 else np.finfo(dtype)


@cache
def kind(dtype: Any) -> str:
    """Return NumPy's letter for the kind of a dtype, "f" for bfloat16 too."""
    found = np.dtype(dtype)
    return "f" if found.name == BFLOAT16 else found.kind


def _ml_dtypes() -> Any:
    return importlib.import_module("ml_dtypes")
