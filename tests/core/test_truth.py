"""What is asked of a case's right answer besides the answer. (Parts of large cases: test_in_parts.py.)"""

import numpy as np
import pytest

from bncheck.case import Case, CaseSpec
from bncheck.cases.arrays import build
from bncheck.core import truth as module
from bncheck.core.truth import (
    allowances,
    allowances_in,
    beside,
    forward_of,
    in_one_piece,
    in_parts,
    is_nothing,
    lost_in_one_pass,
    truth,
)
from bncheck.model import TENSORS


@pytest.mark.parametrize(
    ("changes", "nothing"),
    [
        ({}, ""),
        ({"c": 1, "gamma": "zero"}, "y dx"),
        ({"constant": 3}, "y dgamma"),
        ({"n": 1}, "y dx dgamma"),
        ({"constant": 1}, ""),
        ({"gamma": "zero"}, ""),
        ({"dy_scale": 1e-6}, ""),
        ({"dy_scale": 1e6, "constant": 3}, "y dgamma"),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nothing_is_what_cancels_in_every_channel(changes, nothing, dtype):
    case = build(CaseSpec(**{"n": 6, "c": 3, "dtype": dtype} | changes))
    assert {tensor for tensor in TENSORS if is_nothing(case, tensor)} == set(nothing.split())


def hand_made(x, dy, gamma=(1.0,), beta=(0.0,), dtype="float64"):
    x, dy = (np.array(values, dtype)[:, None] for values in (x, dy))
    spec = CaseSpec(n=len(x), c=1, dtype=dtype, eps=1e-5)
    return Case(spec, x, np.array(gamma, dtype), np.array(beta, dtype), dy)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("roundings", "nothing"), [(900, True), (1100, False)])
@pytest.mark.parametrize("factor", [1.0, 64.0])
def test_a_sum_that_cancels_is_nothing_below_a_thousand_roundings_of_its_terms(dtype, roundings, nothing, factor):
    u = {"float64": 2.0**-53, "float32": 2.0**-24}[dtype]
    rest = roundings * u * 4  # sum(|dy|) is 4, up to rest
    case = hand_made([1.0, 2.0, 4.0, 7.0], factor * np.array([1.0, -1.0, 1.0, -1.0 + rest]), dtype=dtype)
    assert is_nothing(case, "dbeta") == nothing


@pytest.mark.parametrize(("roundings", "nothing"), [(900, True), (1100, False)])
@pytest.mark.parametrize("sd", [2.0**-7, 2.0**7])
@pytest.mark.parametrize("gamma", [1 / 64, -64.0])
def test_a_dx_that_cancels_is_nothing_below_a_thousand_roundings_of_its_terms(sd, gamma, roundings, nothing):
    """Of two values that are equal xhat is, so that what dy differs there is all of dx, times gamma / sd."""
    rest = roundings * 2.0**-53
    x, dy = sd * np.array([1.0, 1.0, -1.0, -1.0]), np.array([1 + rest, 1 - rest, 1.0, 1.0])
    assert is_nothing(hand_made(x, dy, gamma=(gamma,)), "dx") == nothing


def test_channels_are_not_added_up_to_what_is_nothing():
    """Sixteen channels, each with a sum of dy at 2000 roundings of its terms."""
    x, dy = (np.tile(np.array(column)[:, None], 16) for column in ([1.0, 2.0, 4.0, 7.0], [1.0, -1.0, 1.0, -1.0]))
    dy[3] += 2000 * 2.0**-53 * 4
    case = Case(CaseSpec(n=4, c=16, eps=1e-5), x, np.ones(16), np.zeros(16), dy)
    assert not is_nothing(case, "dbeta")


@pytest.mark.parametrize(("beta", "nothing"), [(0.0, False), (1e12, False), (1e14, True)])
def test_y_but_for_beta_is_nothing_beside_a_beta_that_hides_it(beta, nothing):
    """1000 * 2**-53 * 1e14 is 11, above every xhat; of 1e12 it is 0.1."""
    assert is_nothing(hand_made([1.0, 2.0, 4.0, 7.0], [1.0, 2.0, 3.0, 4.0], beta=(beta,)), "y") == nothing


@pytest.mark.parametrize("tensor", TENSORS)
def test_what_is_small_beside_the_allowed_error_is_nothing(tensor):
    case = build(CaseSpec(n=6, c=3))
    peak = float(np.abs(truth(case).tensor(tensor) - (case.beta if tensor == "y" else 0.0)).max())
    assert is_nothing(case, tensor, allowed=0.011 * peak)
    assert not is_nothing(case, tensor, allowed=0.009 * peak)


def test_parameters_are_of_their_channel_in_data_with_spatial_axes():
    spec = CaseSpec(n=2, c=2, spatial=(2, 3), constant=2)
    case = build(spec)
    assert is_nothing(case, "y")  # y is beta, of two channels, in tensors of (2, 2, 2, 3)


@pytest.mark.parametrize("block", [1, 24, 30, 1000])
@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 4), (7, 2, 3, 2), (1, 4)])
def test_each_channel_is_moved_into_one_piece_however_many_elements_at_a_time(monkeypatch, shape, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    moved = in_one_piece(x)
    np.testing.assert_array_equal(moved, x)
    assert moved.dtype == x.dtype
    assert np.moveaxis(moved, 1, 0).flags.c_contiguous


def test_a_channel_far_from_zero_is_lost_in_one_pass_and_no_other():
    rng = np.random.default_rng(5)
    spec = CaseSpec(n=8, c=2, dtype="float32")
    x = (rng.normal((0.0, 1e5), 1.0, (8, 2))).astype(np.float32)
    one = np.ones(2, np.float32)
    case = Case(spec, x, one, one, rng.normal(size=(8, 2)).astype(np.float32))
    for tensor in ("y", "dx", "dgamma"):
        lost = lost_in_one_pass(case, tensor)
        assert not lost[..., 0].any()
        assert lost[..., 1].all()
    assert not lost_in_one_pass(case, "dbeta").any()


def test_a_part_has_the_forward_of_its_channels():
    case = build(CaseSpec(n=4, c=3))
    part = Case(CaseSpec(n=4, c=1), case.x[:, 1:2], case.gamma[1:2], case.beta[1:2], case.dy[:, 1:2])
    assert forward_of(case, case) is truth(case).forward
    np.testing.assert_array_equal(forward_of(case, part).y, truth(case).forward.y[:, 1:2])


@pytest.mark.parametrize(("size", "parts"), [((2**12, 8), 1), ((2**15, 8), 1), ((2**15, 16), 2), ((2**14, 32), 2)])
def test_parts_have_at_most_2_mib_but_for_eight_channels(size, parts):
    spec = CaseSpec(n=size[0], c=size[1])
    x, vector = np.zeros(size), np.zeros(size[1])
    found = list(in_parts(Case(spec, x, vector, vector, x)))
    assert len(found) == parts
    assert all(part.x.size <= 2**18 for _, part in found)


def test_what_was_compared_is_remembered_by_the_tensors_and_not_by_their_names():
    case = build(CaseSpec(n=4, c=3))
    right = {name: truth(case).tensor(name).copy() for name in TENSORS}
    first = beside(case, right)
    assert beside(case, dict(right)) is first
    assert beside(case, {name: right[name] for name in ("y", "dx")}).keys() == {"y", "dx"}
    assert beside(case, {**right, "dx": right["dx"].copy()}) is not first
    assert beside(case, right, one_pass=True) is not first
    assert beside(case, {"dgamma": right["dgamma"]}).keys() == {"dgamma"}
    assert beside(case, {"dbeta": right["dgamma"]}).keys() == {"dbeta"}


def test_allowances_know_the_dtype():
    double, single = (build(CaseSpec(n=4, c=3, dtype=dtype)) for dtype in ("float64", "float32"))
    assert (allowances(single).y > 1e6 * allowances(double).y).all()


def test_allowances_in_another_dtype_are_those_of_two_passes_there():
    double, single = (build(CaseSpec(n=6, c=3, mean=50.0, dtype=dtype)) for dtype in ("float64", "float32"))
    for name in TENSORS:
        of_single, in_single = getattr(allowances(single), name), getattr(allowances_in(double, "float32"), name)
        np.testing.assert_allclose(in_single, of_single, rtol=0.01)
    assert (allowances(single, one_pass=True).y > 2 * allowances_in(double, "float32").y).all()


@pytest.mark.parametrize(
    ("dtype", "smallest"), [("float16", 2.0**-24), ("float32", 2.0**-149), ("float64", 2.0**-1074)]
)
def test_each_product_may_underflow_by_the_smallest_number_of_the_dtype(dtype, smallest):
    case = build(CaseSpec(n=6, c=3, dtype=dtype, dy_scale=0.0))
    np.testing.assert_array_equal(allowances(case).dbeta, 2 * 6 * smallest)
