"""One probe: a single hypothesis about layout and parameter shape, put to the user's code with generic numbers.

Probes are small (four rows at most) and asymmetric: all sizes differ, none is 1, and there is one probe with more
channels than rows and one with fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bncheck import guard
from bncheck.adapters.layouts import spell_shape
from bncheck.adapters.plans import UnfilledError
from bncheck.adapters.protocol import Parameters, Reading, Run
from bncheck.adapters.standins import ABSENT
from bncheck.adapters.target import Way, as_array, per_channel
from bncheck.model import GRADIENTS

PROBES = {
    2: ((4, 3), (3, 4)),
    3: ((4, 3, 2), (3, 4, 5)),
    4: ((4, 3, 2, 5), (3, 4, 5, 2)),
    5: ((4, 3, 2, 5, 6), (3, 4, 2, 5, 6)),
}
# An element counts as moved above this share of the largest movement: code that adds noise must not hide the channel.
_MOVED = 0.05
# What sums in another order may leave of elements that did not move: some 1e-16 in float64, 1e-7 in float32.
_NOISE = {"float64": 1e-9, "float32": 1e-5}
EPS, MOMENTUM = 1e-5, 0.9
# What speaks for a fit, by weight: each outweighs all that follow it.
OF_FORWARD = {"y": 32, "gamma": 16, "beta": 4}
OF_BACKWARD = {"dgamma": 8, "dbeta": 2, "dx": 1}
_WEIGHTS = OF_FORWARD | OF_BACKWARD
FULL = sum(_WEIGHTS.values())


# How code that has no backward returns its gradients.
NO_BACKWARD = "no backward"

# What no error of the code itself raises: a module that is not there, or an argument that bncheck has nothing for.
LACKING = (*ABSENT, UnfilledError)


@dataclass(frozen=True)
class Fit:
    """How one reading fares with one layout and one parameter shape.

    Attributes
    ----------
    way : Way
        The layout, and the parameter shape with -1 for C.
    holds : frozenset of str
        What was found right: "y" has x's shape; "gamma" and "beta" move the elements of their own channel and no
        others; "dx", "dgamma", "dbeta" have the shapes that they should have.
    parameter_shape, returns : str
        What the report says about them.
    stub : str
        "returns None" or the like for a backward that is not written yet, "" otherwise.
    note : str
        What is to be said about a tie.
    missing : tuple of str
        Gamma or beta, if no way was found to give it to the code.
    acting : str
        Where something is missing: an array in the code's own state that y depends on, "" if there is none.
    ran_dry : bool
        Whether backward came back with neither dgamma nor dbeta.
    raised : str
        What the backward raised, "" if it came back.
    lacking : str
        What the backward asked for that is not there, if that is why it raised; "" otherwise.

    """

    way: Way
    holds: frozenset[str]
    parameter_shape: str = ""
    returns: str = ""
    stub: str = ""
    note: str = ""
    missing: tuple[str, ...] = ()
    acting: str = ""
    ran_dry: bool = False
    raised: str = ""
    lacking: str = ""

    @property
    def score(self) -> int:
        """How much speaks for it; a right implementation gets ``FULL``."""
        return sum(_WEIGHTS[what] for what in self.holds)

    @property
    def held(self) -> list[str]:
        """What holds, in the order in which it is told."""
        return [what for what in (*OF_FORWARD, *OF_BACKWARD) if what in self.holds]


@dataclass(frozen=True)
class Found:
    """The best reading of a candidate, and how it fits, by number of axes; what refused float64, if that was tried."""

    reading: Reading
    fits: dict[int, Fit]
    refused: str = ""


class RaisedError(Exception):
    """Wraps what user code raised, so that errors of bncheck's own are not taken for it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class Trial:
    """One probe: generic numbers, and fresh runs on them."""

    def __init__(self, reading: Reading, way: Way, sizes: tuple[int, ...], seed: int) -> None:
        random = np.random.default_rng(seed)
        self.reading, self.way = reading, way
        self.channels = sizes[1]
        self.x = way.batch(random.normal(0.3, 1.0, sizes))
        self.dy = way.batch(random.normal(0.2, 1.0, sizes))
        self.gamma = random.uniform(0.5, 2.0, self.channels)
        self.beta = random.uniform(0.5, 2.0, self.channels)

    def run(self, gamma: Any, beta: Any) -> tuple[Run, Any]:
        """Return a fresh run after its forward, and its y; raise RaisedError if user code raised."""
        return self._run_on(self.x.copy(), gamma, beta)

    def fresh(self) -> Run:
        """Return a run that has not seen anything yet."""
        return self._started(self.gamma, self.beta)

    def _started(self, gamma: Any, beta: Any) -> Run:
        gamma, beta = self.way.parameter(gamma), self.way.parameter(beta)
        return self.reading.start(Parameters(gamma, beta, EPS, MOMENTUM, axis=self.way.layout.channel_axis))

    def _run_on(self, x: Any, gamma: Any, beta: Any) -> tuple[Run, Any]:
        try:
            with guard.user_code("forward"):
                run = self._started(gamma, beta)
                return run, run.forward(x, True)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise RaisedError(error) from None

    def acting(self, run: Run) -> str:
        """Return the array in the code's own state that may be what is missing, "" if nothing is."""
        try:
            with guard.user_code():
                return run.acting(self.x) if run.missing else ""
        except KeyboardInterrupt:
            raise
        except BaseException:
            return ""  # a state that cannot be tried has shown nothing

    def acts(self, y: Any, parameter: str) -> bool:
        """Tell whether a parameter acts along the channels of this layout.

        A gamma that bncheck applies itself does so in any layout: then x has to show along which axis the code works.
        """
        if "gamma" in self.reading.absent and parameter == "gamma":
            return self.mixes_own_channel(y)
        return self.moves_own_channel(y, parameter)

    def mixes_own_channel(self, y: Any) -> bool:
        """Tell whether changing one entry of x moves its own channel of y, all of it, and nothing else."""
        axis = self.way.layout.channel_axis
        x = self.x.copy()
        x.flat[0] += 1.0
        other = as_array(self._run_on(x, self.gamma, self.beta)[1])
        if other is None or other.shape != y.shape:
            return False
        moved = np.abs(other - y) > _NOISE[self.way.dtype]
        rest = np.delete(moved, 0, axis)
        return bool(moved.take(0, axis).all()) and not rest.any()

    def moves_own_channel(self, y: Any, parameter: str) -> bool:
        """Tell whether changing one entry of gamma (or of beta) moves its own channel of y and nothing else."""
        seen = False
        axis = self.way.layout.channel_axis
        for channel in (0, self.channels - 1) if parameter == "gamma" else (1,):
            change = np.zeros(self.channels)
            change[channel] = 1.0
            gamma, beta = (self.gamma + change, self.beta) if parameter == "gamma" else (self.gamma, self.beta + change)
            other = as_array(self.run(gamma, beta)[1])
            if other is None or other.shape != y.shape:
                return False
            moved = np.abs(other - y)
            moved = moved > max(_MOVED * float(np.max(moved, initial=0.0)), _NOISE[self.way.dtype])
            if np.delete(moved, channel, axis).any():
                return False
            seen = seen or bool(moved.any())
        return seen


