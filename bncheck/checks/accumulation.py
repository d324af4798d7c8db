"""The promise about gradients that add up: both do, or neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.model import Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_PARAMETERS = ("dgamma", "dbeta")
_ADDED, _REPLACED = "adds up", "is replaced"


@check(
    "BN516",
    "gradients-add-up-alike",
    needs=("training", "backward-twice"),
    follows=("BN202", "BN203", "BN504", "BN505", "BN506", "BN508"),
    of_backward=True,
)
def gradients_add_up_alike(case: Case, seen: Seen) -> Judgement:
    """Where the gradient of one parameter adds up over backwards, that of the other does.

    Promise
    -------
    A second backward replaces dgamma and dbeta, or it adds to both, until they are cleared. Code that offers a way to
    clear them (``zero_grad()``, parameters with a ``.grad``) may do either.

    Why it matters
    --------------
    Who adds up small batches to a large one, or shares a layer between two branches, clears once and runs backward
    several times. A gradient that is replaced then is that of the last part alone, and the parameter learns slower
    than its neighbour.

    Evidence
    --------
    The same backward twice, nothing cleared in between: each gradient is the one of the first, or twice that.

    Typical causes
    --------------
    ``self.dgamma += ...`` beside ``self.dbeta = ...``; a second path that writes where the first one adds.

    References
    ----------
    PyTorch documentation, "Zeroing out gradients"; MXNet issue 18499, a BatchNorm asked to add to its gradients.
    """
    evidence, once = seen["backward-twice"], seen["training"].arrays
    if not evidence.facts.get("tried"):
        return Judgement(Outcome.SKIP, NOT_TRIED)
    if raised := evidence.facts["raised"]:
        return Judgement(Outcome.SKIP, f"a second backward is refused: {raised}")
    again = {name: evidence.arrays.get(f"added_{name}", evidence.arrays.get(name)) for name in _PARAMETERS}
    what = {name: _became(once.get(name), again[name]) for name in _PARAMETERS}
    if not all(what.values()):
        return Judgement(Outcome.SKIP, "what a second backward makes of dgamma and dbeta could not be told")
    if len(set(what.values())) == 1:
        return Judgement(Outcome.PASS, f"in a second backward each {what['dgamma']}")
    said = " and ".join(f"{name} {became}" for name, became in what.items())
    name = next(name for name, became in what.items() if became == _REPLACED)
    return Judgement(Outcome.FAIL, f"in a second backward {said}", name)


def _became(once: Array | None, again: Array | None) -> str:
    """Return what a second backward made of a gradient, "" where neither of the two that are right."""
    if once is None or again is None or once.shape != again.shape or not once.any():
        return ""
    if np.array_equal(once, again):
        return _REPLACED
    return _ADDED if np.allclose(again, 2 * once, rtol=1e-3, atol=1e-3 * float(np.abs(once).max())) else ""
