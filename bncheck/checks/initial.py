"""Promises about what a fresh layer starts from."""

from __future__ import annotations

from bncheck.case import Case
from bncheck.checks.catalogue import Seen, check
from bncheck.model import Conventions, Judgement, Outcome


@check("BN701", "gamma-starts-at-one", needs=("running",), severity="warning")
def gamma_starts_at_one(case: Case, seen: Seen) -> Judgement:
    """A fresh layer's gamma is 1 for every channel.

    Promise
    -------
    gamma has one entry per channel, and all are 1: a new layer puts out the plain normalised value.

    Why it matters
    --------------
    Random values make some channels weak from the start for no reason; one number for the whole layer cannot learn
    what each channel needs; one per element (N, C) fits no other batch size. (0 is a deliberate choice in residual
    branches.)

    Evidence
    --------
    gamma of two fresh layers, read before bncheck puts another in its place. Skipped where it is handed over.

    Typical causes
    --------------
    ``np.random.randn`` as for weights; ``gamma=1.0`` kept as a number; ``np.zeros``.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3; Goyal et al. 2017, arXiv:1706.02677, section 5.1 (gamma = 0).
    """
    return _judge(seen, "gamma", 0, "1")


@check("BN702", "beta-starts-at-zero", needs=("running",), severity="warning")
def beta_starts_at_zero(case: Case, seen: Seen) -> Judgement:
    """A fresh layer's beta is 0 for every channel.

    Promise
    -------
    beta has one entry per channel, and all are 0.

    Why it matters
    --------------
    A random shift sends some channels to the flat side of the nonlinearity from the start; one number for the whole
    layer, or one per element, cannot learn what each channel needs.

    Evidence
    --------
    beta of two fresh layers, read before bncheck puts another in its place. Skipped where it is handed over.

    Typical causes
    --------------
    Ones in gamma and beta alike; ``np.random.randn`` as for weights; ``np.zeros_like(x)``, a full matrix.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    return _judge(seen, "beta", 1, "0")


@check("BN703", "statistics-start-from-numbers", needs=("running",), severity="warning", follows=("BN301", "BN310"))
def statistics_start_from_numbers(case: Case, seen: Seen) -> Judgement:
    """Running statistics start at mean 0 and variance 1 or 0, or with the first batch.

    Promise
    -------
    What stays of the start after k batches is that number times the k-th power of the fraction that stays.

    Why it matters
    --------------
    Inference before the statistics have settled uses them: a random start, or the variance in the mean's place, gives
    answers that no batch explains.

    Evidence
    --------
    The statistics of a fresh layer, or those that its first update leads back to.

    Typical causes
    --------------
    ``np.random`` or ``np.empty`` for a buffer; mean and variance swapped; the variance started with the first mean.
    In Flax, an update that runs while the layer is initialized: leave it out where ``self.is_initializing()``.

    References
    ----------
    The start in PyTorch, Keras, Flax (0, 1), Chainer and CS231n (0, 0).
    """
    conventions: Conventions | None = seen["running"].facts.get("conventions")
    start = conventions.running_start if conventions else ""
    if not start:
        return Judgement(Outcome.SKIP, "no running statistics, or their start is not to be seen")
    if start in ("0, 1", "0, 0", "first batch"):
        return Judgement(Outcome.PASS, f"running statistics start from {start}")
    what = "another number in every channel" if start == "differs by channel" else start
    return Judgement(Outcome.WARN, f"running mean and variance start from {what}")


# An average in which the last batch weighs more than all before it together is no average over batches. The defaults of
# libraries keep 0.9 and more; half of it is a judgement that leaves room.
_HALF = 0.5


@check("BN704", "default-keeps-most", needs=("running",), severity="warning", follows=("BN301", "BN303"))
def default_keeps_most(case: Case, seen: Seen) -> Judgement:
    """By its own default, a layer's running statistics keep most of what they were.

    Promise
    -------
    With the momentum that the code takes if it is told none, or that is written into it, half of the old statistics or
    more stays after a batch.

    Why it matters
    --------------
    Statistics of which nine tenths are new after each batch are those of the last batch, noise and all: inference
    changes with whichever batch training ended on. An average over many batches is what they are for.

    Evidence
    --------
    Which side the momentum is on, as it was measured (BN301), and its default. The side itself is a convention, and
    libraries have either: it is the default that tells which was meant. Skipped where a profile is declared.

    Typical causes
    --------------
    ``running = (1 - momentum) * running + momentum * batch``, as in PyTorch, with the 0.9 of CS231n; the other way
    round with PyTorch's 0.1.

    References
    ----------
    PyTorch, BatchNorm1d (momentum=0.1, the fraction that is new); CS231n, assignment 2 (0.9, the fraction kept).
    """
    conventions: Conventions | None = seen["running"].facts.get("conventions")
    if conventions is None or not conventions.momentum_sense:
        return Judgement(Outcome.SKIP, "no running statistics")
    if conventions.misfit is not None:
        return Judgement(Outcome.SKIP, "a profile is declared, and says which side momentum is on")
    usual, written = conventions.usual_momentum, conventions.momentum
    if written is not None:
        share, by = 1 - written, "by a number in the code"
    elif usual is not None and conventions.momentum_sense in ("kept", "new"):
        share = usual if conventions.momentum_sense == "new" else 1 - usual
        by = f"by the default momentum of {usual:g}"
    else:
        return Judgement(Outcome.SKIP, "the code names no momentum of its own, or has no use for one")
    if share <= _HALF:
        return Judgement(Outcome.PASS, f"{1 - share:.3g} of the old statistics stay, {by}")
    message = f"{by}, {share:.0%} of the running statistics are new after each batch: is it on the wrong side?"
    return Judgement(Outcome.WARN, f"{message} (--profile pytorch or cs231n holds it to a convention)")


_SAID = {
    "random": "starts from random numbers",
    "one number": "is one number for all channels, and not one per channel",
    "a value per element": "has a value per element of the batch, and not one per channel",
    "differs by channel": "starts from another number in every channel",
}


def _judge(seen: Seen, name: str, position: int, right: str) -> Judgement:
    conventions: Conventions | None = seen["running"].facts.get("conventions")
    word = conventions.initial[position] if conventions else ""
    if not word:
        return Judgement(
            Outcome.SKIP, f"the code has no {name} of its own to start from: it is handed over, or there is none"
        )
    if word == right:
        return Judgement(Outcome.PASS, f"{name} starts at {right}")
    return Judgement(Outcome.WARN, f"{name} {_SAID.get(word, f'starts at {word}')}; usual is {right} for every channel")
