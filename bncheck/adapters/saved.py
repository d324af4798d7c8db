"""Batch statistics that a forward returns beside y under names that say so, as raw operators do for their backward.

``return y, save_mean, save_inv_std``, or a dict or named tuple of such results. What lies in a cache is the code's own
affair; and a name that the forward takes as an argument stands for what the caller keeps, a running statistic perhaps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from bncheck.adapters.results import Names
from bncheck.adapters.words import words
from bncheck.session import SavedStatistic

if TYPE_CHECKING:
    from bncheck.adapters.runs import Calling

# Words that say whose statistic it is; those in the first set say that it is surely this batch's.
_OF_THIS_BATCH = frozenset("save saved batch minibatch mini sample cached current".split())
_NEUTRAL = _OF_THIS_BATCH | frozenset("x b in input inputs channel per the of bn eps plus".split())
_DEVIATION, _VARIANCE = "(?:std|stds|stddev|stdev|standarddeviation|sqrtvar|sqrtvariance)", "(?:vars?|variances?)"
_SPREAD = f"(?:{_DEVIATION}|{_VARIANCE}|sigma2?)"
_INVERSE = "(?:i|r|inv|inverse|recip|reciprocal|rsqrt|isqrt|invsqrt)"
# A sigma is either in the wild, and "saved variance" is 1 / std in some libraries: those say no more than "spread".
_KINDS = (
    ("mean", re.compile("x?means?|mu|average|avg")),
    ("inverse", re.compile(f"{_INVERSE}{_SPREAD}|{_SPREAD}inv(?:erse)?")),
    ("std", re.compile(_DEVIATION)),
    ("spread", re.compile(f"{_VARIANCE}|xvar|sigma|sigma2|sigmasq|sigmasquared?")),
)


@cache
def said_of(name: str) -> tuple[str, bool] | None:
    """Return which statistic of a batch a name reads as, and whether it is surely meant; None of any other name."""
    found = words(name)
    joined = "".join(word for word in found if word not in _NEUTRAL)
    kind = next((kind for kind, pattern in _KINDS if pattern.fullmatch(joined)), None)
    return None if kind is None else (kind, kind == "inverse" or bool(_OF_THIS_BATCH & set(found)))


def saved_among(out: Any, place: int, calling: Calling) -> list[SavedStatistic]:
    """Return the batch statistics among what a forward returned, with y at `place`; called by `calling`."""
    given = {name for name, _ in calling.forward.bound}
    found: list[SavedStatistic] = []
    for name, value in _named(out, place, calling.returned):
        said = said_of(name) if name not in given else None
        if said is not None and value is not None:
            found.append(SavedStatistic(name, *said, calling.framework.take(value)))
    return found


def _named(out: Any, place: int, names: Names) -> Iterator[tuple[str, Any]]:
    """Yield what was returned beside y, as far as it has a name."""
    if isinstance(out, Mapping):
        yield from ((name, value) for name, value in out.items() if isinstance(name, str))
    elif isinstance(out, tuple | list):
        names = getattr(out, "_fields", names)
        if len(names) == len(out):
            yield from ((name, out[i]) for i, name in enumerate(names) if name and i != place)
