"""Where the error sits, and the formula worked out by hand."""

import numpy as np
import pytest

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.cases.shrink import by_hand
from bncheck.core.truth import truth
from bncheck.location import place, probes, worked

SPEC = CaseSpec(n=3, c=1)


def seen(spoil, tensor="dx", spec=SPEC):
    """Return the probes of a case with a spoiled tensor: ``spoil(value, case)``."""
    cases = [build(probe) for probe in probes(spec)]
    return [(case, spoil(truth(case).tensor(tensor).copy(), case)) for case in cases]


def off(where):
    """Return a spoiler of ``value[where(case)]``."""

    def spoil(value, case):
        value[where(case)] += 1.0
        return value

    return spoil


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (lambda case: np.s_[:, -1], "only in the last channel"),
        (lambda case: np.s_[:, 0], "only in channel 0"),
        (lambda case: np.s_[:, case.gamma < 0], "only in channels with gamma < 0"),
        (lambda case: np.s_[:, 1::2], "only in odd channels"),
        (lambda case: np.s_[-1], "only in the last row of the batch"),
        (lambda case: np.s_[0], "only in the first row of the batch"),
        (lambda case: np.s_[case.spec.n // 8 * 8 :], "only in rows beyond the last multiple of 8"),
        (lambda case: np.s_[2:], "only in rows from 2 on"),
        (lambda case: np.s_[:], ""),
        (lambda case: np.s_[case.spec.seed % 3], ""),
    ],
)
def test_the_place_of_the_error(where, words):
    assert place("dx", seen(off(where))) == words


def test_parameters_have_channels_only():
    assert place("dgamma", seen(off(lambda case: np.s_[-1:]), "dgamma")) == "only in the last channel"


def test_spatial_axes_are_seen_as_part_of_a_row():
    spec = CaseSpec(n=3, c=2, spatial=(2, 3))
    assert place("dx", seen(off(lambda case: np.s_[:, -1, 0, 0]), spec=spec)) == "only in the last channel"


def test_constant_channels_alone():
    spec = CaseSpec(n=4, c=3, constant=1)
    assert (
        place("y", seen(off(lambda case: np.s_[:, : case.spec.constant]), "y", spec)) == "only in the constant channels"
    )


def test_too_few_wrong_cases_have_no_place():
    assert place("dx", seen(off(lambda case: np.s_[:, -1]))[:3]) == ""
    assert place("dx", []) == ""


def test_random_places_are_no_place():
    generator = np.random.default_rng(0)
    for _ in range(50):
        assert place("dx", seen(off(lambda case: np.s_[:, generator.random(case.spec.c) < 0.5]))) == ""


def test_shapes_that_do_not_fit_are_left_out():
    assert place("dx", [(case, np.zeros(3)) for case, _ in seen(lambda value, case: value)]) == ""


# ------------------------------------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize("tensor", ["y", "dx", "dgamma", "dbeta"])
def test_every_formula_gives_the_value_beside_it(tensor):
    """The formulas are evaluated as they are printed, with what stands above them."""
    case = build(CaseSpec(n=4, c=3, spatial=(2,), numbers="plain"))
    made = worked(case, tensor, 1, truth(case).tensor(tensor))
    known = {"m": made.m, "eps": case.spec.eps, "gamma": made.gamma, "beta": made.beta, "sum": np.sum, "sqrt": np.sqrt}
    for quantity in made.quantities:
        values = np.array(quantity.values)
        if quantity.formula:
            formula = quantity.formula
            for juxtaposed in ("xc xc", "dy xhat", "gamma xhat", "xc inv_std", "xhat dgamma", "gamma inv_std (a"):
                formula = formula.replace(juxtaposed, juxtaposed.replace(" ", " * "))
            assert np.allclose(eval(formula, dict(known)), values)
        known[quantity.name] = values
    assert np.allclose(known[f"your {tensor}"], known[tensor])


def test_plain_numbers_are_whole_ones_and_halves():
    for spec in by_hand(CaseSpec(n=2, c=1)):
        case = build(spec)
        for array in (case.x, case.dy, case.gamma, case.beta):
            assert np.array_equal(2 * array, np.rint(2 * array))
        assert not np.any(np.abs(case.gamma) == 1)
        assert CaseSpec.parse(spec.id) == spec
    assert [spec.n for spec in by_hand(CaseSpec(n=2, c=1))] == [3, 2]


def test_large_cases_are_not_for_the_pencil():
    assert by_hand(CaseSpec(n=65, c=1)) == []
