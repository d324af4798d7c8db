"""Promises that need no oracle: shapes that fit, dtypes that stay, finite numbers, no surprises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import Seen, check, meant
from bncheck.core.precision import BFLOAT16, kind, limits
from bncheck.core.truth import lost_in_one_pass, truth
from bncheck.model import TENSORS, Fault, Judgement, Outcome

# Characters of the first printed line that a report shows.
_SHOWN = 60


@check("BN501", "shapes-fit")
def shapes_fit(case: Case, seen: Seen) -> Judgement:
    """Every result has the shape of what it belongs to.

    Promise
    -------
    y and dx have the shape of x; dgamma has the shape of gamma and dbeta that of beta, one entry per channel.

    Why it matters
    --------------
    ``gamma -= lr * dgamma`` with an unsummed dgamma of shape (N, C) broadcasts without a word and grows gamma to a
    matrix; so does a dbeta of shape (C,) where beta has (C, 1).

    Evidence
    --------
    The shapes that one training step returned; results that are missing, or no arrays; gradients that broadcast against
    their parameter.

    Typical causes
    --------------
    A sum over the batch forgotten; a sum over all axes; ``keepdims`` forgotten; a gradient not returned.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    training = seen["training"]
    want = dict(zip(TENSORS, (case.x.shape, case.x.shape, case.gamma.shape, case.beta.shape), strict=True))
    for name, shape in training.facts["shapes"].items():
        if shape is None:
            got = training.facts["types"][name]
            what = "is missing (None)" if got == "NoneType" else f"is a {got}, not an array"
            return Judgement(Outcome.FAIL, f"{name} {what}", name)
        if tuple(shape) != tuple(want[name]):
            axes = "(C,)" if name in ("dgamma", "dbeta") else "(N, C)" if case.x.ndim == 2 else "(N, C, ...)"
            message = f"{name} has shape {tuple(shape)} where {axes} is {tuple(want[name])}"
            return Judgement(Outcome.FAIL, message, name)
    if misfit := training.facts.get("misfit"):
        return Judgement(Outcome.FAIL, misfit, misfit.split()[0])
    if not training.facts["shapes"]:
        return Judgement(Outcome.SKIP, "nothing was returned (see BN506)")
    return Judgement(Outcome.PASS, "all shapes fit")


@check("BN502", "dtype-kept")
def dtype_kept(case: Case, seen: Seen) -> Judgement:
    """Results come in the dtype of the input.

    Promise
    -------
    float64 in, float64 out; float32 in, float32 out.

    Why it matters
    --------------
    A float32 step inside a float64 chain costs nine digits without a word; a float64 result of float32 input doubles
    the memory of everything after it.

    Evidence
    --------
    The dtypes that one training step returned. Fewer digits than the input has are a failure, and so is anything that
    is no real floating-point number; more digits are a warning.

    Typical causes
    --------------
    ``np.zeros(...)`` (float64) as a buffer; parameters kept in float32; ``astype(np.float32)``; ``np.zeros_like`` of
    integers.

    References
    ----------
    NumPy, "Data type promotion in NumPy".
    """
    own = float(limits(case.spec.dtype).eps)
    wider = ""
    for name, dtype in seen["training"].facts["dtypes"].items():
        if dtype == case.spec.dtype:
            continue
        letter = _kind(dtype)
        if letter != "f":
            what = _NO_FLOATS.get(letter, "no real floating-point numbers")
            return Judgement(Outcome.FAIL, f"{name} is {dtype} ({what}) for {case.spec.dtype} input", name)
        eps = float(limits(dtype).eps)
        if eps > own:
            return Judgement(Outcome.FAIL, f"{name} is {dtype} for {case.spec.dtype} input", name)
        # NumPy makes float32 of every bfloat16 beside a Python number: that is no buffer of another dtype.
        if eps < own and case.spec.dtype != BFLOAT16:
            wider = wider or name
    if wider:
        got = seen["training"].facts["dtypes"][wider]
        return Judgement(Outcome.WARN, f"{wider} is {got} for {case.spec.dtype} input", wider)
    return Judgement(Outcome.PASS, "dtypes are kept")


_NO_FLOATS = {
    "i": "whole numbers",
    "u": "whole numbers",
    "b": "truth values",
    "c": "complex numbers",
    "O": "Python objects",
}


def _kind(dtype: str) -> str:
    """Return NumPy's letter for the kind of a dtype, "" for a dtype whose name NumPy does not take back."""
    try:
        return kind(dtype)
    except TypeError:
        return ""


@check("BN503", "results-finite", confirm=("large-mean",))
def results_finite(case: Case, seen: Seen) -> Judgement:
    """Finite input gives finite results.

    Promise
    -------
    With eps > 0, y and the gradients are finite, for a constant channel and for one value per channel too.

    Why it matters
    --------------
    One NaN in a forward pass ends a training run.

    Evidence
    --------
    The results of one training step where the right ones are finite in the dtype. Where the mean is so large against
    the spread that a one-pass variance ``mean(x**2) - mean(x)**2`` keeps no digit, and the implementation is seen to
    use one, that is BN401's warning, not this failure.

    Typical causes
    --------------
    eps missing or outside the reach of the root; m - 1 in a denominator; a one-pass variance below zero.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3 ("eps is added for numerical stability").
    """
    largest = float(limits(case.spec.dtype).max)
    explained: Judgement | None = None
    for name in TENSORS:
        found = seen["training"].arrays.get(name)
        if found is None or np.isfinite(found).all():
            continue
        want = truth(case).tensor(name)
        # A result beyond the dtype's range is infinite in any implementation.
        wrong = ~np.isfinite(found) & (np.abs(want) <= largest)
        lost = wrong & lost_in_one_pass(case, name)
        for places in (wrong & ~lost, lost):
            if places.any():
                at = tuple(int(i) for i in np.argwhere(places)[0])
                figures = (name, None, None, at, float(found[at]), float(want[at]))
                judgement = Judgement(Outcome.FAIL, f"{name} is {found[at]} for finite input", *figures)
                if places is not lost:
                    return judgement
                explained = explained or judgement
    if explained is None:
        return Judgement(Outcome.PASS, "all results are finite")
    if "large-mean" not in seen:
        return replace(explained, suspect=True)
    if seen["large-mean"].facts.get("one_pass"):
        return Judgement(
            Outcome.SKIP, f"{explained.tensor} is lost to a one-pass variance (see BN401)", explained.tensor
        )
    return explained


