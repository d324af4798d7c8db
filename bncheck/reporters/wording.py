"""How reports say things: numbers, cases and names in words, and foreign text made harmless."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from bncheck.case import CaseSpec
from bncheck.errors import UsageError
from bncheck.model import Conventions, Outcome
from bncheck.report import Diagnosis, Exhibit, Finding, TargetReport, Verdict

# Foreign text longer than this says no more; an exception's message can hold a whole array.
LONGEST = 400
DASH = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
# One character for one, so that ASCII keeps every column where it was.
_ASCII = str.maketrans(f"✔✘·{DASH}—{TIMES}→…─≤≥±◀²³░▒▓█│▁▂▃▄▅▆▇", "+x|--x>~-<>~<23-+*#|_-:;=oO")
_HARMLESS_CONTROL = {"\n": " ", "\r": " ", "\t": " "}
# What an answer is compared with; the short names are for narrow screens.
ORACLES = {"reference": "Batch Normalization", "numeric": "derivative of your forward"}
SHORT_ORACLES = {"reference": "reference", "numeric": "derivative"}
_TITLES = {Outcome.FAIL: "A small failing case", Outcome.WARN: "A small case that warns"}
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def clean(text: str, ascii_only: bool = False, keep_lines: bool = False, longest: int = LONGEST) -> str:
    """Return foreign `text` on one line, short, and without a character that a terminal would obey or hide."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if ascii_only:
        text = text.translate(_ASCII)
    return "".join(_visible(character, ascii_only, keep_lines) for character in text)


def to_ascii(text: str) -> str:
    """Return `text`, already clean, with the house's own signs replaced by ASCII ones of the same width."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits, or a dash where there is none."""
    return DASH if value is None else f"{value:.{digits}g}"


def count(how_many: int, what: str) -> str:
    """Return "1 case" or "2 cases"."""
    return f"{how_many:,} {what}" if how_many == 1 else f"{how_many:,} {what}s"


