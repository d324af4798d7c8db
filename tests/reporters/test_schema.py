"""The JSON Schema of the report: it is that of the types, it lets real reports through and stops wrong ones."""

import copy
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from render import FOR_MACHINES, REPORTS, located, report

import bncheck
from bncheck.codec import to_json
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.schema import kept, schema, spelled
from bncheck.reporters.specimen import specimen

ROOT = Path(__file__).parents[2]
FIXTURES = ("correct/class_returns_tuple.py", "buggy/misprinted_dx.py", "hostile/raises.py", "hostile/half_done.py")


@pytest.fixture(scope="module")
def strict():
    """Return a validator that knows every key: what a reporter adds has to be in the schema."""
    made = schema()
    for part in (made, *made["$defs"].values()):
        if "properties" in part:
            part["additionalProperties"] = False
    return Draft202012Validator(made)


def test_the_schema_that_is_shipped_is_that_of_the_types():
    assert kept() == spelled(), "a type has changed: python -m bncheck.reporters.schema"


def test_it_is_a_schema():
    Draft202012Validator.check_schema(json.loads(kept()))


@pytest.mark.parametrize("name", sorted(REPORTS | FOR_MACHINES))
def test_hand_made_reports_fit(strict, name):
    strict.validate(json.loads(REPORTERS.get("json")((REPORTS | FOR_MACHINES)[name], Style())))


def test_the_specimen_fits(strict):
    strict.validate(json.loads(REPORTERS.get("json")(specimen(), Style())))


def wrong_reports():
    def changed(place, value):
        data = copy.deepcopy(to_json(report(located())))
        at = data
        for step in place[:-1]:
            at = at[step]
        if value is KeyError:
            del at[place[-1]]
        else:
            at[place[-1]] = value
        return pytest.param(data, id=".".join(map(str, place)))

    finding, exhibit = ("targets", 0, "findings", 1), ("targets", 0, "exhibits", 0)
    return [
        changed(("schema",), "bncheck.report/2"),
        changed(("schema",), KeyError),
        changed(("verdict",), "fial"),
        changed(("seed",), "0"),
        changed(("targets", 0, "name"), None),
        changed(("targets", 0, "defined", "number"), "12"),
        changed((*finding, "code"), KeyError),
        changed((*finding, "outcome"), "failed"),
        changed((*finding, "error"), "NAN"),
        changed((*finding, "index"), [0.5]),
        changed((*finding, "counts"), {"fail": "1"}),
        changed((*exhibit, "inputs", "x", "values"), [1.0, "x"]),
        changed((*exhibit, "comparisons"), {}),
        changed(("targets", 0, "conventions", "initial"), ["1"]),
    ]


@pytest.mark.parametrize("data", wrong_reports())
def test_wrong_reports_do_not_fit(data):
    assert not Draft202012Validator(schema()).is_valid(data)


@pytest.mark.parametrize("fixture", FIXTURES)
def test_real_reports_fit_and_every_format_takes_them(strict, fixture):
    made = bncheck.verify(str(ROOT / "fixtures" / fixture), cases=12)
    assert made.targets
    strict.validate(json.loads(REPORTERS.get("json")(made, Style())))
    for form in set(REPORTERS.names()) - {"html"}:
        assert REPORTERS.get(form)(made, Style())