@check("BN506", "survives", follows=("BN504",))
def survives(case: Case, seen: Seen) -> Judgement:
    """Forward and backward come back.

    Promise
    -------
    No exception, no exit, no crash, no endless loop, for any batch. A forward that refuses one value per channel on
    purpose is fine: with a ValueError, a RuntimeError, an assertion or an exception class that is not Python's own. One
    that divides by m - 1 = 0 there, or that refuses arrays whose values do not lie one behind the other (``view``), is
    warned of: it gives no wrong number, and who calls it can help it.

    Why it matters
    --------------
    A layer that falls over on the last, odd batch of an epoch ends the run there.

    Evidence
    --------
    One training step; a worker process that dies or falls silent on a case is reported here too.

    Typical causes
    --------------
    A batch size remembered from the first call; ``reshape`` that assumes even sizes; names gone from NumPy.

    References
    ----------
    PyTorch, "Expected more than 1 value per channel when training".
    """
    fault = seen["training"].fault
    if fault is None:
        return Judgement(Outcome.PASS, "forward and backward came back")
    if case.spec.m == 1 and fault.stage == "forward" and meant(fault.kind):
        return Judgement(Outcome.PASS, f"refuses one value per channel: {fault.message}")
    if fault.stage == "forward" and _refused_by_the_library(case, fault):
        return Judgement(Outcome.WARN, str(fault))
    return Judgement(Outcome.FAIL, str(fault))


def _refused_by_the_library(case: Case, fault: Fault) -> bool:
    """Tell whether what raised is the unbiased variance of one value, or a view of an array that is not contiguous.

    A dy that is not contiguous is nobody's choice (the derivative of a sum is one): a backward has to take it.
    """
    if case.spec.m == 1 and fault.kind == "ZeroDivisionError":
        return True
    return case.spec.memory in ("F", "strided", "channels_last") and meant(fault.kind)


@check("BN507", "prints-nothing", severity="warning")
def prints_nothing(case: Case, seen: Seen) -> Judgement:
    """Forward and backward print nothing.

    Promise
    -------
    Nothing goes through sys.stdout or sys.stderr: no print, no message of a logging handler that writes to the streams
    of the moment.

    Why it matters
    --------------
    A forgotten print in a layer floods the log of a training run.

    Evidence
    --------
    How many characters went through sys.stdout and sys.stderr during one training step, and the first line of them.
    What goes past these is not seen: C code, ``os.write``, a stream or a logging handler kept from earlier. Python
    warnings are not counted.

    Typical causes
    --------------
    A print left over from debugging.

    References
    ----------
    Python documentation, the logging HOWTO.
    """
    facts = seen["training"].facts
    printed = facts["printed"]
    if printed:
        first = next((line.strip() for line in facts["printed_text"].splitlines() if line.strip()), "")[:_SHOWN]
        shown = f", beginning with {first!r}" if first else ""
        return Judgement(Outcome.WARN, f"{printed} characters were printed in one step{shown}", error=float(printed))
    return Judgement(Outcome.PASS, "nothing was printed")


@check("BN510", "eps-is-heeded", follows=("BN201",))
def eps_is_heeded(case: Case, seen: Seen) -> Judgement:
    """An eps that the code accepts is the one that it uses.

    Promise
    -------
    The eps that is handed over, as an argument or in the options, is the one under the root; and where it is left out,
    a backward that may be told one takes that of its forward.

    Why it matters
    --------------
    Whoever sets eps to 1e-3, because half precision needs it, gets 1e-8 and NaN. Whoever leaves it out, where the
    defaults of forward and backward differ, gets the gradients of another function.

    Evidence
    --------
    y of one small batch with two values of eps: if nothing moves, eps is measured from the slope of y against x, and
    used for all other checks. Where both may be left without one: the forward's is measured, and dx without any is to
    be dx with that one.

    Typical causes
    --------------
    ``eps=1e-5`` in the forward and ``eps=1e-8`` in the backward; a literal 1e-8 in the formula beside an option eps.
    (An attribute that nothing reads is noted, and no failure.)

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    if seen["training"].facts.get("eps_source") == "ignored":
        return Judgement(Outcome.FAIL, f"eps is accepted and ignored: {case.spec.eps:g} is used whatever it is")
    if untold := seen["training"].facts.get("eps_untold"):
        return Judgement(Outcome.FAIL, untold)
    if seen["training"].facts.get("eps_source") == "fixed":
        return Judgement(Outcome.SKIP, "the code takes no eps: it is hard-coded, or there is none")
    if seen["training"].facts.get("eps_source") == "declared":
        return Judgement(Outcome.SKIP, "eps is as declared; whether the code would heed another was not tried")
    return Judgement(Outcome.PASS, "eps is heeded")
