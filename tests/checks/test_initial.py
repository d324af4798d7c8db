"""BN701 to BN704 on what discovery has found a fresh layer to start from."""

import pytest
import targets
from judging import complaints, judged
from layers import Keeping

from bncheck.model import Outcome


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("random", "starts from random numbers"),
        ("one number", "is one number for all channels"),
        ("a value per element", "has a value per element of the batch"),
        ("differs by channel", "starts from another number in every channel"),
        ("0.5", "starts at 0.5"),
    ],
)
@pytest.mark.parametrize(("code", "name", "position"), [("BN701", "gamma", 0), ("BN702", "beta", 1)])
def test_another_start_warns_alone(code, name, position, word, said):
    initial = tuple(word if i == position else right for i, right in enumerate("10"))
    judgement = judged(code, Keeping().told(initial=initial))
    assert judgement.outcome is Outcome.WARN
    assert judgement.message.startswith(f"{name} {said}")
    assert complaints(Keeping().told(initial=initial))[0] == {code}


def test_gamma_and_beta_are_not_each_other():
    assert complaints(Keeping().told(initial=("0", "1")))[0] == {"BN701", "BN702"}


@pytest.mark.parametrize("start", ["random", "1, 0", "0.5, 0.5"])
def test_another_start_of_the_statistics_warns_alone(start):
    layer = Keeping().told(running_start=start)
    judgement = judged("BN703", layer)
    assert (judgement.outcome, judgement.message) == (Outcome.WARN, f"running mean and variance start from {start}")
    assert complaints(layer)[0] == {"BN703"}


@pytest.mark.parametrize("start", ["0, 1", "0, 0", "first batch"])
def test_the_usual_starts_pass(start):
    layer = Keeping().told(running_start=start, initial=("1", "0"))
    assert {judged(code, layer).outcome for code in ("BN701", "BN702", "BN703")} == {Outcome.PASS}


@pytest.mark.parametrize("code", ["BN701", "BN702", "BN703"])
def test_what_is_handed_over_or_not_there_is_skipped(code):
    assert judged(code, targets.Pair()).outcome is Outcome.SKIP
    assert judged(code, Keeping().told(running_start="")).outcome is Outcome.SKIP


@pytest.mark.parametrize(
    ("sense", "usual", "written", "share"),
    [("kept", 0.1, None, "90%"), ("new", 0.9, None, "90%"), ("new", 1.0, None, "100%"), ("fixed", None, 0.25, "75%")],
)
def test_statistics_that_are_mostly_new_by_default_are_warned_of(sense, usual, written, share):
    layer = Keeping(sense="kept").told(momentum_sense=sense, usual_momentum=usual, momentum=written)
    judgement = judged("BN704", layer)
    assert judgement.outcome is Outcome.WARN
    assert f"{share} of the running statistics are new after each batch" in judgement.message


@pytest.mark.parametrize(
    ("sense", "usual", "written"), [("kept", 0.9, None), ("new", 0.1, None), ("kept", 0.5, None), ("fixed", None, 0.9)]
)
def test_statistics_that_are_mostly_kept_by_default_pass(sense, usual, written):
    layer = Keeping(sense="kept").told(momentum_sense=sense, usual_momentum=usual, momentum=written)
    assert judged("BN704", layer).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "told",
    [
        {"usual_momentum": None},
        {"usual_momentum": 0.9, "momentum_sense": "cumulative"},
        {"usual_momentum": 0.9, "misfit": ""},  # a profile is declared, and it fits
    ],
)
def test_without_a_default_or_under_a_profile_no_side_is_the_wrong_one(told):
    assert judged("BN704", Keeping(sense="new").told(**told)).outcome is Outcome.SKIP
    assert judged("BN704", targets.Pair()).outcome is Outcome.SKIP


def test_statistics_that_start_otherwise_in_every_channel_are_told_of_in_words():
    told = judged("BN703", Keeping(sense="kept").told(running_start="differs by channel"))
    assert told.outcome is Outcome.WARN
    assert told.message == "running mean and variance start from another number in every channel"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            {"momentum_sense": "kept", "usual_momentum": 0.9},
            "0.9 of the old {}, by the default momentum of 0.9",
        ),
        (
            {"momentum_sense": "new", "usual_momentum": 0.1},
            "0.9 of the old {}, by the default momentum of 0.1",
        ),
        ({"momentum_sense": "fixed", "momentum": 0.75}, "0.75 of the old {}, by a number in the code"),
    ],
)
def test_how_much_stays_is_told(told, message):
    assert judged("BN704", Keeping(sense="kept").told(**told)).message == message.format("statistics stay")
