"""One line of JSON per task or event, between an isolated worker and its parent."""

from __future__ import annotations

import json

from bncheck.codec import decode, encode
from bncheck.errors import UsageError
from bncheck.tasks import Begun, Broken, Diagnosed, Discovered, Event, Judged, Refused, Shown, Task, Written

# A line of this text ends a task.
DONE = b"done\n"

_TYPES: tuple[type[Event], ...] = (Discovered, Refused, Begun, Judged, Shown, Diagnosed, Written, Broken)
_EVENTS = {cls.__name__: cls for cls in _TYPES}


def task_line(task: Task) -> bytes:
    """Return the line that carries a task."""
    return json.dumps(encode(task), allow_nan=False).encode() + b"\n"


def read_task(line: bytes) -> Task:
    """Return the task of a line."""
    return decode(Task, json.loads(line))


def event_line(event: Event) -> bytes:
    """Return the line that carries an event."""
    return json.dumps([type(event).__name__, encode(event)], allow_nan=False).encode() + b"\n"


def read_event(line: bytes) -> Event:
    """Return the event of a line; raise UsageError if it is none."""
    try:
        name, data = json.loads(line)
        return decode(_EVENTS[name], data)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"the worker sent what is no event: {line[:80]!r}") from error
