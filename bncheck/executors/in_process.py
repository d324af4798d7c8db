"""Performs tasks right here: for live Python objects, and where the user's process is the place to be."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from bncheck.driver import Task, perform
from bncheck.executors.base import Hear


class InProcess:
    """No isolation: a crash of user code is a crash of this process."""

    def run(self, task: Task, hear: Hear) -> None:
        """Perform `task` and pass on what happens."""
        perform(task, hear)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        return None
