"""A small run of the calibration: right code raises no alarm, and nearly every case is decided."""

from collections import Counter

import pytest
from from_scripts import benchmark

from bncheck.core.tolerance import K

CALIBRATE = benchmark("calibrate")
SOURCES = [source for source in CALIBRATE.CASES if source.startswith("fixtures/correct")]
# All recipes, and some draws: together more cases than two files have in CI's other tests.
CASES = 260


@pytest.mark.parametrize("dtype", CALIBRATE.DTYPES)
def test_right_code_raises_no_alarm_and_is_decided(dtype):
    lines = [line for source in SOURCES[:2] for line in CALIBRATE.counted((source, dtype, 0, CASES))]
    assert [line["failed"] for line in lines] == [[], []]
    counts = sum((Counter(line["counts"]) for line in lines), Counter())
    if dtype != "float16":  # there rounding may move every tensor by more than a per cent
        assert counts["well"] >= CASES / 2
    assert counts["decided"] >= 0.995 * counts["well"]
    assert 0 < max(line["largest"] for line in lines) < K


def test_an_alarm_would_be_counted(monkeypatch):
    """The same run on a wrong implementation: it fails, and its ratios are beyond K."""
    monkeypatch.setitem(CALIBRATE.CASES, "fixtures/buggy/gamma_missing_in_dx.py", 1)
    [line] = CALIBRATE.counted(("fixtures/buggy/gamma_missing_in_dx.py", "float64", 0, 40))
    assert any(failure.startswith("BN201 ") for failure in line["failed"])
    assert line["largest"] > K


def test_the_page_has_a_row_for_each_implementation_and_dtype():
    line = {
        "source": "a.py", "name": "a.py::bn", "dtype": "float64", "first": 0, "last": 10, "commit": "abc", "failed": [],
        "counts": {"well": 8, "decided": 8}, "ratios": {"-4": 5, "0": 4, "3": 1}, "largest": 1.9,
    }  # fmt: skip
    text = "\n".join(CALIBRATE.page([line, {**line, "dtype": "float32", "failed": ["BN201 v1:..."]}]))
    assert "20 cases of right code, 1 false alarms" in text
    assert "| `a.py::bn` | float64 | 10 | 0 | 8 | 100.000% | 1.90 |" in text
    assert "| `a.py::bn` | float32 | 10 | 1 | 8 | 100.000% | 1.90 |" in text


def test_quantiles_are_upper_ends():
    ratios = Counter({"zero": 10, "-4": 40, "0": 49, "3": 1})
    assert CALIBRATE.quantile(ratios, 0.1) == 0
    assert CALIBRATE.quantile(ratios, 0.5) == 2 ** (-3 / 4)
    assert CALIBRATE.quantile(ratios, 0.99) == 2 ** (1 / 4)
    assert CALIBRATE.quantile(ratios, 1.0) == 2.0
