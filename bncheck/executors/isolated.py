"""Performs tasks in child processes: a crash, an exit or an endless loop of user code ends a child, not the run."""

from __future__ import annotations

import math
import os
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from bncheck.executors.base import Abandoned, Died, Hear
from bncheck.executors.child import Child
from bncheck.executors.wire import DONE, read_event, task_line
from bncheck.model import TargetSpec
from bncheck.settings import Settings
from bncheck.tasks import Begun, Broken, Discovered, Event, Judged, Refused, Task

# Reading a file means importing it, and whatever it imports: a framework takes many seconds on a cold disk.
_IMPORT_SECONDS = 120.0
# In the first call of user code libraries come up, and compile.
_FIRST_TIMEOUTS = 3
# After this many deaths in one sweep the rest of the cases would tell the same story, a worker's start apiece.
DEATHS = 3
# Cases that the first worker does while the others import the source, and find out how to call it.
HEAD = 20
# Another worker pays for its start where it saves that many cases; and more than a few fight over memory.
_WORTH, _MOST = 70, 4

Answer = Event | Died | Abandoned


class WorkerError(RuntimeError):
    """The worker failed outside of user code: bncheck's own fault. The text is the worker's traceback."""


def workers(settings: Settings) -> int:
    """Return how many processes should share a sweep: as asked for, if so many have a share, else as pay off."""
    if settings.jobs is not None:
        return min(settings.jobs, max(1, settings.cases - HEAD))
    if settings.device != "cpu":
        return 1  # a device's memory may be too little for two
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, max(1, settings.cases // _WORTH), _MOST)


class Isolated:
    """Child processes, started anew after a death and for every source: imports must not meet in sys.modules.

    The first performs every task; the others do no more than take their share of a sweep. They import a source after
    the first has done so, lest a file that writes or downloads something as it is imported does so twice at once.

    Parameters
    ----------
    timeout : float
        Seconds without any event after which a worker is stopped.
    jobs : int
        How many processes share the cases of a sweep.
    folder : str, optional
        Where they begin, and look for sources from; by default where this one is.

    """

    def __init__(self, timeout: float, jobs: int = 1, folder: str | None = None) -> None:
        self._timeout, self._jobs, self._folder = timeout, jobs, folder
        self._places: list[_Place] = []
        self._source: TargetSpec | None = None

    def run(self, task: Task, hear: Hear) -> None:
        """Perform `task`; after a death go on with the cases that are left."""
        if self._source not in (None, task.spec):
            self.close()
        self._source = task.spec
        if not self._places:
            self._places = [_Place(self._timeout, self._folder) for _ in range(self._jobs)]
        try:
            if task.kind == "discover":
                self._discover(task, hear)
            elif task.kind == "sweep" and self._jobs > 1 and len(task.cases) > HEAD:
                self._share(task, hear)
            else:
                self._places[0].run(task, hear)
        except BaseException:
            self.close()  # what is under way is of no use to anybody
            raise

    def _discover(self, task: Task, hear: Hear) -> None:
        first, *others = self._places

        def also(event: Answer) -> None:
            hear(event)
            for other in others:
                if isinstance(event, Begun):
                    other.start()  # it loads its own libraries while the first imports the source
                elif isinstance(event, Discovered):
                    other.later(task, lambda event: None)

        first.run(task, also)

    def _share(self, task: Task, hear: Hear) -> None:
        """Perform a sweep in all workers, and tell what happens in the order of its cases, as one alone would."""
        sweep = _SharedSweep(task, self._places)
        while (answer := sweep.next()) is not None:
            hear(answer)
            if isinstance(answer, Died) and sweep.deaths == DEATHS:
                hear(Abandoned())
                self.close()
                return
        sweep.wait_for_first()

    def __enter__(self) -> Self:
        # The worker loads its libraries while the caller does its own.
        self._places = [_Place(self._timeout, self._folder) for _ in range(self._jobs)]
        self._places[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, and what they perform with them; the next task finds new ones."""
        places, self._places = self._places, []
        with ExitStack() as each:  # a second Ctrl-C does not spare the rest
            for place in places:
                each.callback(place.close)


class _SharedSweep:
    """A sweep in several places at once. Every other case, behind the first ones, is one place's share."""

    def __init__(self, task: Task, places: list[_Place]) -> None:
        self.left = list(task.cases)
        self.deaths = 0
        self._answers: dict[str, Answer] = {}
        self._told: queue.SimpleQueue[_Told] = queue.SimpleQueue()
        self._first = places[0]
        rest = [task.cases[HEAD + number :: len(places)] for number in range(len(places))]
        cases = [task.cases[:HEAD] + rest[0], *rest[1:]]
        self._shares = [replace(task, cases=share) for share in cases]
        self._ended = False
        self._of_first = [self._begun(0, places[0])]
        self._elsewhere = {number: self._begun(number, place) for number, place in enumerate(places) if number}

    def _begun(self, number: int, place: _Place) -> Future[None]:
        """Let a place take a share; what it tells, and its end, are put into the one queue."""
        future = place.later(self._shares[number], lambda event: self._told.put(_Told(number, event)))
        future.add_done_callback(lambda done: self._told.put(_Told(number, None, done)))
        return future

    def next(self) -> Answer | None:
        """Return the next answer in the order of the cases, or None at the end."""
        while not self._ended and self.left and self.left[0] not in self._answers:
            last = self._take(self._told.get())
            if last is not None:
                self._ended = True
                return last
        if self._ended or not self.left:
            return None
        answer = self._answers.pop(self.left.pop(0))
        self.deaths += isinstance(answer, Died)
        return answer

    def _take(self, told: _Told) -> Answer | None:
        """Keep what was told; return it if nothing can follow it."""
        event = told.event
        if isinstance(event, Judged):
            self._answers[event.result.case] = event
        elif isinstance(event, Died) and event.case is not None:
            self._answers[event.case] = event
        elif isinstance(event, Died | Refused):
            if told.number == 0:
                return event
            self._hand_over(told.number)
        elif told.done is not None and not told.done.cancelled():
            if (error := told.done.exception()) is not None:
                raise error
            if told.number == 0:
                for number, future in [*self._elsewhere.items()]:
                    if future.cancel():  # that place has not come so far as to begin
                        self._hand_over(number)
        return None

    def _hand_over(self, number: int) -> None:
        """Let the first place do the share of another."""
        share = self._shares[number]
        left = {*self.left} - {*self._answers}
        self._shares[0] = replace(share, cases=tuple(case for case in share.cases if case in left))
        self._of_first.append(self._begun(0, self._first))
        del self._elsewhere[number]

    def wait_for_first(self) -> None:
        """Wait until the first place has read all that its child has to say: its next task may be any."""
        for future in self._of_first:
            if not future.cancel():
                future.result()


@dataclass(frozen=True, slots=True)
class _Told:
    """What a place told of a share by number: an answer, or that it is done with it."""

    number: int
    event: Answer | None
    done: Future[None] | None = None


class _Place:
    """Where one child process at a time performs tasks."""

    def __init__(self, timeout: float, folder: str | None = None) -> None:
        self._timeout, self._folder = timeout, folder
        self._child: Child | None = None
        self._closed = False
        self._line: ThreadPoolExecutor | None = None
        self._turn = threading.Lock()

    def start(self) -> Child | None:
        """Return the child, started if there is none; None once the place is closed."""
        with self._turn:
            if self._child is None and not self._closed:
                self._child = Child(self._folder)
            return self._child

    def later(self, task: Task, hear: Hear) -> Future[None]:
        """Perform a task in a thread, after those before it."""
        if self._line is None:
            self._line = ThreadPoolExecutor(1)
        return self._line.submit(self.run, task, hear)

    def run(self, task: Task, hear: Hear) -> None:
        """Perform `task`; after a death go on with the cases that are left."""
        left = list(task.cases)
        for _ in range(DEATHS):
            if self._closed:
                return
            died = self._once(replace(task, cases=tuple(left)), hear, left)
            if died is None or self._closed:
                return
            hear(died)
            if task.kind != "sweep" or died.case is None:
                return
            left.remove(died.case)
        hear(Abandoned())

    def _once(self, task: Task, hear: Hear, left: list[str]) -> Died | None:
        """Run what is left of a task; strike judged cases off `left`; return how the worker died, or None."""
        child = self.start()
        if child is None:
            return None
        child.send(task_line(task))
        current: str | None = None
        calls = -1  # of user code, while it is tried how to call it: the first sign of life is that it was imported
        while True:
            event = child.next(self._patience(current, calls))
            if event is None:
                silent = child.alive
                how = child.stop(self._timeout if current is not None else math.inf)
                with self._turn:
                    self._child = None
                return Died(current or None, how, silent)
            if event == DONE:
                return None
            told = read_event(event)
            if isinstance(told, Broken):
                raise WorkerError(f"{told.traceback.splitlines()[-1]} (in the worker)\n{told.traceback}")
            if isinstance(told, Begun):
                current = told.case
                calls += not current
            elif isinstance(told, Judged) and task.kind == "sweep":
                left.remove(told.result.case)
            hear(told)

    def _patience(self, current: str | None, calls: int) -> float:
        """Return how long the worker may be silent: longer while it imports, and in its first call of what it found."""
        if current is None:
            return max(self._timeout, _IMPORT_SECONDS)
        return self._timeout if current or calls > 1 else _FIRST_TIMEOUTS * self._timeout

    def close(self) -> None:
        """End the child at once, and what it performs with it."""
        with self._turn:
            self._closed = True
            if self._child is not None:
                self._child.kill()
        if self._line is not None:
            self._line.shutdown(cancel_futures=True)
