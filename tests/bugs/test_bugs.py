"""Every bug with a name differs from the reference, is named when it is planted, and is needed for that name."""

import re
from functools import cache
from pathlib import Path

import naming
import numpy as np
import pytest

from bncheck import pipeline
from bncheck.bugs.catalogue import BUGS, Choice, Sample, Version
from bncheck.bugs.evidence import Observed
from bncheck.bugs.factors import Factor, Factors, _product
from bncheck.bugs.memory import OF_TRAINING
from bncheck.bugs.parts import Part
from bncheck.bugs.quantities import CUTS, Quantity, blocks_of
from bncheck.bugs.steps import FORWARD, Steps
from bncheck.bugs.versions import own_gradient
from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.cases.telling import telling
from bncheck.core.truth import allowances_in, truth
from bncheck.diagnose import diagnose
from bncheck.executors.in_process import InProcess
from bncheck.model import GRADIENTS, TENSORS, TargetSpec
from bncheck.settings import Settings

FIXTURES = Path(__file__).parents[2] / "fixtures"
NAMED = [p for p in sorted((FIXTURES / "buggy").glob("*.py")) if re.search("^# named: BUG", p.read_text(), re.M)]
CASES = [build(spec) for spec in telling("float64", (0, 2), None)]


def clipped(size, s, name):
    return np.clip(s.right(name), -size, size)


# What a fitted parameter is tried with.
ONE = Factor(1.0, ())
ADDED = (Quantity("1", lambda s: np.ones_like(s.dy)), Part(Quantity("mu", lambda s: s.mu), Factor(2.0, ())))
FITTED = {
    "BUG113": Choice("0.07", 0.07),
    "BUG134": Choice("2.5 gamma / std * x - gamma / std * mu + beta", (Factor(2.5, ()), ONE)),
    "BUG202": Choice("0.07", 0.07),
    "BUG206": Choice("(gamma - rate * dgamma)", lambda s: s.gamma - 0.3 * s.dgamma),
    "BUG225": Choice("dy, 0 in the last row,", lambda s: s.dy * CUTS[0].value(s)),
    "BUG226": Choice("2 * mu", ADDED),
    **{code: Choice("clip", (clipped, 0.8)) for code in ("BUG230", "BUG306", "BUG406")},
    **{code: Choice("behind blocks of 4", blocks_of([Steps(CASES[0])])[0]) for code in ("BUG231", "BUG307", "BUG407")},
    **{
        code: Choice("-2.5", Factor(-2.5, ()))
        for code in ("BUG221", "BUG222", "BUG223", "BUG224", "BUG227", "BUG311", "BUG411")
    },
}


# A backward in stages has xhat in dgamma alone.
CLOSED = {"variance_path": lambda s: -s.back_gamma * s.back_inv_std * s.back_xhat * s.mean(s.dy * s.back_xhat)}

# Those of what a layer remembers have tests of their own: tests/bugs/test_memory.py.
OF_FORMULAS = {code: bug for code, bug in BUGS.items() if OF_TRAINING.issuperset(bug.steps)}


def versions():
    for code, bug in OF_FORMULAS.items():
        if code == "BUG501":  # no step is wrong, its values are rounded: a test of its own
            continue
        if code in FITTED:
            yield Version(bug, FITTED[code])
        else:
            yield from bug.versions([sample(case) for case in CASES])


def sample(case):
    return Sample(Steps(case), {name: truth(case).tensor(name) for name in TENSORS})


def planted(version):
    """Return what code with this bug returns; tensors of the forward's bugs are y alone."""
    forward = set(version.bug.steps) <= set(FORWARD)
    form = CLOSED if version.bug.steps == ("back_xhat",) else {}
    seen = []
    for case in CASES:
        steps = Steps(case, {**form, **version.replaced})
        with np.errstate(all="ignore"):
            found = {name: np.squeeze(getattr(steps, name)) for name in (("y",) if forward else TENSORS)}
        seen.append(Observed(case, found))
    return seen


def is_finite(seen):
    return all(np.isfinite(value).all() for item in seen for value in item.found.values())


def is_wrong(item, name):
    right = np.squeeze(truth(item.case).tensor(name))
    found = item.found[name]
    return found.shape != right.shape or not np.allclose(found, right, rtol=1e-6, atol=1e-9)


PLANTED = list(versions())


@cache
def results(place):
    seen = planted(PLANTED[place])
    return seen, diagnose(seen) if is_finite(seen) else ()


