"""How a diagnosis is judged against the frozen faults of tests/mutants: which of their families its words are about."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from mutants import materialise

from bncheck.adapters import resolve
from bncheck.asked import answered, answered_further
from bncheck.bugs.catalogue import BUGS
from bncheck.bugs.evidence import hidden
from bncheck.cases.plan import cases_for
from bncheck.checks.catalogue import selected
from bncheck.diagnose import diagnose, explain, own_steps
from bncheck.driver import judge
from bncheck.guard import quiet
from bncheck.memory.search import CHECKED, OF_EVAL_GRADIENTS, searched
from bncheck.model import TENSORS, TargetSpec
from bncheck.settings import Settings
from bncheck.verdict import further_of_tensors


def diagnosed(target, dtype, failing, own):
    """Return what is said of statistics and eval mode, named or not."""
    found = searched(target, dtype, failing, own)
    if found is None:
        return ()
    search, bugs = found
    return (*(named.said() for named in bugs), *search.unnamed(failing, bugs))


# The checks that compare a tensor with the reference.
OF_TENSORS = ("BN101", "BN211", "BN212", "BN213")

# What a bug is about, whatever its parameter.
ABOUT = {
    "BUG101": "variance kind, count m",
    "BUG102": "variance, mean",
    "BUG103": "variance, count m, sum missing, mean for sum",
    "BUG104": "mean, count m, mean for sum",
    "BUG105": "variance",
    "BUG106": "axis",
    "BUG107": "axis, mean, sum missing",
    "BUG108": "axis, variance",
    "BUG109": "axis, variance",
    "BUG110": "variance, statistic swapped",
    "BUG111": "eps",
    "BUG112": "eps",
    "BUG113": "eps",
    "BUG114": "eps",
    "BUG115": "std/power, statistic swapped",
    "BUG116": "eps, std/power, statistic swapped",
    "BUG117": "eps",
    "BUG118": "sum missing, mean",
    "BUG119": "sum missing, variance",
    "BUG121": "mean, statistic swapped",
    "BUG122": "mean, statistic swapped",
    "BUG123": "mean, statistic swapped",
    "BUG124": "mean",
    "BUG125": "mean",
    "BUG131": "affine, statistic swapped",
    "BUG132": "affine",
    "BUG133": "mean, variance",
    "BUG134": "affine, mean, std/power",
    "BUG141": "tail",
    "BUG142": "tail",
    "BUG143": "tail",
    "BUG144": "tail",
    "BUG145": "tail",
    "BUG146": "axis",
    "BUG201": "gamma",
    "BUG202": "eps",
    "BUG203": "std/power, statistic swapped",
    "BUG204": "variance path, statistic swapped, mean",
    "BUG205": "variance path, dgamma, statistic swapped",
    "BUG206": "gamma",
    "BUG207": "std/power, statistic swapped",
    "BUG211": "mean path",
    "BUG212": "variance path",
    "BUG213": "mean path, variance path",
    "BUG214": "direct path",
    "BUG215": "mean path, statistic swapped",
    "BUG216": "variance path, statistic swapped",
    "BUG217": "mean path, statistic swapped",
    "BUG218": "variance path, statistic swapped",
    "BUG219": "direct path, mean path, variance path, dx factor",
    "BUG221": "direct path",
    "BUG222": "mean path",
    "BUG223": "variance path",
    "BUG224": "dx factor",
    "BUG225": "direct path",
    "BUG226": "mean path, variance path",
    "BUG227": "count m, mean path, variance path",
    "BUG228": "tail",
    "BUG229": "direct path, mean path, sum missing",
    "BUG230": "clipped",
    "BUG231": "tail",
    "BUG301": "dgamma, statistic swapped",
    "BUG302": "axis, dgamma",
    "BUG303": "dgamma, statistic swapped",
    "BUG304": "swapped results",
    "BUG305": "tail",
    "BUG306": "clipped",
    "BUG307": "tail",
    "BUG308": "dgamma, dbeta",
    "BUG311": "dgamma",
    "BUG401": "axis, dbeta",
    "BUG402": "dbeta, statistic swapped",
    "BUG405": "tail",
    "BUG406": "clipped",
    "BUG407": "tail",
    "BUG411": "dbeta",
    "BUG501": "",
}
# What words of the parameter are about.
WORDS = {
    r"\bstd\b|\bvar\b|inv_std|deviation": "std/power",
    r"\beps\b|sqrt\(var\)|1e-|sqrt\(var \+": "eps",
    r"\bgamma\b": "gamma",
    r"\bm\b|\bN\b|\bC\b|\bH W\b|N - 1|m - 1": "count m, mean for sum, sum missing, variance kind",
    r"without|left out|0 in": "tail",
    r"over |everything|all channels|per pixel": "axis",
    r"summed, and divided": "mean for sum, count m",
    r"over nothing": "sum missing",
    r"sign|-1|twice|half|^-": "sign",
    r"averaged": "mean for sum, count m",
    r"\bmu\b|\bx\b": "mean, statistic swapped",
}


def families(diagnosis) -> set[str]:
    """Return the families that a diagnosis speaks of: those of its code, and those of the words of its parameter."""
    found = {name for name in ABOUT[diagnosis.code].split(", ") if name}
    if re.search(r"dgamma is sum\(dy\),|dbeta is sum\(dy \* xhat\),", diagnosis.title):
        found.add("swapped results")
    # The words around the parameter are the same in all bugs of a code; where it has a title of its own, that is it.
    template = re.escape(BUGS.get(diagnosis.code).title).replace(re.escape("{}"), "(.*)")
    match = re.search(f"{template}$", diagnosis.title)
    said = " ".join(match.groups()) if match else diagnosis.title
    if diagnosis.code not in ("BUG131", "BUG113", "BUG112"):
        for pattern, about in WORDS.items():
            if re.search(pattern, said):
                found |= set(about.split(", "))
    return found


def answers(path: Path):
    """Return what the targets of a file answer on the cases that tell bugs apart, and the eps that they ignore.

    Also what they answer on failing cases, where no other shows what the header says to be wrong.
    """
    spec = TargetSpec(str(path))
    with quiet():
        targets = [resolve.target(spec, card.name) for card in resolve.cards(spec) if card.conventions is not None]
        return [(*answered(target), further(target, path)) for target in targets]


def further(target, path: Path):
    """Return what a target answers on failing cases of a sweep, as the pipeline asks it."""
    said = re.search("^# wrong: (.*)$", path.read_text(), re.M)
    seen = answered(target)[0]
    if not said or not hidden(seen, set(said.group(1).split(", ")) & set(TENSORS)):
        return []
    checks = selected(tuple(OF_TENSORS), ())
    results = [judge(target, case, checks)[0] for case in cases_for(target.conventions, Settings())]
    return answered_further(target, seen, further_of_tensors(OF_TENSORS, results))


def named(path: Path) -> list[str]:
    """Return the codes of all bugs that are named in a file, as if every check of what a layer remembers failed.

    That of the gradients in eval mode apart: most code has none there, and BN306 decides whether it has.
    """
    spec, found = TargetSpec(str(path)), []
    failing = sorted(CHECKED if "# caught: BN306" in path.read_text() else CHECKED - OF_EVAL_GRADIENTS)
    with quiet():
        for card in resolve.cards(spec):
            if card.conventions is not None:
                target = resolve.target(spec, card.name)
                seen, eps = answered(target)
                explained = explain(seen, ignored_eps=eps, further=further(target, path))
                found += [diagnosis.code for diagnosis, _ in explained if diagnosis.is_named]
                found += [d.code for d in diagnosed(target, "float64", failing, own_steps(explained)) if d.is_named]
    return found


def diagnoses(record, folder: Path | None = None):
    """Return what bncheck says of a frozen fault, by the file that it stands in; bugs with a name alone."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        # Each file has a name of its own: one process imports a name once.
        path = Path(place) / f"bn_{record.key}.py"
        path.write_text(materialise(record))
        return [d for seen, eps, _ in answers(path) for d in diagnose(seen, ignored_eps=eps) if d.is_named]


def judged(record, found) -> str:
    """Return "named" if every fault is named and nothing else is, "wrong" if something else is, "part", "unknown"."""
    labels = [{fault.label.family, *fault.label.also} for fault in record.faults]
    said = [families(diagnosis) for diagnosis in found]
    if not said:
        return "unknown"
    if any(not any(words & label for label in labels) for words in said):
        return "wrong"
    return "named" if all(any(words & label for words in said) for label in labels) else "part"