def several(names: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def verdict_in_words(target: TargetReport) -> str:
    """Return the word that stands first in a target's report."""
    if target.stub:
        return "NOT IMPLEMENTED YET"
    return target.verdict.value.upper()


def verdict_sign(verdict: Verdict) -> str:
    """Return the sign before a verdict."""
    return {Verdict.PASS: "✔", Verdict.FAIL: "✘", Verdict.INCONCLUSIVE: "?"}.get(verdict, "!")


def conventions_in_words(conventions: Conventions) -> list[str]:
    """Return what discovery found, as short phrases."""
    eps = "eps" if conventions.eps is None else f"eps {number(conventions.eps, 6)}"
    source = {"fixed": "hard-coded", "argument": "an argument", "attribute": "an attribute"}
    source |= {"ignored": "accepted and ignored", "declared": "as declared"}
    framework = [] if conventions.framework == "numpy" else [conventions.framework]
    return [
        *(["forward only"] if conventions.forward_only else []),
        *framework,
        f"layout {' or '.join(conventions.layouts)}",
        f"gamma, beta {conventions.parameter_shape}",
        f"{eps}: {source.get(conventions.eps_source, conventions.eps_source)}",
        *([] if conventions.forward_only else [f"returns {conventions.returns.removeprefix('tuple ')}"]),
        *_statistics_in_words(conventions),
    ]


_TOTALS = {"total": "variance", "unbiased total": "unbiased variance"}


def _statistics_in_words(conventions: Conventions) -> list[str]:
    """Return the convention of the running statistics, and how the code is told train from eval."""
    mode = [f"mode: {conventions.mode_switch}"] if conventions.mode_switch else []
    if not conventions.momentum_sense:
        unjudged = conventions.unjudged
        return [*mode, f"running statistics: {unjudged}" if unjudged else "no running statistics"]
    fraction = {"kept": "momentum is the fraction kept", "new": "momentum is the fraction that is new"}
    rules = {**fraction, "cumulative": "average over all batches", "last": "last batch only"}
    rules["finished"] = "average over all batches, worked out at inference"
    if conventions.momentum_sense == "changing":
        return [*mode, "running statistics: a fraction kept that changes, as in a warm-up: the rule is not judged"]
    rule = rules.get(conventions.momentum_sense, "no known rule")
    if conventions.momentum is not None and conventions.momentum_sense in (*fraction, "fixed"):
        rule = f"{number(conventions.momentum)} of the old kept (no argument of a known name changes it)"
    variance = f"{conventions.running_var} variance" if conventions.running_var else "variance of no known kind"
    if conventions.running_var in _TOTALS:
        variance = f"{_TOTALS[conventions.running_var]} of all values, as averages of x and x**2 make it"
    start = f", start {conventions.running_start}" if conventions.running_start else ""
    profile = f", as in {conventions.profile}" if conventions.profile else ""
    return [*mode, f"running statistics: {rule}, {variance}{start}{profile}"]


def case_title(finding: Finding | None) -> str:
    """Return what a case is called that a finding holds in; None if no finding is known."""
    return _TITLES.get(finding.outcome, "The case") if finding is not None else "The case"


def case_in_words(exhibit: Exhibit) -> str:
    """Return the parameters of the exhibited case: the sizes, eps, and all that is out of the ordinary."""
    try:
        spec = CaseSpec.parse(exhibit.case)
    except UsageError:  # a stored report's id of another version is shown as it stands
        return exhibit.case
    axes = {1: ("L",), 2: ("H", "W"), 3: ("D", "H", "W")}.get(len(spec.spatial), ())
    # The batch in eval mode is of another size, and stands among the inputs.
    trained = " in training" if any(name.endswith("in eval mode") for name in exhibit.inputs) else ""
    sizes = [f"N={spec.n}{trained}", f"C={spec.c}", *(f"{a}={s}" for a, s in zip(axes, spec.spatial, strict=False))]
    usual = CaseSpec()
    gammas = {"zero": "first gamma 0", "negative": "first gamma negative", "one": "every gamma 1"}
    orders = {"F": "Fortran order", "strided": "non-contiguous arrays", "readonly": "read-only arrays"}
    unusual = [
        (spec.mean != usual.mean, f"mean {number(spec.mean)}"),
        (spec.sd != usual.sd, f"standard deviation {number(spec.sd)}"),
        (spec.constant > 0, f"{count(spec.constant, 'constant channel')}"),
        (spec.gamma in gammas, gammas.get(spec.gamma, "")),
        (spec.dy_scale != usual.dy_scale, f"dy times {number(spec.dy_scale)}"),
        (spec.memory in orders, orders.get(spec.memory, "")),
    ]
    usual_parts = [*sizes, f"eps={number(exhibit.eps, 6)}", spec.dtype]
    return ", ".join([*usual_parts, *(words for is_so, words in unusual if is_so)])


def cases_in_words(finding: Finding) -> str:
    """Return in how many cases of how many a finding holds."""
    outcome = Outcome.FAIL if finding.expected else finding.outcome  # a known failure is told as a warning
    here, judged = finding.counts.get(outcome.value, 0), judged_cases(finding)
    return f"{here:,} of {count(judged, 'case')}" if judged else ""


def judged_cases(finding: Finding) -> int:
    """Return how many cases the check applied to."""
    return sum(n for outcome, n in finding.counts.items() if outcome != Outcome.SKIP)


def excess(finding: Finding) -> float | None:
    """Return the worst error over what is allowed, or None where there is no such quotient, or none that decides."""
    if finding.outcome is Outcome.INCONCLUSIVE or finding.error is None or math.isnan(finding.error):
        return None
    if not finding.allowed:
        return None
    return finding.error / finding.allowed


def decided_share(target: TargetReport) -> float | None:
    """Return which share of all judgements was a decision, or None where nothing was counted."""
    judged = sum(judged_cases(f) for f in target.findings)
    undecided = sum(f.counts.get(Outcome.INCONCLUSIVE, 0) for f in target.findings)
    return 1 - undecided / judged if judged else None


def share_in_words(share: float) -> str:
    """Return a share as a percentage that says 100 only where it is all of it."""
    return "100%" if share == 1 else f"{min(share * 100, 99.9):.1f}%"


def explained_in_words(diagnosis: Diagnosis, beside: Sequence[str]) -> str:
    """Return how much of a tensor a diagnosis gives, and what that is worth."""
    tensor = clean(diagnosis.tensor)
    if not diagnosis.is_named and diagnosis.explained == 0:
        return f"How {tensor} is made is not known."
    if not diagnosis.is_named:
        return f"What is known of it gives {share_in_words(diagnosis.explained)} of {tensor}."
    who = f"Together with {' and '.join(beside)} it" if beside else "It"
    drawn = {0: "", 1: " in one case drawn to tell bugs apart"}
    cases = drawn.get(diagnosis.cases, f" in {diagnosis.cases} cases drawn to tell bugs apart")
    return f"{who} explains every value of {tensor}{cases}."


def _visible(character: str, ascii_only: bool, keep_lines: bool) -> str:
    if character == "\n" and keep_lines:
        return character
    if character in _HARMLESS_CONTROL:
        return _HARMLESS_CONTROL[character]
    if unicodedata.category(character) in _HIDDEN or (ascii_only and not character.isascii()):
        return character.encode("unicode_escape").decode("ascii")
    return character
