"""Promises of a layer in use: its own methods switch the mode, and what it computes follows its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.checks.evaluation import nothing_to_judge
from bncheck.core.tolerance import plain_share, plainly_off
from bncheck.model import GRADIENTS, Judgement, Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Rules by which every batch is taken in when it comes: there is nothing left for a method to do to the statistics.
_TAKEN_IN = ("kept", "new", "fixed")


@check(
    "BN312",
    "own-methods-switch-mode",
    needs=("training", "own-methods"),
    follows=("BN101", "BN302", "BN304", "BN505", "BN508"),
)
def own_methods_switch_mode(case: Case, seen: Seen) -> Judgement:
    """A layer's own ``train()`` and ``eval()`` switch the mode, and do nothing else.

    Promise
    -------
    After ``eval()`` y is that of the running statistics, after ``train()`` that of the batch again, as often as that is
    done; the running statistics are what they were before the call.

    Why it matters
    --------------
    It is how the layer is used. A switch that sets another attribute than the forward reads is noticed by nobody: the
    model is asked in training mode, and its answers depend on their neighbours.

    Evidence
    --------
    Training, ``train()``, training, ``eval()``, inference, ``train()``, training, in one layer, of which no attribute
    is set; each y against that of a layer which is told the mode in every way that bncheck found. Where every batch is
    taken into the statistics as it comes, a call moves them by less than a thousandth, or the next one takes that back.
    Skipped where the layer has no two such methods, where an argument of the forward says the mode, and where
    ``train()`` as well as ``eval()`` puts a layer into eval mode: it was frozen on purpose, then.

    Typical causes
    --------------
    ``self.is_training`` set and ``self.training`` read; a method that was forgotten, or copied from the other; a flag
    that is never taken back; statistics reset by a switch.

    References
    ----------
    PyTorch documentation of Module.train and Module.eval.
    """
    evidence = seen["own-methods"]
    if judgement := nothing_to_judge(evidence):
        return judgement
    found, calls = evidence.arrays, evidence.facts["calls"]
    if "told_train" not in found or "train" not in found:
        reason = "no train() and eval() of a layer's own say the mode" if evidence.facts["tried"] else NOT_TRIED
        return Judgement(Outcome.SKIP, evidence.facts["raised"] or reason)
    of_eval, of_training = found["told_eval"], found["told_train"]
    if plainly_off(of_eval, of_training) is None:
        return Judgement(Outcome.SKIP, "both modes have the same y on this case")
    # y of training does not depend on what came before: by it the mode is told, whatever the statistics are by now.
    if (
        plainly_off(found["fresh"], found["told_fresh"]) is not None
        and plainly_off(found["eval"], of_training) is not None
    ):
        return Judgement(Outcome.SKIP, f"{calls[0]} as well as {calls[1]} leaves training mode: frozen, it seems")
    stays = plainly_off(found["eval"], of_training) is None
    taken_in = evidence.facts["conventions"].momentum_sense in _TAKEN_IN
    if taken_in and (judgement := _statistics_moved(found, calls)):
        return judgement
    if not taken_in and not stays:  # train() may begin a collection anew, and eval() end it
        of_eval = found["eval"]
    of_batch = "normalised with the batch's own statistics" if stays else "not that of the running statistics"
    said = (f"after {calls[1]} y is {of_batch}", f"after {calls[1]} and {calls[2]} y is not that of the batch again")
    for message, name, want in zip(said, ("eval", "train"), (of_eval, of_training), strict=True):
        if (at := plainly_off(found[name], want)) is not None:
            return _off(message, found[name], want, at)
    return Judgement(Outcome.PASS, f"{calls[0]} and {calls[1]} switch the mode")


def _off(message: str, found: Array, want: Array, at: tuple[int, ...], tensor: str = "y") -> Judgement:
    figures = (float(abs(found[at] - want[at])), plain_share(want), at, float(found[at]), float(want[at]))
    return Judgement(Outcome.FAIL, message, tensor, *figures)


def _statistics_moved(found: Mapping[str, Array], calls: tuple[str, ...]) -> Judgement | None:
    """Return the failure of statistics that a call changes; what ``eval()`` does to them, ``train()`` may undo."""
    for name in ("mean", "var"):
        if f"held_{name}" not in found:
            continue
        held = found[f"held_{name}"]
        for before, after, call in ((0, 1, calls[0]), (2, 3, calls[1]), (4, 5, calls[2])):
            undone = before == 2 and plainly_off(held[5], held[2]) is None
            undoes = before == 4 and plainly_off(held[3], held[2]) is not None
            if undone or undoes or (at := plainly_off(held[after], held[before])) is None:
                continue
            return _off(f"running_{name} is changed by {call}", held[after], held[before], at, f"running_{name}")
    return None


@check(
    "BN518",
    "follows-its-parameters",
    needs=("training", "changed-parameters"),
    follows=("BN101", "BN201", "BN202", "BN203", "BN302", "BN304", "BN312", "BN504", "BN505", "BN508"),
    of_backward=True,
)
def follows_its_parameters(case: Case, seen: Seen) -> Judgement:
    """What a layer computes follows the gamma, beta and statistics that it has by then.

    Promise
    -------
    A layer that was trained and asked, and whose gamma and beta were changed after that, returns what one returns that
    had these from the beginning: y and the gradients in training, and y in eval mode.

    Why it matters
    --------------
    It is what an optimizer does at every step. A copy that is made once, or a scale and a shift that are folded at the
    first inference, are right as long as nothing is learned.

    Evidence
    --------
    One layer: a step, inference, other parameters, two steps, inference; another one, that has those parameters all the
    time and is not asked in between. The parameters are replaced in the one, or written into: either has to do. Skipped
    where a method of the layer's own changes them: only that method knows what else is to be done then.

    Typical causes
    --------------
    ``if self.scale is None: self.scale = gamma / std`` and never cleared; ``self.weight.copy()`` in the first forward.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 2: the scale and the shift of inference follow the training.
    """
    evidence = seen["changed-parameters"]
    if raised := evidence.facts.get("raised"):
        return Judgement(Outcome.SKIP, raised)
    if not evidence.facts.get("changed"):
        reason = "no gamma and beta in the code that could be changed between two steps"
        return Judgement(Outcome.SKIP, reason if evidence.facts.get("tried") else NOT_TRIED)
    for name in ("y", *GRADIENTS, "eval"):
        found, want = (evidence.arrays.get(key) for key in (name, f"want_{name}"))
        if found is None or want is None or (at := plainly_off(found, want)) is None:
            continue
        message = f"{name} does not follow gamma and beta that are changed after the first step"
        if name == "eval":
            message = "y in eval mode is that of what the layer was before it learned more"
        return _off(message, found, want, at, "y" if name == "eval" else name)
    return Judgement(Outcome.PASS, "what the layer computes follows its parameters")