@pytest.mark.parametrize("place", range(len(PLANTED)), ids=[f"{v.bug.code} {v.choice.text}" for v in PLANTED])
def test_a_planted_bug_is_named(place):
    seen, found = results(place)
    if not is_finite(seen):
        pytest.skip("this version divides by 0 or takes the root of a negative number on some case")
    wrong = [name for item in seen for name in item.found if is_wrong(item, name)]
    if not wrong:
        pytest.skip("on these axes it is Batch Normalization")
    assert found, wrong
    # One of another code may be the same function: its values are the same, whichever name it has.
    assert len(found) == 1
    assert {name for name in TENSORS if name in wrong} == set(found[0].tensor.split(", "))


@pytest.mark.parametrize("code", [code for code in OF_FORMULAS if code != "BUG501"])
def test_most_versions_of_a_bug_have_its_name(code):
    places = [place for place, version in enumerate(PLANTED) if version.bug.code == code]
    # Some of them are other functions that have a name of their own; the first that is not will do.
    assert any(d.code == code for place in places for d in results(place)[1])


@pytest.mark.parametrize("code", [code for code, _ in BUGS.items()])
def test_every_bug_has_a_page(code):
    bug = BUGS.get(code)
    titles = re.findall(r"^(.+)\n-+$", bug.doc, re.M)
    listed = ["In the place of ..."] * (bool(bug.texts) and bug.wrong != "{}")
    assert titles == ["Wrong", *listed, "Right", "To mend it", "Derivation", "Why it happens", "By hand", "References"]
    assert "{}" not in bug.doc
    assert [f"    {text}" in bug.doc.splitlines() for text in bug.texts[:12]] == [True] * min(12, len(bug.texts))
    assert ("{}" in bug.title) == (bug.choices is not None)
    assert bug.wrong != bug.right


def test_right_results_have_no_bug():
    right = [Observed(case, {name: truth(case).tensor(name) for name in TENSORS}) for case in CASES]
    assert diagnose(right) == ()


def test_noise_has_no_name():
    random = np.random.default_rng(3)
    noise = [
        Observed(case, {n: random.normal(size=np.shape(truth(case).tensor(n))) for n in TENSORS}) for case in CASES
    ]
    assert not any(d.is_named for d in diagnose(noise))


@pytest.mark.parametrize("tensor", ["y", "dx", "dgamma"])  # a sum of dy that has few digits is exact
def test_single_precision_is_named(tensor):
    seen = []
    for case in CASES:
        found = {name: truth(case).tensor(name) for name in TENSORS}
        seen.append(Observed(case, {**found, tensor: found[tensor].astype(np.float32).astype(float)}))
    (named,) = diagnose(seen)
    assert (named.code, named.tensor) == ("BUG501", tensor)
    assert "--dtype float32" in named.explanation


def test_a_formula_that_is_slightly_off_is_no_rounding():
    """Eps twice in dvar, where it is a small number: as large as rounding in float32, and a sum of dy, 1 and xhat."""
    seen = []
    for case in CASES:
        s = Steps(case, {"variance_path": lambda s: s.right("variance_path") * (1 - 2e-7 / (s.var + s.eps))})
        seen.append(Observed(case, {"y": s.y, "dx": s.dx, "dgamma": s.dgamma.ravel(), "dbeta": s.dbeta.ravel()}))
        rounded = np.abs(s.dx - truth(case).tensor("dx")) <= allowances_in(case, "float32").dx
        assert rounded.all()
    assert "BUG501" not in [d.code for d in diagnose(seen)]


def test_a_cache_that_holds_x_for_centred_x_is_one_bug_of_both_gradients():
    seen = []
    for case in CASES:
        s = Steps(case, {"back_centred": lambda s: s.x, "back_xhat": lambda s: s.back_centred * s.back_inv_std})
        seen.append(Observed(case, {"y": s.y, "dx": s.dx, "dgamma": s.dgamma.ravel(), "dbeta": s.dbeta.ravel()}))
    (named,) = diagnose(seen)
    assert (named.code, named.tensor) == ("BUG204", "dx, dgamma")


@pytest.mark.parametrize(
    ("factors", "text"),
    [(["2", "gamma"], "2 gamma"), (["std", "sqrt(var)**2"], "std * sqrt(var)**2"), (["0.03333", "W"], "0.03333 * W")],
)
def test_products_have_signs_where_they_have_brackets_or_broken_numbers(factors, text):
    assert _product(factors) == text


