"""Promises about running statistics: how training updates them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import Seen, check
from bncheck.checks.moments import TOTALS, called, first, in_moments, is_total, mixed, nearest
from bncheck.checks.pooling import pooled_bound, pooled_kinds
from bncheck.core.rounding import statistics_bounds
from bncheck.core.tolerance import UNIT_ROUNDOFF, within
from bncheck.model import Conventions, Evidence, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

NO_STATISTICS = Judgement(Outcome.SKIP, "the code keeps no running statistics")


@check("BN301", "statistics-follow-rule", needs=("running",), follows=("BN101",))
def statistics_follow_rule(case: Case, seen: Seen) -> Judgement:
    """Running mean and variance are updated by one rule, batch after batch.

    Promise
    -------
    In training, ``running = k * running + (1 - k) * batch`` with one fraction k that is the momentum or its complement
    (or the cumulative average), the batch's mean, and its biased or unbiased variance; the same for batches of any
    size. Or they are mean and variance of all values seen so far, or running_var + running_mean**2 follows the rule
    with var + mean**2: averages of x and of its square.

    Why it matters
    --------------
    Nothing in training uses these numbers: an error in them shows months later, in inference.

    Evidence
    --------
    Three batches of different sizes, statistics read after each. Which rule it is, is found out first and stands in the
    report; a rule that fits no known convention fails, and one whose fraction changes as in a warm-up is skipped.

    Typical causes
    --------------
    The standard deviation averaged and rooted again in inference; running_var fed with the mean; statistics of the last
    batch only; computed and never stored; ``m / (m - 1)`` with N in the place of N H W, or with m = 1, which makes the
    running variance NaN for good (a warning).

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 2; PyTorch and Keras documentation of BatchNorm.
    """
    evidence = seen["running"]
    conventions: Conventions | None = evidence.facts.get("conventions")  # none where the training step raised
    if conventions is None or not conventions.momentum_sense:
        return NO_STATISTICS
    if conventions.momentum_sense == "finished":
        return Judgement(Outcome.SKIP, "the statistics are worked out when inference begins (see BN302)")
    if conventions.momentum_sense == "changing" or conventions.running_var == "undecided":
        return Judgement(Outcome.SKIP, "the rule of the statistics could not be told")
    if conventions.momentum_sense in ("unknown", "last") or not conventions.running_var:
        return _no_rule(conventions)
    if evidence.fault is not None or "mean" not in evidence.arrays:
        return Judgement(Outcome.SKIP, "no statistics to read after three batches")
    if conventions.running_var.startswith("unbiased") and 1 in evidence.facts["m"]:
        return _one_value(evidence)
    for name in ("mean", "var"):
        judgement = _updates(name, case, in_moments(name, case, evidence, conventions), conventions)
        if judgement.outcome is not Outcome.PASS:
            return judgement
    return Judgement(Outcome.PASS, "the statistics follow their rule")


def _no_rule(conventions: Conventions) -> Judgement:
    if conventions.momentum_sense == "last":
        return Judgement(Outcome.FAIL, "the running statistics are those of the last batch alone")
    said = [note for note in conventions.notes if note.startswith("the running")]
    return Judgement(Outcome.FAIL, said[0] if said else "the running statistics follow no known rule")


def _one_value(evidence: Evidence) -> Judgement:
    """Judge batches of one value per channel where the variance is unbiased: m / (m - 1) is infinite, 0 times that NaN.

    What the statistics should be then is nobody's rule; but they are not to be lost for good.
    """
    read = evidence.arrays["var"]
    if not np.isfinite(read[-1]).all():
        at = (int(np.argmax(~np.isfinite(read[-1]))),)
        said = f"running_var is {read[-1][at]} after a batch of one value per channel, and stays so"
        message = f"{said}: raise on such a batch in training mode, as PyTorch does"
        return Judgement(Outcome.WARN, message, "running_var", None, None, at, float(read[-1][at]))
    return Judgement(Outcome.SKIP, "one value per channel has no unbiased variance")


def _updates(name: str, case: Case, evidence: Evidence, conventions: Conventions) -> Judgement:
    """Compare every update of one statistic with the rule, each from the reading before it."""
    read, batch = evidence.arrays[name], evidence.arrays[f"batch_{name}"]
    u = max(UNIT_ROUNDOFF[case.spec.dtype], float(evidence.arrays["precision"][0]))
    bounds = statistics_bounds(case.x, u, case.axes, one_pass=True)
    spread = bounds.mean if name == "mean" else bounds.var
    if is_total(name, conventions):
        spread = pooled_bound(case, evidence, u)
    for step, m in enumerate(evidence.facts["m"]):
        old, new = read[step], read[step + 1]
        keep = fraction_kept(case, conventions, step)
        taken = batch[step]
        if name == "var" and conventions.running_var == "unbiased":
            taken = taken * (m / (m - 1))
        if step == 0 and np.isnan(old).any() and conventions.running_start != "first batch":
            continue
        if conventions.momentum_sense == "cumulative":
            # Every batch counts alike, or every value does.
            weighted = 1 - m / sum(evidence.facts["m"][: step + 1])
            keep = min(keep, weighted, key=lambda k: float(np.abs(new - mixed(k, old, taken)).max()))
        if name == "var" and conventions.running_var == "pooled":
            taken = nearest(new, pooled_kinds(evidence, step + 1))
            old, keep = taken, 0.0
            spread = pooled_bound(case, evidence, u)
        want, share = mixed(keep, old, taken), 1 - keep
        if step == 0 and conventions.running_start == "first batch":
            old = want = first(name, keep, taken, new)
            share = 1.0
        allowed = 2 * share * spread + 8 * u * (np.abs(old) + np.abs(taken))
        if conventions.momentum is not None:  # a fraction that was measured, or one of float32, is known to some 1e-9
            allowed = allowed + (1e-9 + 64 * u) * np.abs(old - taken)
        outcome, worst = within(new, want, allowed)
        if outcome is Outcome.FAIL:
            message = f"{called(name, conventions)} after batch {step + 1} does not follow its rule"
            if old is not taken and old is not want:
                message += f": it was {old[worst]:.4g} before, and the batch's own is {taken[worst]:.4g}"
            error = float(abs(new[worst] - want[worst]))
            return Judgement(
                outcome,
                message,
                f"running_{name}",
                error,
                float(allowed[worst]),
                worst,
                float(new[worst]),
                float(want[worst]),
            )
    return Judgement(Outcome.PASS)


def fraction_kept(case: Case, conventions: Conventions, step: int) -> float:
    """Return the fraction of the old statistics that stays at a step, counted from 0; batches count alike."""
    if conventions.momentum_sense == "cumulative":
        return step / (step + 1)
    if conventions.momentum is not None:
        return conventions.momentum
    momentum = case.spec.momentum
    return momentum if conventions.momentum_sense == "kept" else 1 - momentum


@check("BN303", "statistics-fit-profile", needs=("running",), follows=("BN301",))
def statistics_fit_profile(case: Case, seen: Seen) -> Judgement:
    """The running statistics follow the convention that was asked for, or that of the layer they are built on.

    Promise
    -------
    With ``--profile pytorch`` (or another) the update rule, the variance and the start of the running statistics are
    those of that library. So they are in a class that derives from its BatchNorm, unless another profile is asked for.

    Why it matters
    --------------
    No convention is wrong, but weights that are carried from one to another are.

    Evidence
    --------
    The convention that was found out, against the profile's. Skipped where there is none to be held.

    Typical causes
    --------------
    Momentum on the wrong side; the biased variance where the library takes the unbiased one.

    References
    ----------
    PyTorch, Keras, Flax and Chainer documentation of BatchNorm; Ioffe & Szegedy 2015, Algorithm 2.
    """
    conventions: Conventions | None = seen["running"].facts.get("conventions")
    if conventions is None or not conventions.momentum_sense:
        return NO_STATISTICS
    if conventions.misfit is None:
        return Judgement(Outcome.SKIP, "no profile is to be held")
    if conventions.misfit:
        return Judgement(Outcome.FAIL, conventions.misfit)
    return Judgement(Outcome.PASS, "the statistics follow the profile")


@check("BN309", "momentum-is-heeded", needs=("running",))
def momentum_is_heeded(case: Case, seen: Seen) -> Judgement:
    """A momentum that the code accepts is the one that it uses.

    Promise
    -------
    The momentum that is handed over says how much of the old statistics stays, or how much comes in.

    Why it matters
    --------------
    Whoever sets it to 0.99, because batches are small, gets the statistics of ten of them.

    Evidence
    --------
    The running statistics with two momenta (they move alike), and the source: nothing reads the argument.

    Typical causes
    --------------
    A literal 0.9 in the update beside an argument momentum.

    References
    ----------
    PyTorch and Keras documentation of BatchNorm.
    """
    conventions: Conventions | None = seen["running"].facts.get("conventions")
    if conventions is None or not conventions.momentum_sense:
        return NO_STATISTICS
    if conventions.momentum_sense == "last":
        return Judgement(Outcome.SKIP, "nothing of the old statistics stays (see BN301)")
    if conventions.unread and conventions.momentum is not None:
        kept = f"{conventions.momentum:g} of the old statistics stay whatever it is"
        return Judgement(Outcome.FAIL, f"{conventions.unread} is accepted and ignored: {kept}")
    return Judgement(Outcome.PASS, "momentum is heeded, or hard-coded")


@check("BN307", "statistics-updated-once", needs=("long-run",), follows=("BN301",), of_backward=True)
def statistics_updated_once(case: Case, seen: Seen) -> Judgement:
    """The running statistics are updated by the forward, and by nothing else.

    Promise
    -------
    One training step, forward and backward, takes one batch in.

    Why it matters
    --------------
    A second update in the backward squares the fraction that stays: statistics forget twice as fast as the momentum
    says.

    Evidence
    --------
    The statistics after a forward and after the backward that follows, compared bit for bit.

    Typical causes
    --------------
    The update copied into the backward; the forward called again from the backward to rebuild the cache.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 2.
    """
    evidence = seen["long-run"]
    conventions: Conventions | None = evidence.facts.get("conventions")
    if conventions is None or not conventions.momentum_sense:
        return NO_STATISTICS
    for name in ("mean", "var"):
        before, after = (evidence.arrays.get(f"{when}_{name}") for when in ("forward", "backward"))
        if before is None or after is None:
            return Judgement(Outcome.SKIP, "no statistics to read around a backward on this case")
        if not np.array_equal(before, after, equal_nan=True):
            worst = int(np.argmax(~((before == after) | (np.isnan(before) & np.isnan(after)))))
            figures = (float(abs(after[worst] - before[worst])), 0.0, (worst,), float(after[worst]))
            message = f"running_{name} is changed by the backward"
            return Judgement(Outcome.FAIL, message, f"running_{name}", *figures, float(before[worst]))
    return Judgement(Outcome.PASS, "the statistics are updated once per step")


@check("BN308", "statistics-exact-after-many-steps", needs=("long-run",), follows=("BN101", "BN301"))
def statistics_exact_after_many_steps(case: Case, seen: Seen) -> Judgement:
    """After many steps the running statistics are still those of the rule.

    Promise
    -------
    The rule that holds for the first batches holds for the fiftieth.

    Why it matters
    --------------
    Inference happens after thousands of steps. A correction for the first steps that never ends, a rule that changes or
    a sum that grows show late.

    Evidence
    --------
    Fifty batches, two in turn; the rule that BN301 found, applied to what the code held after the first.

    Typical causes
    --------------
    A correction of bias that is applied to what it corrects; statistics frozen after some steps; an average that is
    taken for a sum.

    References
    ----------
    Kingma & Ba 2015, arXiv:1412.6980, section 3 (what a correction of bias is).
    """
    evidence = seen["long-run"]
    conventions: Conventions | None = evidence.facts.get("conventions")
    if conventions is None or not conventions.momentum_sense:
        return NO_STATISTICS
    known = conventions.momentum_sense in ("kept", "new", "fixed", "cumulative")
    if not known or conventions.running_var not in ("biased", "unbiased", *TOTALS):
        return Judgement(Outcome.SKIP, "the rule of the statistics is not known (see BN301)")
    for name in ("mean", "var"):
        judgement = _drift(name, case, in_moments(name, case, evidence, conventions), conventions)
        if judgement.outcome is not Outcome.PASS:
            return judgement
    return Judgement(Outcome.PASS, "the statistics follow their rule over many batches")


def _drift(name: str, case: Case, evidence: Evidence, conventions: Conventions) -> Judgement:
    """Compare one statistic after many steps with the rule, applied to what was read after the first."""
    start, last = (evidence.arrays.get(f"{when}_{name}") for when in ("first", "last"))
    if start is None or last is None:
        return Judgement(Outcome.SKIP, "no statistics to read after many steps on this case")
    batches, steps = evidence.arrays[f"batch_{name}"], evidence.facts["steps"]
    if name == "var" and conventions.running_var == "unbiased":
        batches = batches * (case.spec.m / (case.spec.m - 1))
    want = start
    for step in range(1, steps):
        keep = fraction_kept(case, conventions, step)
        want = keep * want + (1 - keep) * batches[step % 2]
    u = max(UNIT_ROUNDOFF[case.spec.dtype], evidence.facts["precision"])
    # The second batch is -2 x. A batch's mean errs by m u of its largest value, its variance, in one pass, by that of
    # the value's square; an update by some 8 u; a fraction that was measured by 1e-9. At worst all steps add up.
    peak = 2.0 * np.abs(case.x).max(axis=case.axes).astype(np.float64)
    size = np.maximum(np.abs(start), peak if name == "mean" else peak * peak)
    share = (case.spec.m + 8) * u + (1e-9 if conventions.momentum is not None else 0.0)
    allowed = steps * share * size
    outcome, worst = within(last, want, allowed)
    if outcome is not Outcome.FAIL:
        return Judgement(Outcome.PASS)
    message = f"{called(name, conventions)} after {steps} batches is not what the rule of the first ones makes it"
    figures = (float(abs(last[worst] - want[worst])), float(allowed[worst]), worst, float(last[worst]))
    return Judgement(outcome, message, f"running_{name}", *figures, float(want[worst]))
