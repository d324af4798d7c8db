"""docs/kill-matrix.md: every check catches some bug, every bug is caught, and the page is what `make matrix` writes.

The whole matrix takes minutes; here every so many rows are computed anew, and every right implementation in turn.
"""

import pytest
from from_scripts import load

from bncheck.checks.catalogue import CHECKS

# One row in so many, by its place in the sorted list.
WRONG_IN, RIGHT_IN = 20, 12


MATRIX = load("make_matrix")
WRONG, RIGHT = MATRIX.wrong_ones(), MATRIX.right_ones()
PAGE = MATRIX.MATRIX.read_text(encoding="utf-8") if MATRIX.MATRIX.is_file() else ""


ROWS = MATRIX.read(PAGE)


def test_the_page_has_a_row_for_every_bug_and_a_column_for_every_check():
    assert [name for name, _ in ROWS] == [specimen.name for specimen in WRONG], "make matrix"
    assert len(dict(ROWS)) == len(ROWS)


def test_the_page_is_what_its_rows_make_it():
    assert MATRIX.matrix_page(list(zip(WRONG, dict(ROWS).values(), strict=True)), RIGHT) == PAGE


# What is asked of a library that differentiates has no bug here: nothing here needs one. See tests/adapters.
OF_LIBRARIES = {code for code, check in CHECKS.items() if {"higher-order", "alone"} & {*check.needs}} | {"BN311"}


@pytest.mark.parametrize("code", [code for code in CHECKS.names() if code not in OF_LIBRARIES])
def test_every_check_catches_some_bug(code):
    assert any(code in marks for _, marks in ROWS)


def test_every_bug_is_caught_by_some_check_by_itself():
    assert [name for name, marks in ROWS if not {MATRIX.ALONE, MATRIX.WARNED} & set(marks.values())] == []


def sample(specimens, one_in):
    return [pytest.param(specimen, id=f"{specimen.group}: {specimen.name}") for specimen in specimens[::one_in]]


@pytest.mark.parametrize("specimen", sample(WRONG, WRONG_IN))
def test_a_row_is_what_the_checks_say(specimen):
    assert dict(ROWS)[specimen.name] == MATRIX.row(specimen)


@pytest.mark.parametrize("specimen", sample(RIGHT, RIGHT_IN))
def test_a_right_implementation_trips_nothing(specimen):
    assert set(MATRIX.row(specimen)) == MATRIX.DUE.get(specimen.name, set())