def attempt(trial: Trial, needed: frozenset[str]) -> Fit | None:
    """Return how one probe fares; None if the forward returned nothing. Stop early where `needed` does not hold.

    Raises
    ------
    RaisedError
        If the forward raised.

    """
    run, y = trial.run(trial.gamma, trial.beta)
    if y is None:
        return None
    array = as_array(y)
    holds = {"y"} if array is not None and array.shape == trial.x.shape else set()
    kept = array.copy() if holds else None
    forward_only = getattr(trial.reading, "forward_only", False)
    stub, dry, raised, lacking = ("", False, "", "") if forward_only else _try_backward(trial, run, holds)
    # What the shapes of gradients tell of other code, the statistics do here: they are those of whole channels.
    if forward_only and kept is not None and trial.mixes_own_channel(kept):
        holds.update(OF_BACKWARD)
    # A library that differentiates sums its gradients to gamma's shape, whatever the code is for: beside (N, C) data it
    # has to show that its statistics are those of whole channels.
    differentiated = getattr(trial.reading, "differentiated", False)
    if kept is not None and needed and differentiated and not trial.mixes_own_channel(kept):
        holds.discard("dgamma")
    if kept is not None and holds >= needed - {*OF_FORWARD}:
        holds.update(what for what in ("gamma", "beta") if trial.acts(kept, what))
    spelled = spell_shape(np.shape(run.gamma), trial.channels)
    facts = (
        NO_BACKWARD if forward_only else run.returns,
        stub,
        "",
        run.missing,
        trial.acting(run),
        dry,
        raised,
        lacking,
    )
    return Fit(trial.way, frozenset(holds), spelled, *facts)


def _try_backward(trial: Trial, run: Run, holds: set[str]) -> tuple[str, bool, str, str]:
    """Note which gradients have the right shape; return what makes a stub of the backward, "" if nothing does.

    The second result says that it came back with neither dgamma nor dbeta, the third what it raised, and the fourth
    what it lacked then.
    """
    try:
        with guard.user_code("backward"):
            results = run.backward(trial.dy.copy())
    except KeyboardInterrupt:
        raise
    except NotImplementedError:
        return "raises NotImplementedError", False, "", ""
    except BaseException as error:  # the forward works: this is the user's error, or the call is not what is meant
        said = guard.one_line(error)
        return "", False, f"{type(error).__name__}: {said}", said if isinstance(error, LACKING) else ""
    if all(value is None for value in results):
        return "returns None", False, "", ""
    for name, value in zip(GRADIENTS, results, strict=True):
        array = as_array(value if name == "dx" else per_channel(value, trial.channels))
        if array is not None and array.shape == (trial.x.shape if name == "dx" else (trial.channels,)):
            holds.add(name)
    return "", results.dgamma is None and results.dbeta is None, "", ""