def test_a_smaller_dtype_inside_is_one_bug_of_all_that_errs():
    """What is added and multiplied in float64 behind it has digits that the smaller dtype does not have."""
    seen = []
    for case in CASES:
        s = Steps(case, {"centred": lambda s: s.right("centred").astype(np.float32).astype(float)})
        seen.append(Observed(case, {"y": s.y, "dx": s.dx, "dgamma": s.dgamma.ravel(), "dbeta": s.dbeta.ravel()}))
    (named,) = diagnose(seen)
    assert (named.code, named.tensor) == ("BUG501", "y, dx, dgamma")
    assert "--dtype float32" in named.explanation


@pytest.mark.parametrize(("noise", "code"), [(0.0, "BUG501"), (1e-6, "BUG000")])
def test_half_precision_is_named_where_the_values_are_of_it(noise, code):
    seen = []
    for case in CASES:
        found = {name: truth(case).tensor(name) for name in TENSORS}
        y = found["y"].astype(np.float16).astype(float) + noise
        seen.append(Observed(case, {**found, "y": y}))
    assert [d.code for d in diagnose(seen)] == [code]


def test_more_than_rounding_in_a_smaller_dtype_is_none():
    """One value that errs by more than a right evaluation in float32 may is enough."""
    seen = []
    for case in CASES:
        found = {name: truth(case).tensor(name) for name in TENSORS}
        y = found["y"].astype(np.float32).astype(float)
        y.flat[0] += 1e-3
        seen.append(Observed(case, {**found, "y": y}))
    assert [d.code for d in diagnose(seen)] == ["BUG000"]


@pytest.mark.parametrize("path", NAMED, ids=lambda p: p.stem)
def test_without_its_signature_a_bug_gets_no_untrue_name(path):
    """What is named then speaks of the same part of the formula: it gives the same values in other words."""
    said = re.search(r"^# named: (.*)$", path.read_text(), re.M).group(1)
    for seen, eps, further in naming.answers(path):
        named = [d for d in diagnose(seen, ignored_eps=eps, further=further) if d.is_named]
        about = set().union(*(naming.families(d) for d in named))
        for other in diagnose(seen, said.split(", "), eps, further):
            assert not other.is_named or naming.families(other) & about


LARGE = [build(CaseSpec(seed=seed, n=n, c=3, dy_scale=scale)) for seed, (n, scale) in enumerate([(66, 9), (71, 30)])]


def failing_where(is_wrong, fault):
    """Return what code answers whose dbeta is wrong on some cases: on those drawn for names, and on others."""
    answers = []
    for case in (*CASES, *LARGE):
        steps = Steps(case)
        found = {name: getattr(steps, name) for name in TENSORS}
        answers.append(Observed(case, {**found, "dbeta": fault(steps)} if is_wrong(case) else found))
    return answers[: len(CASES)], answers[len(CASES) :]


def test_what_fails_on_no_drawn_case_is_named_by_cases_that_fail():
    seen, further = failing_where(lambda case: True, lambda s: np.clip(s.dbeta, -20, 20))
    assert diagnose(seen) == ()
    (named,) = diagnose(seen, further=further)
    assert (named.code, named.title) == ("BUG406", "dbeta is clipped: clip(dbeta, -20, 20)")


def test_what_fails_on_no_drawn_case_is_held_to_all_cases():
    """The last row is lost in large batches alone: that of small ones is not, and nothing else is said."""
    seen, further = failing_where(lambda case: case.spec.n > 64, lambda s: s.sum(s.dy[:-1]))
    assert diagnose(seen, further=further) == ()


def test_two_bugs_of_one_tensor_are_both_named():
    first, second = (BUGS.get(code).versions([])[0] for code in ("BUG215", "BUG212"))
    steps = [Steps(case, {**first.replaced, **second.replaced}) for case in CASES]
    found = diagnose([Observed(s.case, {n: getattr(s, n) for n in TENSORS}) for s in steps])
    assert {d.code for d in found} == {"BUG215", "BUG212"}


def test_the_backward_of_a_wrong_forward_is_right_if_it_is_its_derivative():
    version = BUGS.get("BUG101").versions([])[0]
    seen = []
    for case in CASES:
        plain = Observed(case, {})
        found = {name: own_gradient(plain, version.replaced, name) for name in GRADIENTS}
        seen.append(Observed(case, {"y": Steps(case, version.replaced).y, **found}))
    assert [(d.code, d.tensor) for d in diagnose(seen)] == [("BUG101", "y")]


