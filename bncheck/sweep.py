"""The sweep of one target: its cases one after another, what is heard of them, and when it ends."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from types import FrameType
from typing import NoReturn

from bncheck.case import CaseSpec
from bncheck.compact import result_text
from bncheck.errors import UsageError
from bncheck.executors.base import Abandoned, Died, Executor
from bncheck.journal import Journal, sum_of
from bncheck.model import CaseResult, Judgement, Outcome, TargetSpec
from bncheck.report import CHANGED, Progress
from bncheck.settings import Settings
from bncheck.tally import Tally
from bncheck.tasks import Event, Judged, Refused, Task

Show = Callable[[Progress], None]
# Cases of one task: enough to keep many processes busy, and no burden for the memory. After some deaths in one part the
# rest is given up, so that this is the same number wherever the cases run.
PART = 4000


class Sweep:
    """What is heard while cases are run. The tally and the journal have the same cases, whatever ends it.

    But for one: where the source cannot even be loaded any more, the next case stands for that in the tally alone.

    Attributes
    ----------
    seen : Tally
        What the cases came to.
    planned : int
        How many were to be run.
    stopped : str
        Why not all of them were; "" if they were, or if it is told by `refusal`, or by `interrupted` alone.
    resumed : int
        Cases that were read from the journal, and not run.
    ends : int
        How many times the process has ended, in these cases too.
    abandoned : int
        Cases that were not run after several such ends.
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
        self.planned = self.resumed = self.ends = self.abandoned = 0
        self.stopped = self.refusal = ""
        self.interrupted = False
        self._journal = journal
        self._target = ""
        self._show: Show | None = None
        self._until = math.inf
        self._interrupts = _Interrupts()
        # Of the part that runs: what was not told yet, the next case last.
        self._left: list[str] = []

    def run(self, target: str, cases: Iterator[str], planned: int, show: Show | None) -> None:
        """Judge the cases, a part after the other: all at once would not fit into memory."""
        self.planned, self._target, self._show = planned, target, show
        try:
            with self._interrupts:
                self._run(target, cases, planned)
        except KeyboardInterrupt:
            self.interrupted = True
        except _EndError as end:
            self.stopped = str(end)

    def _run(self, target: str, cases: Iterator[str], planned: int) -> None:
        source = sum_of(self.spec)
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
                self._end(CHANGED)

    def _read(self, journal: Journal, target: str, cases: Iterator[str]) -> None:
        """Take in what the journal has of this target, and go on behind it."""
        for number, result in journal.results(target, self.spec):
            case = next(cases, None)
            if case is None:
                break  # it was begun with more cases
            if case != result.case:
                raise UsageError(
                    f"{journal.path}, line {number} is case {result.case:.200}, expected {case}: a line is missing or "
                    f"doubled, or what {target} imports has changed. {journal.before(number)}"
                )
            with self._interrupts.put_off():
                self._count(result)
                self.resumed += 1
            self._tell()
        if not self.resumed and not journal.is_new:
            sys.stderr.write(f"bncheck: {journal.path} has no cases of {target}; they begin here\n")
        self._keep(lambda: journal.begin(target, self.spec))

    def _hear(self, event: Event | Died | Abandoned) -> None:
        if isinstance(event, Abandoned):
            self._abandon()
        elif isinstance(event, Refused):
            self.refusal = event.message
        elif isinstance(event, Died) and event.case is not None:
            self._take(_died(event.case, event))
        elif isinstance(event, Died):
            # It cannot even be imported any more: that is no case's doing, and the next part would find the same.
            if self._left:
                self._count(_died(self._left[-1], event))
            self._abandon()
        elif isinstance(event, Judged):
            self._take(event.result, event.text)
        if self.seen.cases < self.planned and time.monotonic() >= self._until:
            raise _EndError(f"--max-time {self.settings.max_time:g} was over")

    def _take(self, result: CaseResult, text: str = "") -> None:
        """Put the result of the next case into the journal and into the tally: both have it, or neither."""
        journal, text = self._journal, text or result_text(result)
        with self._interrupts.put_off():
            if journal is not None:
                self._keep(lambda: journal.add(result, text))
            self._count(result, text)
        del self._left[-1:]
        self._tell()

    def _count(self, result: CaseResult, text: str = "") -> None:
        self.seen.add(result, text)
        self.ends += _is_end(result)

    def _abandon(self) -> None:
        self.abandoned = self.planned - self.seen.cases
        self.stopped = f"its process ended {'once' if self.ends == 1 else f'{self.ends} times'}"

    def _tell(self) -> None:
        if self._show is not None:
            self._show(Progress(self._target, self.seen.cases, self.planned, self.seen.failures, self.resumed))

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


class _Interrupts:
    """Ctrl-C, and what the command line takes for it, put off for a moment; a second one is not."""

    def __init__(self) -> None:
        self._before: list[int] = []
        self._busy = self._late = False

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # where no interrupt is raised
        for number in {getattr(signal, name, signal.SIGINT) for name in ("SIGINT", "SIGTERM", "SIGHUP")}:
            if signal.getsignal(number) is signal.default_int_handler:
                self._before.append(number)
                signal.signal(number, self._come)

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(self._before.pop(), signal.default_int_handler)

    def _come(self, number: int, frame: FrameType | None) -> None:
        if not self._busy or self._late:
            raise KeyboardInterrupt
        self._late = True

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Let an interrupt that comes meanwhile be raised at the end."""
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if self._late:
            raise KeyboardInterrupt


class _EndError(Exception):
    """The sweep ends here; the text says why."""


# Code in Python loops, or of a cost that grows with the square of the batch, takes longer than any timeout on large
# batches. What ends on all batches up to this size is taken to be slow beyond it, not endless.
_SLOW_BEYOND = 512


def _is_end(result: CaseResult) -> bool:
    """Tell the end of a process from code that raised: no call of it came back to be counted."""
    return result.judgements.keys() == {"BN506"} and not result.evaluations


def _died(case: str, died: Died) -> CaseResult:
    return CaseResult(case, {"BN506": Judgement(_outcome_of(died), died.how)})


def _outcome_of(died: Died) -> Outcome:
    slow = died.silent and died.case is not None and CaseSpec.parse(died.case).m > _SLOW_BEYOND
    return Outcome.WARN if slow else Outcome.FAIL
