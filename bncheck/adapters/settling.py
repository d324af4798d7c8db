"""Which of the switches that code may have is its mode switch, and what it keeps: found by trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bncheck import guard
from bncheck.adapters.inferring_classes import class_named
from bncheck.adapters.modes import Offering, Remembering, Remembers, Switch, Switched, Turning, declared_name, is_said
from bncheck.adapters.protocol import Run
from bncheck.errors import TargetError


def _turn_nothing(layer: Any, values: dict[str, Any], train: bool) -> None:
    """Stand for code that cannot be told the mode."""


_NONE = Switch("", _turn_nothing)


def settle(
    reading: Any, start: Callable[[], Run], batches: tuple[Any, Any], proves: Callable[[Any], bool], said: str = ""
) -> str:
    """Choose the switch that acts: the second batch's y changes when it alone is turned. Return what was found out.

    What the code tests counts where no switch of a usual name acts, and where what the user named is to be turned the
    other way round.

    Parameters
    ----------
    reading : object
        How the code is called; it is told what was chosen.
    start : callable
        Returns a fresh run of it.
    batches : tuple of two arrays
        In the user's layout.
    proves : callable
        Tells by numbers alone whether a reading is told the mode.
    said : str
        What the user says is the switch, "" if nothing.

    """
    if not isinstance(reading, Switched):
        return ""
    name = declared_name(said)
    if name and not proves(reading) and (how := _adopted(reading, proves, name)):
        return how
    for switch in reading.switches:
        if _acts(switch, start, batches):
            reading.choose(switch)
            return f"mode: {switch.said}: y follows it"
    named = next((switch for switch in reading.switches if switch.named), None)
    # Where the statistics follow one of a usual name, and y does not, that is the fault: no other one stands in for it.
    if not (named and _acts(named, start, batches, of=_kept)) and (how := _adopted(reading, proves)):
        return how
    if not reading.switches:
        return ""
    reading.choose(named or _NONE)
    return f"mode: {named.said}: y does not follow it" if named else "mode: cannot be told"


def _is_there(reading: Any, name: str) -> bool:
    """Tell whether one of the switches that names propose is what the user named."""
    return bool(name) and any(is_said(name, switch.said) for switch in reading.switches)


def _adopted(reading: Any, proves: Callable[[Any], bool], name: str = "") -> str:
    """Let a reading be told the mode by what the code tests, if numbers prove it; return what was found out.

    What the user named counts without proof where no other way of turning it is known.
    """
    try:
        offered = list(reading.offered(name)) if isinstance(reading, Offering) else []
    except Exception:  # values of the user's own classes are compared: what that raises proposes nothing
        offered = []
    found = next((other for other in offered if proves(other)), None)
    if found is None and name and not _is_there(reading, name):
        found = next(iter(offered), None)
    if found is None:
        return ""
    reading.adopt(found)
    tests = "" if class_named(reading.mode_switch) else "the code tests it, and "
    return f"mode: {reading.mode_switch}: {tests}y follows it"


def refuse_unfound(said: str, used: Sequence[str]) -> None:
    """Raise TargetError if the switch that the user named, "" if none, is none of those that targets use, in words."""
    if not said or not used or any(is_said(said, one) for one in used):
        return
    there = " and ".join(dict.fromkeys(filter(None, used)))
    found = f"found instead: {there}" if there else "no other switch between training and inference was found either"
    raise TargetError(f"--mode-switch {said}: the code has no such switch; {found}.")


def find_memory(reading: Any, start: Callable[[], Run], batches: tuple[Any, Any]) -> None:
    """Tell a reading which of the means that its code keeps remember earlier batches: those are running statistics."""
    if not isinstance(reading, Remembering):
        return
    try:
        with guard.user_code():
            fresh, later = start(), start()
            later.forward(batches[0].copy(), True)
            for run in (fresh, later):
                run.forward(batches[1].copy(), True)
        if not isinstance(fresh, Remembers) or not isinstance(later, Remembers) or later.running() is not None:
            return
        one, other = fresh.remembered(), later.remembered()
    except KeyboardInterrupt:
        raise
    except BaseException:  # a layer that cannot be looked at has shown no switch
        return
    reading.remember(tuple(t for t in one if t in other and not np.array_equal(one[t], other[t])))


def _given(run: Run, y: Any) -> Any:
    return y


def _kept(run: Run, y: Any) -> Any:
    """Return the arrays that the code keeps, in one."""
    arrays = [np.ravel(value) for value in run.keeping().values() if np.size(value) > 1]
    return np.concatenate([array for array in arrays if array.dtype.kind == "f"] or [np.zeros(0)])


def _acts(
    switch: Switch,
    start: Callable[[], Run],
    batches: tuple[Any, Any],
    of: Callable[[Run, Any], Any] = _given,
) -> bool:
    """Tell whether the second batch's y, or what is kept after it, changes where a switch alone is turned."""
    try:
        results = []
        for train in (True, False):
            with guard.user_code():
                run = start()
                run.forward(batches[0].copy(), True)
                if isinstance(run, Turning):
                    run.turn(switch, train)
                results.append(np.array(of(run, run.forward(batches[1].copy(), True)), dtype=float))
    except KeyboardInterrupt:
        raise
    except BaseException:  # what raises when it is turned is no switch
        return False
    one, other = results
    if one.shape != other.shape:
        return switch.named  # what the code does not speak of has to return a y all the same
    return not np.allclose(one, other, rtol=1e-7, atol=0.0, equal_nan=True)
