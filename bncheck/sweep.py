"""The sweep of one target: its cases one after another, what is heard of them, and when it ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NoReturn

from bncheck.case import CaseSpec
from bncheck.errors import UsageError
from bncheck.executors.base import Abandoned, Died, Executor
from bncheck.journal import Journal, sum_of
from bncheck.model import CaseResult, Judgement, Outcome, TargetSpec
from bncheck.report import Progress
from bncheck.settings import Settings
from bncheck.tally import Tally
from bncheck.tasks import Event, Judged, Refused, Task

Show = Callable[[Progress], None]
# Cases of one task: enough to keep many processes busy, and no burden for the memory. After some deaths in one part the
# rest is given up, so that this is the same number wherever the cases run.
PART = 4000


class Sweep:
    """What is heard while cases are run.

    Attributes
    ----------
    seen : Tally
        What the cases came to.
    planned : int
        How many were to be run.
    stopped : str
        Why not all of them were; "" if they were, or if it is told by `abandoned`, `refusal` or `interrupted`.
    abandoned : int
        Cases that were not run after several deaths of the process.
    refusal : str
        Why the target cannot be run at all.
    interrupted : bool
        Whether the sweep ended before its time: by the user, for want of room for the journal, or of a file that stays.

    """

    def __init__(
        self, spec: TargetSpec, settings: Settings, executor: Executor, journal: Journal | None = None
    ) -> None:
        self.spec, self.settings, self.executor = spec, settings, executor
        self.seen = Tally()
        self.planned = self.abandoned = 0
        self.stopped = self.refusal = ""
        self.interrupted = False
        self._journal = journal
        self._target = ""
        self._show: Show | None = None
        self._until = math.inf
        # Of the part that runs: what was not told yet, the next case last; empty once something came out of order.
        self._left: list[str] = []

    def run(self, target: str, cases: Iterator[str], planned: int, show: Show | None) -> None:
        """Judge the cases, a part after the other: all at once would not fit into memory."""
        self.planned, self._target, self._show = planned, target, show
        source = sum_of(self.spec)
        try:
            if self._journal is not None:
                self._read(self._journal, target, cases)
            if self.settings.max_time is not None:
                self._until = time.monotonic() + self.settings.max_time
            while part := tuple(islice(cases, PART - self.seen.cases % PART)):
                self._left = list(reversed(part))
                self.executor.run(Task("sweep", self.spec, self.settings, target, part), self._hear)
                if self.abandoned or self.refusal:
                    return
                if self.seen.cases < planned and sum_of(self.spec) != source:
                    self._end("the file was changed while its cases ran")
        except KeyboardInterrupt:
            self.interrupted = True
        except _EndError as end:
            self.stopped = str(end)

    def _read(self, journal: Journal, target: str, cases: Iterator[str]) -> None:
        """Take in what the journal has of this target, and go on behind it."""
        for result in journal.results(target, self.spec):
            case = next(cases, None)
            if case is None:
                break  # it was begun with more cases
            if case != result.case:
                raise UsageError(f"{journal.path}: {target} has other cases than it was begun with")
            self.seen.add(result)
            self._tell()
        self._keep(lambda: journal.begin(target, self.spec))

    def _hear(self, event: Event | Died | Abandoned) -> None:
        if isinstance(event, Abandoned):
            self.abandoned = self.planned - self.seen.cases
        elif isinstance(event, Refused):
            self.refusal = event.message
        elif isinstance(event, Died) and event.case is not None:
            self._take(_died(event.case, event))
        elif isinstance(event, Died):
            # It cannot even be imported any more: that is no case's doing, and the next part would find the same.
            if self._left:
                self.seen.add(_died(self._left[-1], event))
            self.abandoned = self.planned - self.seen.cases
        elif isinstance(event, Judged):
            self._take(event.result)
        if self.seen.cases < self.planned and time.monotonic() >= self._until:
            raise _EndError(f"--max-time {self.settings.max_time:g} was over")

    def _take(self, result: CaseResult) -> None:
        self.seen.add(result)
        # What is told out of order, as a sweep is interrupted, is not written: the next one begins with the first gap.
        if not self._left or self._left[-1] != result.case:
            self._left = []
        else:
            journal = self._journal
            if journal is not None:
                self._keep(lambda: journal.add(result))
            self._left.pop()  # now, and not before: an interrupted write leaves it there, and nothing follows it
        self._tell()

    def _tell(self) -> None:
        if self._show is not None:
            self._show(Progress(self._target, self.seen.cases, self.planned, self.seen.failures))

    def _keep(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            assert self._journal is not None
            self._end(f"the journal {self._journal.path}: {error.strerror}")

    def _end(self, why: str) -> NoReturn:
        """End the sweep, as if the user had done so."""
        self.interrupted = True
        raise _EndError(why)


class _EndError(Exception):
    """The sweep ends here; the text says why."""


# Code in Python loops, or of a cost that grows with the square of the batch, takes longer than any timeout on large
# batches. What ends on all batches up to this size is taken to be slow beyond it, not endless.
_SLOW_BEYOND = 512


def _died(case: str, died: Died) -> CaseResult:
    return CaseResult(case, {"BN506": Judgement(_outcome_of(died), died.how)})


def _outcome_of(died: Died) -> Outcome:
    slow = died.silent and died.case is not None and CaseSpec.parse(died.case).m > _SLOW_BEYOND
    return Outcome.WARN if slow else Outcome.FAIL
