"""The dtypes that arrays are made in, for parametrized tests; bfloat16 is skipped where ml_dtypes is missing."""

from importlib.util import find_spec

import pytest

from bncheck.case import DTYPES

HAS_BFLOAT16 = find_spec("ml_dtypes") is not None
needs_bfloat16 = pytest.mark.skipif(not HAS_BFLOAT16, reason="ml_dtypes is not installed")
EVERY_DTYPE = [pytest.param(d, marks=needs_bfloat16 if d == "bfloat16" else ()) for d in DTYPES]
