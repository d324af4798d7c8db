"""The arrays of a case: the same bytes everywhere, exact values, channels that can be told apart."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from dtypes import EVERY_DTYPE, HAS_BFLOAT16, needs_bfloat16

from bncheck.case import GAMMAS, CaseSpec
from bncheck.cases.arrays import DY_PEAK, X_PEAK, build, largest
from bncheck.cases.plan import draw
from bncheck.cases.recipes import RECIPES
from bncheck.errors import UsageError

# The first 16 hexadecimal digits of the SHA-256 of x, gamma, beta and dy, little-endian. They change only with the
# schema of replay ids: a replay id that gives other arrays is worthless.
DIGESTS = {
    "v1:custom:seed=0,n=4,c=3": "e570861a4a8b276c",
    "v1:custom:seed=0,n=8,c=4": "322c725fbb78d11f",
    "v1:custom:seed=1,n=1,c=1": "33dd534ff763e983",
    "v1:custom:seed=18446744073709551615,n=2,c=3": "eae2c014af01d206",
    "v1:custom:seed=7,n=5,c=3,spatial=7": "9c15857aeca70f1c",
    "v1:custom:seed=7,n=5,c=3,spatial=2x3": "c14582632bc3a68c",
    "v1:custom:seed=7,n=2,c=3,spatial=2x3x2": "7ad81c318d879bac",
    "v1:custom:seed=7,n=2,c=3,spatial=2x1x3x2": "7ad81c318d879bac",
    "v1:custom:seed=3,n=6,c=4,dtype=float32": "21b77a3ea14c3b31",
    "v1:custom:seed=3,n=6,c=4,dtype=float16": "f6423161ca91b4e3",
    "v1:custom:seed=3,n=6,c=4,mean=1000000.0,sd=0.003": "8003931778b7764c",
    "v1:custom:seed=3,n=6,c=4,dtype=float32,mean=1000000.0,sd=0.003": "c6e2dbfef3ac8774",
    "v1:custom:seed=3,n=6,c=4,dtype=float16,mean=100.0,sd=0.3": "d6a859a49fe9ebd1",
    "v1:custom:seed=3,n=6,c=4,sd=1e-06": "8e2daebdc44b055a",
    "v1:custom:seed=3,n=6,c=4,constant=2": "7f8c3a0a90cfe61c",
    "v1:custom:seed=3,n=6,c=4,gamma=zero": "b87ce662f1ef5fe7",
    "v1:custom:seed=3,n=6,c=4,gamma=negative": "04898781bfe08ac1",
    "v1:custom:seed=3,n=6,c=4,gamma=one": "5f0bc291c1c52781",
    "v1:custom:seed=3,n=6,c=4,dtype=float16,dy_scale=1e-06": "d0697828e26ab621",
    "v1:custom:seed=3,n=6,c=4,dy_scale=1000000.0": "a1ba519e0f6338b3",
    "v1:custom:seed=12,n=1000,c=30": "4583a04d5b3cc472",
}


def digest(replay_id: str) -> str:
    case = build(CaseSpec.parse(replay_id))
    sha = hashlib.sha256()
    for array in (case.x, case.gamma, case.beta, case.dy):
        sha.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()[:16]


def every_recipe() -> list[CaseSpec]:
    return [spec for _, recipe in RECIPES.items() for spec in recipe()]


@pytest.mark.parametrize(("replay_id", "expected"), DIGESTS.items())
def test_bytes_are_those_of_every_machine(replay_id: str, expected: str) -> None:
    assert digest(replay_id) == expected


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_bytes_do_not_depend_on_the_process(hash_seed: str) -> None:
    script = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('arrays_test', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "print(*map(module.digest, module.DIGESTS))\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == list(DIGESTS.values())


def significant_bits(value: float) -> int:
    numerator = abs(Fraction(value).numerator)
    while numerator and numerator % 2 == 0:
        numerator //= 2
    return numerator.bit_length()


def test_values_have_at_most_eleven_bits() -> None:
    case = build(CaseSpec(seed=3, n=64, c=24))
    for array in (case.x, case.gamma, case.beta, case.dy):
        assert max(significant_bits(float(value)) for value in array.ravel()) == pytest.approx(11, abs=2)
        assert max(significant_bits(float(value)) for value in array.ravel()) <= 11


@needs_bfloat16
def test_bfloat16_values_are_the_float64_ones_rounded_once():
    """Eight significant bits: off by 2**-8 of a value at most, and by more than half of that at worst."""
    spec = CaseSpec(seed=5, n=33, c=9)
    exact, case = build(spec), build(replace(spec, dtype="bfloat16"))
    assert case.x.dtype.name == case.gamma.dtype.name == case.beta.dtype.name == case.dy.dtype.name == "bfloat16"
    error = np.abs(case.x.astype(np.float64) - exact.x) / np.abs(exact.x)
    assert 2.0**-9 < error.max() <= 2.0**-8


@pytest.mark.skipif(HAS_BFLOAT16, reason="ml_dtypes is installed")
def test_bfloat16_without_ml_dtypes_says_what_to_install():
    with pytest.raises(UsageError, match="pip install ml_dtypes"):
        build(CaseSpec(dtype="bfloat16"))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_ordinary_values_are_exact_in_every_dtype(dtype: str) -> None:
    spec = CaseSpec(seed=5, n=33, c=9, spatial=(2, 3))
    exact, case = build(spec), build(replace(spec, dtype=dtype))
    for wide, narrow in zip(
        (exact.x, exact.gamma, exact.beta, exact.dy), (case.x, case.gamma, case.beta, case.dy), strict=True
    ):
        assert narrow.dtype == dtype
        np.testing.assert_array_equal(wide, narrow.astype(np.float64))


def test_arrays_are_fresh_and_contiguous() -> None:
    spec = CaseSpec(n=3, c=2, spatial=(4, 5), memory="F")
    first, second = build(spec), build(spec)
    for name in ("x", "gamma", "beta", "dy"):
        array = getattr(first, name)
        assert array.flags.c_contiguous
        assert array.flags.writeable
        array[...] = 99
        assert not np.any(getattr(second, name) == 99)
    np.testing.assert_array_equal(build(spec).x, second.x)


@pytest.mark.parametrize("spatial", [(), (5,), (2, 3), (2, 3, 2)])
@pytest.mark.parametrize("n", [1, 2, 3, 17])
def test_smaller_batches_are_prefixes(n: int, spatial: tuple[int, ...]) -> None:
    large = CaseSpec(seed=11, n=32, c=3, spatial=spatial, mean=10.0, sd=0.25)
    long, short = build(large), build(replace(large, n=n))
    np.testing.assert_array_equal(short.x, long.x[:n])
    np.testing.assert_array_equal(short.dy, long.dy[:n])
    np.testing.assert_array_equal(short.gamma, long.gamma)
    np.testing.assert_array_equal(short.beta, long.beta)


def test_parameters_of_fewer_channels_are_prefixes() -> None:
    many, few = build(CaseSpec(seed=7, n=2, c=12)), build(CaseSpec(seed=7, n=9, c=5))
    np.testing.assert_array_equal(few.gamma, many.gamma[:5])
    np.testing.assert_array_equal(few.beta, many.beta[:5])


def test_streams_differ_between_arrays_and_seeds() -> None:
    seeds = [build(CaseSpec(seed=seed, n=16, c=4)) for seed in (0, 1, 2**64 - 1)]
    uniform = [(array - array.mean(axis=0)) / array.std(axis=0) for case in seeds for array in (case.x, case.dy)]
    for i, first in enumerate(uniform):
        for second in uniform[:i]:
            # 64 pairs: a correlation of independent ones has a standard deviation of 1/8
            assert abs(np.mean(first * second)) < 0.5


def test_mean_and_spread_are_what_was_asked_for() -> None:
    x = build(CaseSpec(seed=1, n=4096, c=24, mean=1000.0, sd=4.0)).x
    spreads = np.resize([1.0, 0.5, 2.0], 24) * 4
    assert np.all(np.abs(x.mean(axis=0) - 1000) < 0.95 * spreads)
    # u is uniform in [-2, 2): variance 4/3
    np.testing.assert_allclose(x.std(axis=0), spreads * np.sqrt(4 / 3), rtol=0.05)


def test_channels_can_be_told_apart() -> None:
    case = build(CaseSpec(seed=0, n=2048, c=24))
    statistics = np.stack([case.x.mean(axis=0), case.x.std(axis=0)], axis=1)
    distances = np.linalg.norm(statistics[:, None] - statistics[None], axis=2) + np.eye(24)
    assert distances.min() > 0.05


@pytest.mark.parametrize("seed", range(40))
def test_nothing_hides_bugs_by_accident(seed: int) -> None:
    case = build(CaseSpec(seed=seed, n=8, c=64))
    assert np.all((np.abs(case.gamma) > 0.25) & (np.abs(case.gamma) < 2))
    assert not np.any(np.abs(case.gamma) == 1)
    assert not np.any(case.beta == 0)
    assert np.all(np.abs(case.beta) < 1)
    assert np.any(case.gamma < 0)
    assert case.gamma[0] > 0
    assert not np.any(case.dy == 0)
    assert np.all(np.abs(case.x) <= X_PEAK)
    assert np.all(np.abs(case.dy) <= DY_PEAK)


def test_upstream_gradients_have_a_mean() -> None:
    dy = build(CaseSpec(seed=2, n=4096, c=8)).dy
    # the offsets are odd sixteenths; 0.577/64 is the standard deviation of the rest's mean
    assert np.abs(dy.mean(axis=0)).min() > 0.03
    assert dy.std(axis=0).min() > 0.5


@pytest.mark.parametrize("kind", GAMMAS)
def test_gamma_is_of_its_kind(kind: str) -> None:
    gamma = build(CaseSpec(seed=9, c=8, gamma=kind)).gamma
    ordinary = build(CaseSpec(seed=9, c=8)).gamma
    expected = {"random": ordinary[0], "zero": 0.0, "negative": -ordinary[0], "one": 1.0}
    assert gamma[0] == expected[kind]
    np.testing.assert_array_equal(gamma[1:], np.ones(7) if kind == "one" else ordinary[1:])


@pytest.mark.parametrize("spatial", [(), (4,), (2, 3)])
@pytest.mark.parametrize("constant", [1, 2, 3, 5])
def test_leading_channels_are_constant(constant: int, spatial: tuple[int, ...]) -> None:
    spec = CaseSpec(seed=4, n=6, c=3, spatial=spatial, constant=constant)
    x, ordinary = build(spec).x, build(replace(spec, constant=0)).x
    for c in range(3):
        if c < constant:
            assert np.all(x[:, c] == ordinary[:, c].ravel()[0])
        else:
            np.testing.assert_array_equal(x[:, c], ordinary[:, c])


def test_scale_multiplies_dy_alone() -> None:
    one, large = build(CaseSpec(n=5)), build(CaseSpec(n=5, dy_scale=1024.0))
    np.testing.assert_array_equal(large.dy, one.dy * 1024)
    np.testing.assert_array_equal(large.x, one.x)


def test_recipe_eps_momentum_and_memory_leave_the_arrays_alone() -> None:
    plain = build(CaseSpec(n=5))
    other = build(CaseSpec(recipe="other", n=5, eps=1.0, momentum=0.9, memory="strided"))
    np.testing.assert_array_equal(plain.x, other.x)
    np.testing.assert_array_equal(plain.dy, other.dy)


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_bound_on_values_holds(dtype: str) -> None:
    for index in range(100):
        spec = draw(index, 3, dtype, (0, 1, 2))
        case = build(spec)
        assert max(np.abs(case.x).max(), np.abs(case.dy).max()) <= largest(spec)
        assert np.isfinite(case.x).all()


@pytest.mark.parametrize(
    "spec",
    [
        CaseSpec(dtype="float16", mean=1e6),
        CaseSpec(dtype="float16", sd=2e4),
        CaseSpec(dtype="float16", dy_scale=-1e5),
        CaseSpec(dtype="float32", mean=1e39),
        CaseSpec(n=2**27, c=2**27),
        CaseSpec(n=2**20, spatial=(2**20,)),
    ],
)
def test_impossible_arrays_are_refused(spec: CaseSpec) -> None:
    with pytest.raises(UsageError, match=r"cannot hold values|elements"):
        build(spec)


def test_every_recipe_can_be_built() -> None:
    for spec in every_recipe():
        case = build(spec)
        assert case.x.shape == case.dy.shape == spec.shape
        assert case.gamma.shape == case.beta.shape == (spec.c,)
        assert np.isfinite(case.x).all()
