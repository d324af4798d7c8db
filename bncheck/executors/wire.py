"""One line of JSON per task or event, between an isolated worker and its parent."""

from __future__ import annotations

import json

from bncheck.codec import decode, encode
from bncheck.compact import read_result, result_text
from bncheck.errors import UsageError
from bncheck.executors.base import Abandoned, Died
from bncheck.tasks import Begun, Broken, Diagnosed, Discovered, Event, Judged, Refused, Shown, Task, Written

# A line of this text ends a task.
DONE = b"done\n"

_TYPES: tuple[type[Event | Died | Abandoned], ...] = (
    Discovered, Refused, Begun, Judged, Shown, Diagnosed, Written, Broken, Died, Abandoned,
)  # fmt: skip
_JUDGED, _END = b'["Judged",', b"]\n"
_EVENTS = {cls.__name__: cls for cls in _TYPES}


def task_line(task: Task) -> bytes:
    """Return the line that carries a task."""
    return json.dumps(encode(task), allow_nan=False).encode() + b"\n"


def read_task(line: bytes) -> Task:
    """Return the task of a line."""
    return decode(Task, json.loads(line))


def event_line(event: Event | Died | Abandoned) -> bytes:
    """Return the line that carries an event."""
    if isinstance(event, Judged):  # there is one for every case, and one of the next for each
        return _JUDGED + result_text(event.result).encode() + _END
    if isinstance(event, Begun):
        return b'["Begun",' + json.dumps(event.case).encode() + b"]\n"
    return json.dumps([type(event).__name__, encode(event)], allow_nan=False).encode() + b"\n"


def read_event(line: bytes) -> Event | Died | Abandoned:
    """Return the event of a line; raise UsageError if it is none."""
    try:
        name, data = json.loads(line)
        if name == "Judged":
            # Only a line as it is written above has the result's own text in it.
            text = line[len(_JUDGED) : -len(_END)] if line.startswith(_JUDGED) and line.endswith(_END) else b""
            return Judged(read_result(data), text.decode())
        if name == "Begun" and isinstance(data, str):
            return Begun(data)
        return decode(_EVENTS[name], data)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"the worker sent what is no event: {line[:80]!r}") from error
