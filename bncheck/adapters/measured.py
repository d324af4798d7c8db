"""From a reading that fits to a target: what its conventions are measured to be, and what is to be said of them."""

from __future__ import annotations

from bncheck.adapters.activations import without_activations
from bncheck.adapters.affine import note_of_absent
from bncheck.adapters.epsilon import Eps, default_eps_differs, find_eps
from bncheck.adapters.forward_only import NAME as FORWARD_ONLY
from bncheck.adapters.forward_only import note_of
from bncheck.adapters.given import usual_momentum
from bncheck.adapters.initial import find_initial
from bncheck.adapters.maps import maps_left_out
from bncheck.adapters.probe import Found
from bncheck.adapters.profiles import declared_statistics, misfit, profile_of
from bncheck.adapters.protocol import Candidate, Namespace
from bncheck.adapters.remarks import at_defaults, swapped, unswitched, unused
from bncheck.adapters.running import find_statistics
from bncheck.adapters.target import FoundTarget, Hints
from bncheck.adapters.unfound import unjudged
from bncheck.model import Conventions


def found_target(candidate: Candidate, name: str, found: Found, namespace: Namespace) -> FoundTarget:
    """Return the target that a candidate is, read in the way that was found, with the conventions that are measured."""
    declared = getattr(candidate, "declared", namespace.declared)
    fits, activations = without_activations(found.reading, found.fits, candidate.forward_name)
    first = next(iter(fits.values()))
    if declared.eps is None:
        eps = find_eps(found.reading, first.way)
    else:  # by the user, or by an adapter file or a program of its own
        eps = Eps("fixed" if namespace.declared.eps is None else "declared", declared.eps)
    usual = usual_momentum(namespace.things.get(candidate.forward_name.partition(".")[0]))
    kept = declared_statistics(find_statistics(found.reading, first.way, eps.value, usual), declared)
    alone = candidate.adapter == FORWARD_ONLY
    said = [note_of(candidate, namespace) if alone else None, note_of_absent(found.reading.absent, alone)]
    noted = [*said, *(f.note for f in fits.values()), swapped(first, declared), activations, eps.note, kept.note]
    unknown = unjudged(found.reading, first.way, eps.value, kept)
    noted += [unswitched(found.reading, kept.sense), unknown.note]
    if {2, 4} & found.fits.keys() == {2} and declared.layout is None and not getattr(found.reading, "layouts", ()):
        maps, said_of_maps = maps_left_out(found.reading, fits[2].way, declared.parameter_shape)
        fits = fits if maps is None else {**fits, 4: maps}
        noted.append(said_of_maps)
    dtype, said_of_dtype = _one_dtype(found, first.way.dtype)
    reading = kept.given or found.reading
    noted += [said_of_dtype, *unused(declared, reading), *namespace.notes, at_defaults(candidate, namespace, reading)]
    conventions = Conventions(
        adapter=candidate.adapter,
        layouts=tuple(fit.way.layout.name for fit in fits.values()),
        parameter_shape="none" if found.reading.absent >= {"gamma", "beta"} else first.parameter_shape,
        eps_source=eps.source,
        eps=eps.value,
        returns=next((fit.returns for fit in fits.values() if fit.returns), "unknown: backward raised"),
        notes=tuple(filter(None, noted)),
        momentum_sense=kept.sense,
        momentum=kept.kept,
        running_var=kept.var,
        running_start=kept.start,
        unjudged=unknown.statistics,
        updated_by=kept.by,
        profile=profile_of(kept, eps.value),
        misfit=misfit(kept, declared, getattr(candidate, "base", "")),
        mode_switch=found.reading.mode_switch,
        initial=find_initial(found.reading, first.way, eps.value),
        unread=getattr(candidate, "unread", ""),
        eps_untold=default_eps_differs(found.reading, first.way) if eps.source == "argument" else "",
        framework=found.reading.framework.name,
        dtype=dtype,
        forward_only=alone,
        usual_momentum=usual,
    )
    ways = {n: fit.way for n, fit in fits.items()}
    hints = Hints(declared.grad_scale == "mean", kept.places, alone)
    return FoundTarget(name, conventions, reading, ways, hints)


def _one_dtype(found: Found, tried: str) -> tuple[str, str]:
    """Return the one dtype that the code computes in, "" if it takes any, and what is to be said of that."""
    if dtype := getattr(found.reading.framework, "dtype", ""):
        return dtype, f"its tensors hold {dtype}, whatever they are made of: verified in {dtype}"
    if found.refused:
        return tried, f"it does not take float64 ({found.refused}): verified in {tried}"
    return "", ""
