"""A right layer made of the steps that bugs replace, as a Target: whatever it remembers may be planted wrong."""

from __future__ import annotations

import numpy as np

from bncheck.bugs.memory import INFERENCE, LATER, UPDATE, Past, Remembering, Rule
from bncheck.case import Case, CaseSpec
from bncheck.memory.values import KEPT
from bncheck.model import GRADIENTS, Conventions
from bncheck.session import Gradients


class Planted:
    """A layer by a convention, some of whose steps are wrong.

    `moved` says when the statistics are changed besides: "backward" in training, "eval" by a forward there,
    "eval backward" by a backward there.
    """

    name = "planted"

    def __init__(self, replaced=None, rule: Rule = KEPT, start=(0.0, 1.0), moved="", **told):
        self.replaced, self.rule, self.start, self.moved = replaced or {}, rule, start, moved
        said = {"momentum_sense": "kept", "running_var": "biased", "mode_switch": "argument train"} | told
        self.conventions = Conventions("test", ("NC", "NCHW"), "(C,)", "argument", None, "tuple", **said)

    def open(self, setup):
        return _Session(self, setup)


class _Session:
    def __init__(self, layer, setup):
        self.layer, self.setup, self.met, self.mode = layer, setup, [], "train"
        self.start = tuple(np.full(setup.gamma.size, value) for value in layer.start)
        self.held, self.handed = self.start, {}

    def forward(self, x, mode="train"):
        self.mode, self.x = mode, x
        self.handed |= {n: (a.copy(), a) for n, a in (("x", x), ("gamma", self.setup.gamma), ("beta", self.setup.beta))}
        if mode == "eval":
            steps = self._steps(INFERENCE, 0 * x)
            if self.layer.moved == "eval":
                self._move()
            return steps.y
        self.later = self._steps(LATER, 0 * x)
        update = self._steps(UPDATE, 0 * x)
        names = ("running_mean", "running_var")
        if self.layer.conventions.running_start == "first batch" and not self.met:
            names = ("start_mean", "start_var")
        self.held = self._both(update, *names)
        self.met.append(self.later)
        return self.later.later_y

    def backward(self, dy):
        if self.mode == "train":
            self.met.pop()  # the forward's, which knew no dy
        steps = self._steps(INFERENCE if self.mode == "eval" else LATER, dy)
        if self.mode == "train":
            self.met.append(steps)
        if self.layer.moved == {"train": "backward", "eval": "eval backward"}[self.mode]:
            self._move()
        names = GRADIENTS if self.mode == "eval" else [f"later_{name}" for name in GRADIENTS]
        shapes = (self.x.shape, self.setup.gamma.shape, self.setup.gamma.shape)
        pairs = zip(names, shapes, strict=True)
        return Gradients(*(np.broadcast_to(_of(steps, name, shape), shape).copy() for name, shape in pairs))

    def running_stats(self):
        return tuple(value.copy() for value in self.held)

    def handed_over(self):
        return self.handed

    def _move(self):
        self.held = self._both(self._steps(UPDATE, 0 * self.x), "held_mean", "held_var")

    def _both(self, steps, *names):
        shape = self.setup.gamma.shape
        return tuple(np.broadcast_to(_of(steps, name, shape), shape).copy() for name in names)

    def _steps(self, table, dy):
        x, setup = self.x, self.setup
        spec = CaseSpec(n=x.shape[0], c=x.shape[1], spatial=x.shape[2:], eps=setup.eps, momentum=setup.momentum)
        past = Past(*self.held, self.layer.rule, tuple(self.met), self.start)
        return Remembering(Case(spec, x, setup.gamma, setup.beta, dy), table, past, self.layer.replaced)


def _of(steps, name, shape):
    with np.errstate(all="ignore"):
        value = np.asarray(getattr(steps, name))
    return value if value.shape == shape else value.reshape(-1)
