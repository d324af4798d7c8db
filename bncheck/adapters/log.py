"""What is noted while candidates are tried."""

from __future__ import annotations

from dataclasses import dataclass, field

from bncheck import guard
from bncheck.adapters.layouts import Layout, spell_shape
from bncheck.adapters.plans import UnfilledError

# What is raised where a shape is unpacked into names, and has more or fewer axes.
_OF_AXES = "values to unpack"


@dataclass
class Log:
    """What went wrong in trials, for the message that says so when nothing works, and what was tried, for the trace."""

    lines: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    of_unmade: list[BaseException] = field(default_factory=list)  # raised by objects made without their constructor
    stubs: list[str] = field(default_factory=list)
    of_backward: list[str] = field(default_factory=list)  # what backwards raised, behind a forward that ran
    shape: str | None = None  # the one parameter shape to try
    dtypes: tuple[str, ...] = ("float64",)  # what was tried; the last one is what is being tried

    def tried(self, place: Layout, shape: tuple[int, ...], outcome: str) -> None:
        """Note how one layout with one parameter shape fared; shapes that fare alike share a line."""
        head, tail = f"  {place.name} with gamma ", f": {outcome}"
        last = self.lines[-1] if self.lines else ""
        # Broadcasting names the sizes in its message: what differs in those alone is told once.
        said, _, rest = last.removeprefix(head).partition(": ")
        if last.startswith(head) and rest.partition(":")[0] == outcome.partition(":")[0]:
            self.lines[-1] = f"{head}{said} or {spell_shape(shape, -1)}: {rest}"
        else:
            self.lines.append(f"{head}{spell_shape(shape, -1)}{tail}")

    def add(self, error: BaseException, *, unmade: bool = False) -> None:
        """Keep an exception; NotImplementedError says "stub"."""
        if isinstance(error, NotImplementedError):
            self.stubs.append("raises NotImplementedError")
        (self.of_unmade if unmade else self.errors).append(error)

    def telling(self) -> BaseException:
        """Return the exception that tells most: one that is not about shapes, or else the one that got furthest."""
        shapes = (ValueError, TypeError, IndexError, AssertionError)
        errors = [e for e in self.errors if not isinstance(e, UnfilledError)] or self.errors or self.of_unmade
        others = [e for e in errors if not isinstance(e, shapes)]
        return max(others or errors, key=lambda e: max((line for _, line in guard.user_lines(e)), default=0))

    def all_alike(self) -> bool:
        """Tell whether several trials raised, and all of them the same in the same line.

        Those do not count that came no further than ``N, D = x.shape``, where arrays of other axes were tried, too.
        """
        raised = [e for e in (*self.errors, *self.of_unmade) if _OF_AXES not in str(e)]
        return len(raised) > 1 and len({(type(e), guard.one_line(e), guard.where(e)) for e in raised}) == 1

    def merge_layouts(self) -> None:
        """Let the lines of layouts that fared alike be one, where all did."""
        if any(_OF_AXES in line for line in self.lines):
            return
        merged: list[str] = []
        for line in self.lines:
            _, layouts, outcome = line.partition(" with gamma ")
            said = f"  in every layout: {outcome.partition(': ')[2]}" if layouts and line.startswith("  ") else line
            if said != next(iter(merged[-1:]), ""):
                merged.append(said)
        self.lines[:] = merged