@pytest.mark.parametrize("tensor", GRADIENTS)
def test_the_own_gradient_is_that_of_the_reference(tensor):
    for case in CASES:
        want = truth(case).tensor(tensor)
        np.testing.assert_allclose(
            np.squeeze(own_gradient(Observed(case, {}), {}, tensor)), want, rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize(
    ("power", "text"),
    [((1, 0, 0), "gamma"), ((0, -2, 0), "1 / std**2"), ((0, 0, 1), "m"), ((-1, 1, -1), "std / (gamma m)")],
)
def test_a_factor_is_told_from_its_values(power, text):
    steps = [Steps(case) for case in CASES]
    ratios = [-2 * s.gamma ** power[0] * s.inv_std ** -power[1] * float(s.m) ** power[2] for s in steps]
    found = Factors(steps).of(ratios, 1e-9)
    assert found is not None
    assert found.text in (f"-2 {text}", f"-{text.replace('1 /', '2 /')}")


def test_no_simple_factor_is_told_from_noise():
    random = np.random.default_rng(1)
    steps = [Steps(case) for case in CASES]
    assert Factors(steps).of([random.normal(size=s.gamma.shape) for s in steps], 1e-9) is None


@pytest.mark.parametrize("path", NAMED, ids=lambda p: p.stem)
def test_the_bug_of_a_fixture_is_named(path):
    said = re.search(r"^# named: (.*)$", path.read_text(), re.M).group(1)
    assert ", ".join(naming.named(path)) == said


def test_a_report_has_the_name():
    path = FIXTURES / "buggy" / "misprinted_dx.py"
    report = pipeline.run([TargetSpec(str(path))], Settings(cases=20), executor=InProcess())
    assert [d.code for d in report.targets[0].diagnoses] == ["BUG215", "BUG221"]


def test_enough_fixtures_are_named():
    assert len(NAMED) >= 50


def test_telling_cases_follow_a_fixed_eps():
    for spec in telling("float32", (0,), 1e-5):
        assert isinstance(spec, CaseSpec)
        assert (spec.eps, spec.dtype) == (1e-5, "float32")
        assert 0.05 < spec.eps / spec.sd**2 < 0.5


STAGED_DMU = {"mean_path": lambda s: -s.mean(s.direct_path + s.variance_path)}


@pytest.mark.parametrize("form", [{}, STAGED_DMU], ids=["closed", "staged"])
@pytest.mark.parametrize("power", [1, 2])
def test_the_line_that_is_shown_gives_what_was_measured(form, power):
    """A power of the deviation that is lost in dvar: the term is x - mu times something, and not x."""
    wrong = {**form, "variance_path": lambda s: s.right("variance_path") * np.sqrt(s.var + s.eps) ** power}
    seen = []
    for case in CASES:
        s = Steps(case, wrong)
        seen.append(Observed(case, {"y": s.y, "dx": s.dx, "dgamma": s.dgamma.ravel(), "dbeta": s.dbeta.ravel()}))
    (named,) = diagnose(seen)
    for o in seen:
        s = Steps(o.case)
        known = {"gamma": s.gamma, "var": s.var, "eps": s.eps, "dy": s.dy, "xhat": s.xhat, "x": s.x, "mu": s.mu}
        known |= {"mean": s.mean, "sqrt": np.sqrt, "std": np.sqrt(s.var + s.eps)}
        term = eval(named.wrong, known)
        assert np.allclose(s.direct_path + s.mean_path + term, o.found["dx"])


# The choices of formulas that are written as they are computed.
WRITTEN = [
    (code, choice)
    for code, bug in OF_FORMULAS.items()
    if code in ("BUG203", "BUG204", "BUG205", "BUG217", "BUG218", "BUG219", "BUG301")
    for choice in bug.choices([])
    if not re.search(" over |everything|[a-z)] [a-z]|[0-9] [a-z]", choice.text.replace(" * ", "*").replace(" - ", "-"))
]


@pytest.mark.parametrize(("code", "choice"), WRITTEN, ids=[f"{code} {choice.text}" for code, choice in WRITTEN])
def test_what_stands_in_the_place_of_the_right_term_is_what_is_computed(code, choice):
    s = Steps(CASES[0])
    known = {name: getattr(s, name) for name in ("gamma", "var", "eps", "dy", "xhat", "x", "mu", "y", "beta", "m")}
    known |= {"mean": s.mean, "sum": s.sum, "sqrt": np.sqrt, "abs": np.abs, "dgamma": s.dgamma, "dbeta": s.dbeta}
    known["dx"] = s.direct_path + s.variance_path
    with np.errstate(invalid="ignore"):  # the root of var - eps
        value = choice.value(s)
        assert np.allclose(value, eval(choice.text, known) * np.ones_like(value), equal_nan=True)
