"""What every executor offers, and what it tells beside the driver's events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from bncheck.tasks import Event, Task


@dataclass(frozen=True, slots=True)
class Died:
    """User code took its process down, or was stopped since it was `silent`; `case` is None before the first case."""

    case: str | None
    how: str
    silent: bool


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A sweep was given up after several deaths; what was not told was not run."""


Hear = Callable[[Event | Died | Abandoned], None]


class Executor(Protocol):
    """Performs tasks. A case that kills its worker is told as Died and left out; the sweep goes on behind it.

    After several deaths the rest is told as Abandoned. What `hear` raises ends a task, not the executor. Of a task that
    ends so, or by an interrupt, nothing more is told: what is known of cases further on would leave a gap before them.
    """

    def run(self, task: Task, hear: Hear) -> None:
        """Perform `task` and pass on what happens, in order."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Leave nothing running."""
