"""Faults that show on few batches: large gradients that are clipped, the end of a batch of more than one block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.cuts import tails
from bncheck.bugs.quantities import Quantity
from bncheck.bugs.steps import Array, Steps


def _at_most(size: float, s: Steps, name: str) -> Array:
    found: Array = np.clip(s.right(name), -size, size)
    return found


def _as_long_as(size: float, s: Steps, name: str) -> Array:
    right: Array = s.right(name)
    return right * min(1.0, size / (float(np.sqrt((right**2).sum())) or size or 1.0))


def _clipped_at(samples: Sequence[Sample], name: str) -> list[Choice]:
    """Return the bounds that a gradient keeps in all cases on which it is wrong: on its values, on its length."""
    values = [np.asarray(sample.found.get(name, np.nan)) for sample in samples]
    sizes = [(float(np.abs(v).max(initial=0.0)), float(np.sqrt((v**2).sum()))) for v in values]
    found = []
    for which, text, of in ((0, "clip({0}, -{1}, {1})", _at_most), (1, "{0} * min(1, {1} / norm({0}))", _as_long_as)):
        size = sizes[0][which]
        # A case that keeps another bound is not clipped.
        if size > 0 and all(abs(both[which] - size) <= _BOUND * size for both in sizes):
            found.append(Choice(text.format(name, f"{size:.6g}"), (of, size), 0.1 * which))
    return found


# Rounding of a length.
_BOUND = 1e-6


def _clipped(code: str, name: str, right: str) -> None:
    def fault(s: Steps, value: Any) -> Any:
        bounded, size = value
        return bounded(size, s, name)

    fault.__doc__ = _DOC
    bug(
        code, f"{name}-clipped", f"{name} is clipped: {{}}", step=name, wrong=f"{name} = {{}}", right=right,
        mend="return the gradient as it is: clipping is for whoever trains, behind the backward",
        choices=lambda samples: _clipped_at(samples, name),
    )(fault)  # fmt: skip


_DOC = """A gradient is right as long as it is small.

Why it happens
--------------
Clipping that kept a training run from diverging stands in the layer; gradient checks on small numbers pass.

By hand
-------
Multiply dy by 1000: every gradient is 1000 times as large.

References
----------
Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, section 3.2: the norm of the gradient of the whole model is bounded.
"""

_clipped("BUG230", "dx", "dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))")
_clipped("BUG306", "dgamma", "dgamma = sum(dy * xhat)")
_clipped("BUG406", "dbeta", "dbeta = sum(dy)")


@bug(
    "BUG307",
    "dgamma-tail-left-out",
    "{} is left out of dgamma",
    step="dgamma",
    wrong="dgamma = sum of dy * xhat without {}",
    mend="sum over the whole batch: the last block may be shorter",
    choices=tails,
)
def dgamma_tail(s: Steps, cut: Quantity) -> Any:
    """The sum runs over whole blocks of rows, and the rest of the batch is lost.

    Why it happens
    --------------
    ``for b in range(n // block)``: right where n is a multiple of the block, and where one block holds all.

    By hand
    -------
    A batch of one row more than a block: change the last row of dy, and dgamma must change.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dgamma: the sum runs over the whole mini-batch.
    """
    return s.sum(s.dy * s.back_xhat * cut.value(s))


@bug(
    "BUG407",
    "dbeta-tail-left-out",
    "{} is left out of dbeta",
    step="dbeta",
    wrong="dbeta = sum of dy without {}",
    mend="sum over the whole batch: the last block may be shorter",
    choices=tails,
)
def dbeta_tail(s: Steps, cut: Quantity) -> Any:
    """The sum runs over whole blocks of rows, and the rest of the batch is lost.

    Why it happens
    --------------
    ``for b in range(n // block)``: right where n is a multiple of the block, and where one block holds all.

    By hand
    -------
    dy = 1 everywhere: dbeta is m in every channel, whatever m is.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dbeta: the sum runs over the whole mini-batch.
    """
    return s.sum(s.dy * cut.value(s))


@bug(
    "BUG231",
    "tail-left-out-of-dx",
    "{} is left out of both means in dx",
    step="mean_path variance_path",
    wrong="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat)), both means without {}",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="sum over the whole batch: the last block may be shorter",
    choices=tails,
)
def tail_of_dx(s: Steps, cut: Quantity) -> Any:
    """The sums in dx run over whole blocks of rows, and the rest of the batch is lost.

    Why it happens
    --------------
    ``for b in range(n // block)``: right where n is a multiple of the block, and where one block holds all.

    By hand
    -------
    A batch of one row more than a block: change the last row of dy, and every row of dx must change.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dx: the sums run over the whole mini-batch.
    """
    unit, kept = -s.back_gamma * s.back_inv_std, cut.value(s)
    return unit * s.mean(s.dy * kept), unit * s.back_xhat * s.mean(s.dy * s.back_xhat * kept)
