"""The registry of bugs: Batch Normalization with one fault each, its name, the wrong line beside the right one."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from bncheck.bugs.derivations import DERIVATIONS
from bncheck.bugs.memory import LINES
from bncheck.bugs.steps import Step, Steps
from bncheck.registry import Registry

# In so many lines a page lists what may stand in the place of a parameter.
_MOST = 13


class Choice(NamedTuple):
    """One value of a bug's parameter: how it is written, what it is, how much less likely it makes the bug.

    `said` is a title of its own, where the bug's is not plain enough for this value.
    """

    text: str
    value: Any
    cost: float = 0.0
    said: str = ""


class Sample(NamedTuple):
    """One case as diagnosis sees it: the steps up to what is looked at, and what the user's code returned."""

    steps: Steps
    found: dict[str, Any]


Choices = Callable[[Sequence[Sample]], Sequence[Choice]]


@dataclass(frozen=True, slots=True)
class Bug:
    """One fault, or a family of faults that differ in a parameter.

    Attributes
    ----------
    code, name : str
        "BUG211", "mean-path-dropped".
    title : str
        The fault in one sentence; ``{}`` stands for the parameter.
    steps : tuple of str
        The steps that it replaces; the first is where the fault is.
    wrong, right : str
        The line with the fault, and as it should be.
    mend : str
        What to do.
    fault : callable
        ``fault(s)`` (``fault(s, value)`` with a parameter) returns the wrong value of the step, or a tuple of values if
        it replaces several.
    choices : callable or None
        The values that the parameter may have, given what was found; None without a parameter.
    texts : tuple of str
        How these are written, where they do not depend on what was found.

    """

    code: str
    name: str
    title: str
    steps: tuple[str, ...]
    wrong: str
    right: str
    mend: str
    fault: Callable[..., Any]
    choices: Choices | None = None
    texts: tuple[str, ...] = ()

    @property
    def doc(self) -> str:
        """The page: what it is, the lines, the derivation, why it happens, how to test for it by hand, references."""
        doc = inspect.getdoc(self.fault) or ""
        heading = re.search(r"^.+\n-+$", doc, re.M)
        what, rest = (doc[: heading.start()].strip(), doc[heading.start() :]) if heading else (doc, "")
        lines = {
            "Wrong": self.wrong,
            "In the place of ...": self._listed(),
            "Right": self.right,
            "To mend it": self.mend,
        }
        if self.wrong == "{}" and self.texts:  # the values are the lines
            lines["Wrong"] = lines.pop("In the place of ...")
        parts = [f"{title}\n{'-' * len(title)}\n{line.replace('{}', '...')}" for title, line in lines.items() if line]
        derivation = f"Derivation\n----------\n{DERIVATIONS[self.steps[0]]}"
        return "\n\n".join([what, *parts, derivation, rest])

    def _listed(self) -> str:
        """Return the values of the parameter that are known beforehand, a line each, the first ones of many."""
        shown = list(self.texts)
        if len(shown) > _MOST:
            shown[_MOST - 1 :] = [f"... and {len(shown) - _MOST + 1} more"]
        return "\n".join(f"    {text}" for text in shown)

    def versions(self, samples: Sequence[Sample]) -> list[Version]:
        """Return the wrong versions that it stands for; one, unless it has a parameter."""
        if self.choices is None:
            return [Version(self, Choice("", None))]
        return [Version(self, choice) for choice in self.choices(samples)]


@dataclass(frozen=True, slots=True)
class Version:
    """A bug with the value of its parameter.

    `anew` says that it is a bug of the forward which stands in the backward alone, where the statistics are made anew;
    `place` says where else it stands ("in eval mode, ").
    """

    bug: Bug
    choice: Choice
    anew: bool = False
    place: str = ""

    @property
    def replaced(self) -> dict[str, Step]:
        """The wrong steps."""
        if self.anew:
            forward = Version(self.bug, self.choice).replaced
            pairs = (("back_centred", "centred"), ("back_inv_std", "inv_std"), ("back_xhat", "xhat"))
            return {back: partial(_step_of, forward, step) for back, step in pairs}
        steps = self.bug.steps
        if len(steps) == 1:
            return {steps[0]: self._value}
        return {name: self._nth(place) for place, name in enumerate(steps)}

    def _nth(self, place: int) -> Step:
        return lambda s: self._together(s)[place]

    def _together(self, s: Steps) -> Any:
        # The steps of one bug come of one computation.
        made, of_it = s.__dict__.get("_made_together", (None, None))
        if of_it is not self:
            made = self._value(s)
            s.__dict__["_made_together"] = made, self
        return made

    def _value(self, s: Steps) -> Any:
        return self.bug.fault(s) if self.bug.choices is None else self.bug.fault(s, self.choice.value)

    @property
    def title(self) -> str:
        """The fault in one sentence."""
        told = self.fill(self.choice.said or self.bug.title)
        return f"in the backward, which makes its own statistics, {told}" if self.anew else f"{self.place}{told}"

    def fill(self, text: str) -> str:
        """Return a text of the bug with the parameter's value in it."""
        value = self.choice.text
        if value.startswith("1 / "):  # a * b * 1 / c is written a * b / c
            text = text.replace(" * {}", f" / {value.removeprefix('1 / ')}")
        elif value.startswith("-"):
            text = text.replace(" * {}", f" * ({value})")
        return text.replace("{}", value)


def _step_of(replaced: dict[str, Step], step: str, s: Steps) -> Any:
    # The three steps that a backward makes anew are those of one forward.
    made, of_it = s.__dict__.get("_made_anew", (None, None))
    if of_it is not replaced:
        made = s.also(replaced)
        s.__dict__["_made_anew"] = made, replaced
    return getattr(made, step)


BUGS: Registry[Bug] = Registry("bug", "bncheck.bugs")


def bug(
    code: str,
    name: str,
    title: str,
    *,
    step: str,
    wrong: str,
    mend: str,
    right: str = "",
    choices: Choices | Sequence[Choice] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function that computes a wrong step (or several, named with blanks between them)."""

    def register(fault: Callable[..., Any]) -> Callable[..., Any]:
        steps = tuple(step.split())
        listed: Sequence[Choice] = () if choices is None or callable(choices) else choices
        given = choices if choices is None or callable(choices) else lambda samples: listed
        texts = tuple(dict.fromkeys(choice.text.strip(", ") for choice in listed))
        BUGS.add(code, Bug(code, name, title, steps, wrong, right or LINES[steps[0]].line, mend, fault, given, texts))
        return fault

    return register
