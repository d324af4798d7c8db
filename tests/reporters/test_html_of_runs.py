"""What a run leaves in its report for the plots, and that the page of a stored report has them, without the target."""

import json

import pytest
from markup_seen import Seen

from bncheck import pipeline
from bncheck.codec import report_from_json, to_json
from bncheck.model import Outcome, TargetSpec
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.document.pictures import _tick
from bncheck.settings import Settings

FIXTURES = "fixtures/buggy"


def run(name):
    return pipeline.run([TargetSpec(f"{FIXTURES}/{name}.py")], Settings(cases=40))


@pytest.fixture(scope="module")
def misprinted():
    return run("misprinted_dx")


def test_failing_roots_have_a_trend_and_nothing_else_has(misprinted):
    for finding in misprinted.targets[0].findings:
        is_root = finding.outcome is Outcome.FAIL and finding.follows_from is None
        assert (finding.trend is not None) == is_root
    root = misprinted.targets[0].findings[0]
    assert len(root.trend.values) <= 40
    assert sum(root.trend.failed) == root.counts["fail"]


def test_the_exhibited_case_of_a_numeric_check_has_its_probe(misprinted):
    probe = misprinted.targets[0].exhibits[0].probe
    assert len(probe.coefficients) == 16
    assert probe.error > 1e6 * probe.allowed
    assert probe.allowed > probe.level > 0


def test_statistics_have_no_probe():
    report = run("eps_outside_root_in_eval")
    assert [exhibit.probe for exhibit in report.targets[0].exhibits] == [None]
    assert Seen(REPORTERS.get("html")(report, Style())).misfits == []


def test_versions_are_told(misprinted):
    assert misprinted.versions.keys() == {"Python", "numpy"}


def test_the_page_of_a_stored_report_is_that_of_the_run(misprinted):
    stored = report_from_json(json.loads(json.dumps(to_json(misprinted), allow_nan=False)))
    page = REPORTERS.get("html")(stored, Style())
    assert page == REPORTERS.get("html")(misprinted, Style())
    assert {"svg", "math", "table"} <= {tag for tag, _ in Seen(page).elements}
    assert len(Seen(page).all("svg")) == 3  # squares, probe, trend


def test_what_plots_need_is_small(misprinted):
    exhibit = json.dumps(to_json(misprinted)["targets"][0]["exhibits"][0]["probe"])
    trend = json.dumps(to_json(misprinted)["targets"][0]["findings"][0]["trend"])
    assert len(exhibit) < 1000
    assert len(trend) < 40 * 60


@pytest.mark.parametrize(
    ("value", "said"), [(0.001, "0.001"), (1.0, "1"), (1e4, "10000"), (1e5, "1e5"), (1e-4, "1e-4"), (1e13, "1e13")]
)
def test_ticks_are_short(value, said):
    assert _tick(value) == said
