"""What several benchmarks need: targets by name, and targets with an error planted in what they return."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

# One thread for each process: what several share is measured by none. NumPy reads this when it is first imported.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np

from bncheck.adapters import resolve
from bncheck.model import GRADIENTS, TargetSpec
from bncheck.session import Setup, Target

ROOT = Path(__file__).resolve().parent.parent
CORRECT, BUGGY = ROOT / "fixtures" / "correct", ROOT / "fixtures" / "buggy"
# y and the gradients against the reference, and against the derivative of the code's own forward.
ORACLES = ("BN101", "BN201", "BN202", "BN203", "BN211", "BN212", "BN213")


@cache
def target_of(source: str | Path, name: str = "") -> Target:
    """Return a target of a source: the one of that name, or the first."""
    spec = TargetSpec(str(source))
    return resolve.target(spec, name or resolve.cards(spec)[0].name)


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return minimum, median and maximum, once where they read alike."""
    found = [f"{value:{form}}" for value in (min(values), median(values), max(values))]
    return " - ".join(found) if found[0] != found[2] else found[0]


def reached(goal: bool) -> str:
    """Return what is written beside a goal."""
    return "met" if goal else "**missed**"


Change = Callable[[Any], Any]


class Planted:
    """A target one of whose tensors is changed on its way out."""

    def __init__(self, target: Target, tensor: str, change: Change) -> None:
        self._target, self._tensor, self._change = target, tensor, change
        self.name, self.conventions = target.name, target.conventions

    def open(self, setup: Setup) -> Any:
        """Open a session of the target."""
        return _Session(self._target.open(setup), self._tensor, self._change)


class _Session:
    def __init__(self, session: Any, tensor: str, change: Change) -> None:
        self._session, self._tensor, self._change = session, tensor, change
        self.handed_over = session.handed_over
        self.running_stats = session.running_stats

    def forward(self, x: Any, mode: str = "train") -> Any:
        y = self._session.forward(x, mode)
        return self._change(y) if self._tensor == "y" else y

    def backward(self, dy: Any) -> Any:
        gradients = self._session.backward(dy)
        if self._tensor not in GRADIENTS:
            return gradients
        return gradients._replace(**{self._tensor: self._change(getattr(gradients, self._tensor))})


def grown(error: float, place: str) -> Change:
    """Return a change by ``error`` times the tensor's norm: of "all" of it, of its largest "channel", or of "one".

    Axis 1 of a tensor of x's shape is its channels; of one of gamma's shape every element is one.
    """

    def change(tensor: Any) -> Any:
        wrong = np.array(tensor)
        if place == "all":
            at: Any = ...
        elif place == "channel" and wrong.ndim > 1:
            axes = tuple(i for i in range(wrong.ndim) if i != 1)
            at = (slice(None), int((wrong.astype(float) ** 2).sum(axis=axes).argmax()))
        else:
            at = np.unravel_index(int(np.abs(wrong).argmax()), wrong.shape)
        part = wrong[at]
        size, norm = float(np.linalg.norm(part)), float(np.linalg.norm(wrong))
        wrong[at] = part + part * (error * norm / size) if size else part
        return wrong

    return change
