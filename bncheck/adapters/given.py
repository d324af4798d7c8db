"""Running statistics that a forward is given, and that training does not give back: by design, or lost.

``running_mean = k * running_mean + (1 - k) * mu`` into a local name changes nothing that the caller can see. What eval
mode normalises with then is what the forward was given, or what it starts from, whatever the training before. Code that
leaves the averages to its caller does the same; but it makes none, and takes no momentum for them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from bncheck import guard
from bncheck.adapters.inferred import Inferred, measured
from bncheck.adapters.mode_values import reachable
from bncheck.adapters.plans import Plan, arguments
from bncheck.adapters.protocol import Parameters, Reading, Run
from bncheck.adapters.sources import defaults_of, keys_of
from bncheck.adapters.target import Way
from bncheck.adapters.unread import unread_momentum
from bncheck.adapters.walks import fraction_kept, per_channel
from bncheck.adapters.words import STATISTICS, Role, argument_role

BY_DESIGN = (
    "eval mode takes the running statistics that the forward is given, and training makes none: whoever calls it keeps "
    "them, and they are not verified"
)
RETURNED = "training returns the running statistics in a way that bncheck cannot hand on: they are not verified"
# What the forward is given, per channel: mean and variance, twice.
_GIVEN = (((0.5, -1.0, 2.0), (0.5, 2.0, 1.5)), ((-0.75, 0.25, 1.0), (3.0, 0.75, 1.0)))
_MOMENTUM = 0.7
# Of an average either side has a part, and more of one than rounding makes.
_LEAST = 1e-4
# Single precision rounds by less, and no average moves by so little.
_STILL = 1e-6
_DEPTH = 4  # of tuples, dicts and objects inside each other


@runtime_checkable
class Giving(Protocol):
    """A reading of code whose forward may be given running statistics."""

    def giving(self) -> Reading | None:
        """Return the reading that gives the forward running statistics wherever it takes them; None if it does not."""

    @property
    def heeds_momentum(self) -> bool:
        """Whether the forward reads a momentum."""


class Given(NamedTuple):
    """What is known of statistics that are given: how to read them, or why nobody can; and whether they are lost."""

    reading: Reading | None
    note: str = ""
    lost: bool = False


def find_given(reading: Reading, way: Way, eps: float) -> Given | None:
    """Return what becomes of the statistics that a forward is given; None where eval mode does not take them.

    They are lost, and stand still wherever bncheck reads them, where training makes an average or is told a momentum,
    or where one of the two is kept.
    """
    giving = reading.giving() if isinstance(reading, Giving) and reading.mode_switch else None
    if giving is None:
        return None
    trying = _Trying(giving, way, eps)
    try:
        fresh, other, trained = trying.asked(0), trying.asked(1), trying.asked(0, trained=True)
        if fresh is None or other is None or trained is None:
            return None
        follows = [not np.allclose(one, two, rtol=1e-3) for one, two in zip(fresh, other, strict=True)]
        still = [np.allclose(one, two, rtol=_STILL, atol=_STILL) for one, two in zip(fresh, trained, strict=True)]
        waiting = [i for i in (0, 1) if follows[i] and still[i]]
        made, returned = trying.averages(waiting)
    except KeyboardInterrupt:
        raise
    except BaseException:  # a forward that cannot be called so has said nothing
        return None
    if not waiting:
        return Given(giving) if all(follows) else None
    if returned:
        return Given(None, RETURNED)
    lost = made or len(waiting) == 1 or (isinstance(reading, Giving) and reading.heeds_momentum)
    return Given(giving, "", lost=True) if lost else Given(None, BY_DESIGN)


class _Trying(NamedTuple):
    """Code to try, in one way, with one eps."""

    reading: Reading
    way: Way
    eps: float

    def asked(self, which: int, *, trained: bool = False) -> Inferred | None:
        """Return what eval mode normalises with once the forward was given statistics; after a step, if `trained`."""
        run, random = self._start(which), np.random.default_rng(13)
        if trained:
            x = self._user(random.normal(1.5, 2.0, self._sizes))
            with guard.user_code():
                run.forward(x, True)
                if not getattr(self.reading, "forward_only", False):
                    run.backward(x.copy())
        return measured(run, self.way, np.random.default_rng(12).normal(size=self._sizes))

    def averages(self, which: list[int]) -> tuple[bool, bool]:
        """Tell whether a forward of training makes averages of what it is given, and whether it gives them back.

        `which` of the two: 0 for the mean, 1 for the variance.
        """
        x = np.random.default_rng(11).normal(0.7, 1.0, self._sizes)
        axes = (0, *range(2, x.ndim))
        m = x.size // x.shape[1]
        given = [np.array(values) for values in _GIVEN[0]]
        taken = [[x.mean(axis=axes)], [x.var(axis=axes), x.var(axis=axes) * m / (m - 1)]]
        run = self._start(0)
        with guard.user_code():
            held = list(_locals(lambda: run.forward(self._user(x), True)))
        left = list(_arrays((getattr(run, "rest", ()), run.keeping()), _DEPTH))

        def among(values: list[Any]) -> bool:
            return any(
                _LEAST < (fraction_kept(given[place], value, new) or 0.0) < 1 - _LEAST
                for value in values
                for place in which
                for new in taken[place]
            )

        return among(held), among(left)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return self.way.layout.few

    def _user(self, x: Any) -> Any:
        return self.way.batch(x)

    def _start(self, which: int) -> Run:
        ones, zeros = (self.way.parameter(make(self._sizes[1])) for make in (np.ones, np.zeros))
        mean, var = map(self.way.parameter, _GIVEN[which])
        with guard.user_code():
            axis = self.way.layout.channel_axis
            return self.reading.start(Parameters(ones, zeros, self.eps, _MOMENTUM, (mean, var), axis))


def _locals(call: Callable[[], Any]) -> Iterator[Any]:
    """Yield what names of functions stood for, per channel, when these came to their end during a call."""
    found: list[Any] = []

    def note(frame: FrameType, event: str, result: Any) -> None:
        if event == "return":
            found.extend(_arrays(dict(frame.f_locals), 1))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    yield from found


def _arrays(value: Any, depth: int) -> Iterator[Any]:
    """Yield copies of the numbers per channel in a value, and in what it holds."""
    if isinstance(value, dict | tuple | list):
        for item in value.values() if isinstance(value, dict) else value:
            if depth:
                yield from _arrays(item, depth - 1)
        return
    array = per_channel(value, len(_GIVEN[0][0]))
    if array is not None:
        yield array.copy()
    elif depth and hasattr(value, "__dict__") and not isinstance(value, type):
        yield from _arrays(dict(vars(value)), depth - 1)


# ------------------------------------------------------------ how functions take them


def with_statistics(plan: Plan, function: Callable[..., Any]) -> Plan:
    """Return the plan that gives running statistics to the arguments for them, also where these may be left out."""
    bound = {name for name, _ in plan.bound}
    left_out = {a.role: a for a in arguments(function) or () if a.role in STATISTICS and a.name not in bound}
    if set(left_out) != set(STATISTICS) or any(a.positional_only for a in left_out.values()):
        return plan
    more = tuple((a.name, role.value) for role, a in left_out.items() if role is not None)
    return Plan(plan.positional, (*plan.named, *more), (*plan.bound, *more))


def heeds_momentum(function: Callable[..., Any]) -> bool:
    """Tell whether a forward reads a momentum: an argument, or a key of its options."""
    asked = any(a.role is Role.MOMENTUM for a in arguments(function) or ()) and not unread_momentum(function)
    return asked or any(argument_role(key) is Role.MOMENTUM for known in reachable(function) for key in keys_of(known))


def usual_momentum(thing: Any) -> float | None:
    """Return the momentum that a function, a class or an object of it has unless another is given; None if none."""
    made = thing if inspect.isfunction(thing) or inspect.isclass(thing) else type(thing)
    said: list[Any] = []
    for known in (made, *reachable(made)):
        said += [a.default for a in arguments(known) or () if a.role is Role.MOMENTUM]
        said += [value for key, value in defaults_of(known).items() if argument_role(str(key)) is Role.MOMENTUM]
    return next((float(value) for value in said if isinstance(value, float | int) and 0 < value < 1), None)
