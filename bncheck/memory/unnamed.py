"""What can be said of statistics and of eval mode where no known bug explains them: what of the formula is there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bncheck.bugs.catalogue import Sample
from bncheck.bugs.factors import Factors
from bncheck.bugs.memory import INFERENCE, STATISTICS, UPDATE, Rule
from bncheck.bugs.steps import Array, Step, Steps
from bncheck.bugs.words import Said, in_words, unnamed
from bncheck.memory.answers import IN_EVAL
from bncheck.memory.values import Batch, fitted
from bncheck.report import Diagnosis


def mixes_channels(batches: Sequence[Batch], own: Mapping[str, Step]) -> bool:
    """Tell whether a known fault of the forward makes y of one channel from values of others.

    Its statistics are those of no channel then, and neither they nor what eval mode makes of them is wrong once more.
    """
    for batch in batches:
        if "y" in own and batch.case.spec.c > 1:
            moved = batch.case.x.copy()
            moved[:, 0] += 1 + np.arange(moved[:, 0].size).reshape(moved[:, 0].shape) ** 2
            ys = [Steps(replace(batch.case, x=x), own).y for x in (batch.case.x, moved)]
            if not np.allclose(ys[0][:, 1:], ys[1][:, 1:]):
                return True
    return False


def of_answers(batches: Sequence[Batch], rule: Rule) -> Diagnosis:
    """Return what y is made of in eval mode."""
    samples = [Sample(batch.steps(rule, {}), dict(batch.found)) for batch in batches]
    with np.errstate(all="ignore"):
        said = in_words("y", samples, Factors([sample.steps for sample in samples]))
    held = Said(_held(said.formula), _held(said.words), said.share)
    return unnamed(IN_EVAL["y"], held, INFERENCE["eval_y"].line, len(batches))


def of_update(names: Sequence[str], batches: Sequence[Batch]) -> list[Diagnosis]:
    """Return what statistics that no rule gives are made of: how far an average of old and new gives them."""
    found = []
    for name in names:
        if batches:
            old, new, share = _average(name, batches)
            words = f"the nearest average of its old value and the batch's gives {share:.1%} of how it changes"
            formula = f"{name} = {old:.3g} * {name} + {new:.3g} * {'mu' if name == STATISTICS[0] else 'var'} + ?"
            found.append(unnamed(name, Said(formula, words, share), UPDATE[name].line, len(batches)))
    return found


def _average(name: str, batches: Sequence[Batch]) -> tuple[float, float, float]:
    """Return the factors of the old value and of the batch's in the closest fit, and the share of the change it gives.

    Ordinary least squares over all channels of all batches.
    """
    rows: list[tuple[Array, Array, Array]] = []
    for batch in batches:
        found = np.asarray(batch.found[name], dtype=np.float64).ravel()
        old = np.ravel(batch.past.mean if name == STATISTICS[0] else batch.past.var)
        new = fitted(batch.forward["mu" if name == STATISTICS[0] else "var"], found.shape)
        if new is not None and old.shape == found.shape and np.isfinite(found).all():
            rows.append((old, new, found))
    if not rows:
        return 0.0, 0.0, 0.0
    olds, news, founds = (np.concatenate(column) for column in zip(*rows, strict=True))
    (of_old, of_new), *_ = np.linalg.lstsq(np.stack([olds, news], axis=1), founds, rcond=None)
    left = founds - of_old * olds - of_new * news
    moved = float(((founds - olds) ** 2).sum())
    share = max(0.0, 1 - float((left**2).sum()) / moved) if moved else 0.0
    return float(of_old), float(of_new), share


def _held(text: str) -> str:
    """Return a text about a training batch in the letters of eval mode."""
    return re.sub(r"\bmu\b", "running_mean", re.sub(r"\bstd\b", "sqrt(running_var + eps)", text))
