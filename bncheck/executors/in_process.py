"""Performs tasks right here: for live Python objects, and where the user's process is the place to be."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from bncheck.executors.base import Hear
from bncheck.tasks import Task


class InProcess:
    """No isolation: a crash of user code is a crash of this process."""

    def run(self, task: Task, hear: Hear) -> None:
        """Perform `task` and pass on what happens."""
        from threadpoolctl import threadpool_limits

        from bncheck.driver import perform

        # One thread in numerical libraries, as in an isolated process: sums are added up in the same order.
        with threadpool_limits(1):
            perform(task, hear)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        return None
