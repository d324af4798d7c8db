"""Lines between a worker and its parent: what is sent comes back the same, and what is no event is refused."""

import json
import typing
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from render import located
from spoiling import TEXTS, assert_short_line, encoded, made, spoiled_bytes, spoiled_data, spoiled_text, times

from bncheck.case import CaseSpec
from bncheck.errors import UsageError
from bncheck.executors.wire import event_line, read_event, read_task, task_line
from bncheck.model import CaseResult, Judgement, Outcome, TargetCard
from bncheck.settings import Settings
from bncheck.tasks import Begun, Broken, Diagnosed, Discovered, Event, Judged, Refused, Shown, Task, Written

# Of a failure, which may be large.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

# What a worker tells; that of its end comes from its parent.
KINDS = typing.get_args(Event)
EVENTS = st.one_of(*map(made, KINDS))
# Not every number and every word is a setting.
SETTINGS = st.builds(
    Settings, cases=st.integers(1), seed=st.integers(0, 2**64 - 1), select=st.sampled_from([(), ("BN2", "BN503")])
)
PARTS = {name: made(hint) for name, hint in typing.get_type_hints(Task).items() if name != "settings"}
TASKS = st.builds(Task, settings=SETTINGS, **PARTS)


@cache
def lines():
    """Return a line of each kind, with something of everything in it."""
    target, case = located(), CaseSpec().id
    off = Judgement(Outcome.FAIL, "off", "dx", 1.0, float("inf"), (0, 1), 0.5, float("nan"), True)
    judgements = {"BN101": Judgement(Outcome.PASS), "BN201": off, "BN301": Judgement(Outcome.SKIP, "no statistics")}
    cards = (TargetCard(target.name, target.conventions, "a stub", target.discovery, target.defined),)
    events = [
        Discovered(cards),
        Refused("no such file", False, ("looked", "tried")),
        Begun(case),
        Judged(CaseResult(case, judgements, 7)),
        *(Shown("BN201", exhibit, off, "N > 2", 5, ((case, True),), "in the last") for exhibit in target.exhibits),
        Diagnosed(target.diagnoses, 12),
        Written("def forward(x):\n    pass\n"),
        Broken("Traceback\n"),
    ]
    assert {type(event) for event in events} == set(KINDS)
    return tuple(map(event_line, events))


@cache
def data():
    return tuple(map(json.loads, lines()))


@cache
def texts():
    return tuple(line.decode() for line in lines())


def read_or_refused(line):
    """Read a line; tell whether it is an event, which then comes back the same."""
    try:
        event = read_event(line)
    except UsageError as error:
        assert_short_line(error)
        return False
    assert isinstance(event, KINDS)
    assert repr(read_event(event_line(event))) == repr(event)
    return True


@times(3)
@given(EVENTS)
def test_events_come_back_as_they_went(event):
    line = event_line(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    back = read_event(line)
    # NaN is not equal to itself, but its repr is.
    assert repr(back) == repr(event)
    assert event_line(back) == line


@times(2)
@given(TASKS)
def test_tasks_come_back_as_they_went(task):
    line = task_line(task)
    assert line.count(b"\n") == 1
    assert repr(read_task(line)) == repr(task)


def test_what_is_spoiled_is_right_to_begin_with():
    assert all(read_or_refused(line) for line in lines())


@times(15)
@given(spoiled_data(data))
def test_an_event_with_spoiled_values_is_read_or_refused(data):
    read_or_refused(json.dumps(data).encode() + b"\n")


@times(5)
@given(spoiled_text(texts).map(encoded))
def test_a_line_with_spoiled_tokens_is_read_or_refused(line):
    read_or_refused(line)


@times(5)
@given(spoiled_bytes(lines))
def test_a_line_with_spoiled_bytes_is_read_or_refused(line):
    read_or_refused(line)


@times(5)
@given(st.binary() | TEXTS.map(encoded))
def test_any_bytes_are_refused(line):
    assert not read_or_refused(line)
