"""What a layer remembers from batch to batch, one step at a time: its statistics, their use in eval mode, leftovers.

As in :mod:`bncheck.bugs.steps`, a wrong version replaces steps, and what follows from them follows. A batch comes after
others here, so that its steps know them: the statistics held when it comes, and the batches before it.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.1 and Algorithm 2.

"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bncheck.bugs.steps import FORWARD, GIVEN, STEPS, Array, RightStep, Step, Steps
from bncheck.case import Case


class Rule(NamedTuple):
    """A convention by which statistics are averaged; none of them is wrong.

    `kept` gives the fraction of the old value that stays, `stays` and `comes` are that fraction and the other one as
    the reader's code has them; `unbiased` says whether the variance that comes in is divided by m - 1.
    """

    kept: Callable[[Remembering], float]
    stays: str = "k"
    comes: str = "(1 - k)"
    unbiased: bool = False


@dataclass(frozen=True)
class Past:
    """What was before a batch: statistics held, as (C,), the batches trained on, in their order; and the rule."""

    mean: Array
    var: Array
    rule: Rule
    batches: tuple[Steps, ...] = ()
    start: tuple[Array, Array] | None = None


class Remembering(Steps):
    """The steps of a batch that a layer meets after others, by one of the tables below."""

    def __init__(
        self, case: Case, table: Mapping[str, RightStep], past: Past, replaced: Mapping[str, Step] | None = None
    ) -> None:
        super().__init__(case, replaced)
        self.table = table
        shape = self.gamma.shape
        self.old_mean, self.old_var = (np.asarray(a, dtype=np.float64).reshape(shape) for a in (past.mean, past.var))
        self.rule, self.batches, self.momentum = past.rule, past.batches, case.spec.momentum

    def also(self, replaced: Mapping[str, Step]) -> Remembering:
        """Return the steps of the same batch with more of them replaced."""
        return self.again(replaced={**self.replaced, **replaced})

    @property
    def first(self) -> Steps:
        """The batch that the layer met first."""
        return self.batches[0] if self.batches else self

    @property
    def last(self) -> Steps:
        """The batch before this one."""
        return self.batches[-1] if self.batches else self

    def by(self, table: Mapping[str, RightStep]) -> Remembering:
        """Return the same batch after the same ones, by another table."""
        return self.again(table=table)

    def again(self, **changed: Any) -> Remembering:
        """Return the same batch with another `table`, `rule` or `replaced`, and nothing computed yet."""
        found = Remembering.__new__(Remembering)
        found.__dict__.update({name: self.__dict__[name] for name in _GIVEN})
        found.__dict__.update(changed)
        return found

    def blended(self, old: Array, new: Array) -> Array:
        """Return an average by the rule, in a mode that should take none."""
        kept = self.rule.kept(self)
        found: Array = kept * old + (1 - kept) * new
        return found

    def mixed(self, old: Array, taken: Array) -> Array:
        """Return an old value and one that comes in, averaged by the rule."""
        found: Array = self.kept * old + (1 - self.kept) * taken
        return found


# What the steps of a batch that comes after others begin with.
_GIVEN = (*GIVEN, "old_mean", "old_var", "rule", "batches", "momentum", "table", "replaced")


def batch_statistics(s: Remembering) -> tuple[Array, Array]:
    """Return mean and variance of the batch at hand, whatever the table says."""
    mu = s.mean(s.x)
    return mu, s.mean((s.x - mu) ** 2)


def _var_taken(s: Any) -> Any:
    return s.var * (s.m / (s.m - 1) if s.rule.unbiased else 1.0)


# A training batch updates the statistics. The lines say k for the fraction of the old value that stays.
UPDATE: dict[str, RightStep] = {
    **STEPS,
    "kept": RightStep("k = momentum, the fraction that stays", lambda s: s.rule.kept(s)),
    "mean_taken": RightStep("running_mean = k * running_mean + (1 - k) * mu", lambda s: s.mu),
    "var_taken": RightStep("running_var = k * running_var + (1 - k) * var", _var_taken),
    "running_mean": RightStep(
        "running_mean = k * running_mean + (1 - k) * mu", lambda s: s.mixed(s.old_mean, s.mean_taken)
    ),
    "running_var": RightStep(
        "running_var = k * running_var + (1 - k) * var", lambda s: s.mixed(s.old_var, s.var_taken)
    ),
    "start_mean": RightStep("running_mean = mu, at the first batch", lambda s: s.mean_taken),
    "start_var": RightStep("running_var = var, at the first batch", lambda s: s.var_taken),
    # What neither a backward nor a batch in eval mode changes.
    "held_mean": RightStep("running_mean stays as it is", lambda s: s.old_mean),
    "held_var": RightStep("running_var stays as it is", lambda s: s.old_var),
}
STATISTICS = ("running_mean", "running_var")

# A batch in eval mode: the statistics are constants, in the forward and in the backward.
INFERENCE: dict[str, RightStep] = {
    **STEPS,
    "mu": RightStep("mu = running_mean", lambda s: s.eval_mean),
    "var": RightStep("var = running_var", lambda s: s.eval_var),
    "y": RightStep("y = gamma * xhat + beta", lambda s: s.eval_y),
    "back_xhat": RightStep("xhat = (x - running_mean) * inv_std", lambda s: s.eval_back_xhat),
    "back_inv_std": RightStep("inv_std = 1 / sqrt(running_var + eps)", lambda s: s.eval_back_inv_std),
    "variance_path": RightStep("none: running_var is a constant", lambda s: 0.0 * s.gamma),
    "mean_path": RightStep("none: running_mean is a constant", lambda s: 0.0 * s.gamma),
    "eval_mean": RightStep("y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta", lambda s: s.old_mean),
    "eval_var": RightStep("y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta", lambda s: s.old_var),
    "eval_y": RightStep(
        "y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta", lambda s: s.gamma * s.xhat + s.beta
    ),
    "eval_back_xhat": RightStep("dgamma = sum(dy * (x - running_mean)) / sqrt(running_var + eps)", lambda s: s.xhat),
    "eval_back_inv_std": RightStep("dx = dy * gamma / sqrt(running_var + eps)", lambda s: s.inv_std),
}

# A later training step of the same layer: it returns what a fresh layer does.
LATER: dict[str, RightStep] = {
    **STEPS,
    "later_y": RightStep("y, of this batch alone", lambda s: s.y),
    "later_dx": RightStep("dx, of this batch alone", lambda s: s.dx),
    "later_dgamma": RightStep("dgamma = sum(dy * xhat), of this batch alone", lambda s: s.dgamma),
    "later_dbeta": RightStep("dbeta = sum(dy), of this batch alone", lambda s: s.dbeta),
}

# How the title of a bug of training begins that stands in eval mode.
IN_EVAL_MODE = "in eval mode, "

TABLES = (STEPS, UPDATE, INFERENCE, LATER)
# The steps that every page derives, and what each should be.
LINES = {name: step for table in reversed(TABLES) for name, step in table.items()}
# Steps of a training step alone are what the names of its formulas are about.
OF_TRAINING = frozenset(STEPS)
# What of the forward's steps may be wrong in eval mode too, behind the statistics.
BEHIND_STATISTICS = tuple(name for name in FORWARD if name not in ("mu", "var"))
