"""The dtypes by name: what NumPy says of its own, what ml_dtypes says of bfloat16."""

import subprocess
import sys

import numpy as np
import pytest
from dtypes import HAS_BFLOAT16, needs_bfloat16

from bncheck.core.precision import dtype_of, kind, limits
from bncheck.errors import UsageError


@pytest.mark.parametrize("name", ["float64", "float32", "float16"])
def test_numpys_own_dtypes_are_numpys(name):
    assert dtype_of(name) == np.dtype(name)
    assert (limits(name).max, limits(name).eps) == (np.finfo(name).max, np.finfo(name).eps)
    assert kind(name) == "f"


@pytest.mark.parametrize(("dtype", "letter"), [("int32", "i"), ("bool", "b"), ("complex128", "c"), ("object", "O")])
def test_other_kinds_are_told_apart(dtype, letter):
    assert kind(dtype) == letter


@needs_bfloat16
def test_bfloat16_is_a_floating_point_dtype():
    assert kind(dtype_of("bfloat16")) == "f"
    # Eight exponent bits like float32, eight significant bits.
    assert float(limits("bfloat16").max) == (2 - 2.0**-7) * 2.0**127
    assert float(limits("bfloat16").eps) == 2.0**-7
    assert float(limits("bfloat16").smallest_subnormal) == 2.0**-133


@pytest.mark.skipif(HAS_BFLOAT16, reason="ml_dtypes is installed")
def test_without_ml_dtypes_bfloat16_is_a_usage_error():
    for ask in (dtype_of, limits):
        with pytest.raises(UsageError, match="pip install ml_dtypes"):
            ask("bfloat16")


def test_ml_dtypes_stays_away_until_it_is_asked_for():
    code = (
        "import sys; from bncheck.core.precision import kind, limits; from bncheck.cases.arrays import build; "
        "from bncheck.case import CaseSpec; build(CaseSpec(dtype='float32')); kind('float16'); limits('float64'); "
        "print('ml_dtypes' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
