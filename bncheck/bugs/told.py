"""How the bugs that were found are told: what is one bug is said once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bncheck.bugs.memory import IN_EVAL_MODE
from bncheck.report import Diagnosis


def together(diagnoses: Sequence[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Return diagnoses, one bug in several tensors said once, where it comes first; not where lines tell them apart."""
    found: list[Diagnosis] = []
    for one in diagnoses:
        said = one.code, one.title.removeprefix(IN_EVAL_MODE)  # both modes share the line
        same = [d for d in found if one.is_named and (d.code, d.title) == said and one.line in (None, d.line)]
        if same:
            found[found.index(same[0])] = replace(same[0], tensor=f"{same[0].tensor}, {one.tensor}")
        else:
            found.append(one)
    return _exchanged(found)


def _exchanged(diagnoses: list[Diagnosis]) -> tuple[Diagnosis, ...]:
    """Return diagnoses, those of a training that does what eval mode should, and the other way round, as one."""
    parts = [one for one in diagnoses if one.code in _OF_EXCHANGED_MODES]
    of = {one.code: one for one in parts}
    if not of.keys() >= _EXCHANGED_MODES:
        return tuple(diagnoses)
    tensors = dict.fromkeys(", ".join(one.tensor for one in parts).split(", "))
    whole = replace(
        of["BUG133"],
        title="training and eval mode are exchanged: in training x is normalised with the running statistics, in eval "
        "mode with the batch's own, which are taken into the running ones",
        explanation="exchange the two branches, or turn around what the mode is compared with",
        tensor=", ".join(tensors),
        wrong="in eval mode: mu, var = mean(x), mean((x - mu)**2), and the update of the running statistics",
        right="in training: mu, var = mean(x), mean((x - mu)**2), and the update of the running statistics",
        line=of["BUG611"].line,
        cases=min(one.cases for one in parts),
    )
    return whole, *(one for one in diagnoses if one not in parts)


# What a mode whose branches are exchanged gets wrong: y of training, the update, y of eval mode; and, where it is said,
# that training never updates.
_EXCHANGED_MODES = frozenset(("BUG133", "BUG611", "BUG701"))
_OF_EXCHANGED_MODES = _EXCHANGED_MODES | {"BUG603"}
