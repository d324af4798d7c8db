"""The entrance of discovery: from a target's reference to its cards, and to a Target that can be run."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

from bncheck.adapters import adapter_file, exec_program
from bncheck.adapters.bases import note_of_base, only_bases
from bncheck.adapters.chosen import chosen, live
from bncheck.adapters.defined import defined
from bncheck.adapters.differentiable import NAME as DIFFERENTIATED
from bncheck.adapters.float32_only import examined
from bncheck.adapters.forward_only import NAME as FORWARD_ONLY
from bncheck.adapters.forward_only import confirm, half_done, standing_alone
from bncheck.adapters.inferring_classes import class_named
from bncheck.adapters.loading import load, parse
from bncheck.adapters.log import Log
from bncheck.adapters.measured import found_target
from bncheck.adapters.near_misses import nothing_found, something_else
from bncheck.adapters.neighbours import helpers, note_of_left, others
from bncheck.adapters.protocol import Candidate, Namespace
from bncheck.adapters.settling import refuse_unfound
from bncheck.adapters.target import FoundTarget
from bncheck.adapters.trials import score_of
from bncheck.adapters.unreturned import missing_return
from bncheck.adapters.words import Kind
from bncheck.errors import BackwardStubError, BrokenCodeError, StubError, TargetError
from bncheck.model import Declared, TargetCard, TargetSpec
from bncheck.registry import did_you_mean
from bncheck.session import Target

_cache: dict[tuple[TargetSpec, int], list[Entry]] = {}


@dataclass(frozen=True)
class Entry:
    """One candidate after it was tried: a target, or the reason why there is none.

    `score` says how much speaks for it (below 0: it cannot be run), `sure` that its name reads as batch norm. `half` is
    the forward that runs of what has a stub for a backward, if it can be verified alone.
    """

    name: str
    target: FoundTarget | None = None
    stub: str | None = None
    error: TargetError | None = None
    trace: tuple[str, ...] = ()
    sure: bool = False
    score: int = -1
    half: Candidate | None = None


def load_source(spec: TargetSpec) -> None:
    """Import what a reference names and call nothing in it; raise TargetError if it cannot be imported."""
    _namespace(spec)


def cards(spec: TargetSpec) -> list[TargetCard]:
    """Return one card for every Batch Normalization that a reference names.

    A card with neither conventions nor a stub text belongs to code that reads as Batch Normalization but could not be
    run: :func:`target` raises the reason.

    Raises
    ------
    TargetError
        If it cannot be loaded, or nothing in it can be run; the message says what to do.
    StubError
        If all that it names is not written yet.

    """
    entries = _entries(spec)
    if not any(entry.target for entry in entries):
        raise _nothing(entries, spec)
    return [_card(entry, spec) for entry in entries]


def _card(entry: Entry, spec: TargetSpec) -> TargetCard:
    namespace, name = _namespace(spec), entry.name
    # A live object is the only thing there, whatever it is called.
    things = {name: spec.live[0]} if spec.live else namespace.things
    line = defined(things, name if spec.live else name.removeprefix(namespace.label), spec.source)
    conventions = entry.target.conventions if entry.target else None
    return TargetCard(name, conventions, entry.stub, entry.trace, line)


def target(spec: TargetSpec, name: str) -> Target:
    """Return the target of the card of that name.

    Raises
    ------
    TargetError
        If there is no such card, or it belongs to code that could not be run.
    StubError
        If it is not written yet.

    """
    entries = {entry.name: entry for entry in _entries(spec)}
    if name not in entries:
        raise TargetError(f"{spec.source} has no target {name!r}. {did_you_mean(name, entries)}")
    entry = entries[name]
    if entry.target is None:
        raise entry.error or StubError(f"{name}: {entry.stub}")
    return entry.target


def _nothing(entries: list[Entry], spec: TargetSpec) -> TargetError:
    """Return the one error for a reference of which nothing can be run."""
    trace = tuple(line for entry in entries for line in entry.trace)
    errors = [entry.error for entry in entries if entry.error]
    if errors:
        is_open = not (_name_in(spec) or spec.live or spec.program or spec.declared.adapter_file)
        reasons = [str(e.error) for e in entries] if is_open and not any(e.sure or e.half for e in entries) else []
        other = something_else(_namespace(spec), spec.source, reasons, trace)
        return other or TargetError(str(errors[0]), trace)
    label = _namespace(spec).label
    said = f"{entries[0].name}: {entries[0].stub}"
    if len(entries) > 1:
        lines = [_exercise(entry.name.removeprefix(label), entry.stub or "") for entry in entries]
        said = f"{len(entries)} exercises are {_UNWRITTEN.rstrip()}\n" + ";\n".join(lines)
    alone = next((entry.half.forward_name for entry in entries if entry.half is not None), "")
    if alone:
        place = parse(spec.source)
        command = shlex.join(["bncheck", "verify", f"{place.place}{'::' if place.is_file else ':'}{alone}"])
        joint = ".\nThe" if len(entries) > 1 else "; the"
        said += f"{joint} forward alone is verified where it is named:\n  {command}"
    return StubError(said, trace)


def _exercise(name: str, stub: str) -> str:
    """Return a line of a list of exercises: what is missing, and of what if that is not said by it."""
    missing = stub.removeprefix(_UNWRITTEN)
    return f"  {missing}" if missing.startswith(f"{name} ") else f"  {name}: {missing}"


# What the text of a stub begins with.
_UNWRITTEN = "not implemented yet: "


def _entries(spec: TargetSpec) -> list[Entry]:
    """Try every candidate of a reference, once per process."""
    namespace = _namespace(spec)
    key = (spec, id(namespace.module))
    # A module is loaded anew when its file changes; a program or an adapter file may change behind its name.
    lasting = not (spec.live or spec.program or spec.declared.adapter_file)
    if lasting and key in _cache:
        return _cache[key]
    candidates = _candidates(spec, namespace)
    if spec.live or _name_in(spec):
        entries = _tried(candidates, namespace, spec.declared)
    else:
        entries = _without_others(candidates, namespace, spec.declared)
        entries = _without_bases(_without_inferring(entries, namespace), namespace)
    if not (spec.live or spec.program or spec.declared.adapter_file):
        entries = _with_forwards_alone(candidates, entries, namespace, _name_in(spec))
    # A program is named, and not found. Where nothing was tried that is worth telling, this is not either.
    listed = tuple(f"candidate {c.name}: {c.adapter}, reads as {c.kind.value}" for c in candidates if not spec.program)
    if any(entry.trace for entry in entries):
        entries[0] = replace(entries[0], trace=listed + entries[0].trace)
    refuse_unfound(spec.declared.mode_switch or "", [e.target.conventions.mode_switch for e in entries if e.target])
    if lasting:
        _cache[key] = entries
    return entries


def _tried(candidates: list[Candidate], namespace: Namespace, declared: Declared) -> list[Entry]:
    """Try candidates; what is not surely batch norm and does not run is something else, while something is left."""
    tried = [_best([_examined(c, namespace, declared) for c in group]) for group in _by_name(candidates)]
    return [entry for entry in tried if entry.sure or not entry.error] or tried


def _without_others(candidates: list[Candidate], namespace: Namespace, declared: Declared) -> list[Entry]:
    """Try candidates but other operators, as long as one of the rest can be run; leave out what that one calls."""
    left = others(candidates, namespace)
    rest = [c for c in candidates if c.name not in left]
    entries = _tried(rest, namespace, declared) if rest else []
    if not any(entry.target for entry in entries):
        rest, left, entries = candidates, {}, _tried(candidates, namespace, declared) if left else entries
    ran = {entry.name for entry in entries if entry.target}
    bound = [c for c in rest if namespace.label + c.name in ran]
    # A stub is to be written, and a backward without its return to be finished, whoever calls the forward.
    failed = {entry.name for entry in entries if entry.error and entry.half is None}
    left |= helpers([c for c in rest if namespace.label + c.name in failed], bound, namespace)
    entries = [entry for entry in entries if entry.name.removeprefix(namespace.label) not in left]
    first = next((entry for entry in entries if entry.target), None)
    used = {class_named(entry.target.conventions.mode_switch) for entry in entries if entry.target}
    left = {name: why for name, why in left.items() if name not in used}
    if first is None or first.target is None or not left:
        return entries
    said = note_of_left(left, namespace.label)
    first.target.note([said])
    return [replace(entry, trace=(said, *entry.trace)) if entry is first else entry for entry in entries]


def _without_inferring(entries: list[Entry], namespace: Namespace) -> list[Entry]:
    """Leave out classes that are the eval mode of another one: they are verified with it."""
    used = {class_named(entry.target.conventions.mode_switch) for entry in entries if entry.target}
    return [entry for entry in entries if entry.name.removeprefix(namespace.label) not in used]


def _without_bases(entries: list[Entry], namespace: Namespace) -> list[Entry]:
    """Leave out classes that are only there to be derived from, where what derives can be run; a note says so."""
    names = {entry.name: entry.name.removeprefix(namespace.label) for entry in entries}
    failed = [names[entry.name] for entry in entries if entry.target is None]
    bases = only_bases(failed, [names[entry.name] for entry in entries if entry.target], namespace.things)
    for entry in entries:
        said = [note_of_base(base, derived) for base, derived in bases.items() if names[entry.name] in derived]
        if entry.target is not None:
            entry.target.note(said)
    return [entry for entry in entries if names[entry.name] not in bases]


def _with_forwards_alone(
    candidates: list[Candidate], entries: list[Entry], namespace: Namespace, name: str
) -> list[Entry]:
    """Return the entries, or those of forwards without a backward where all others turned out to be something else.

    So does a function that a library was to differentiate that is there, and that the function itself does not use; and
    the forward that was asked for by its name, where it is its backward that is not written yet.
    """
    if any(entry.target for entry in entries):
        return entries
    halves = [entry.half for entry in entries if entry.half is not None and name == entry.half.forward_name]
    if halves:
        tried = _tried(halves, namespace, namespace.declared)
        return tried if any(entry.target for entry in tried) else entries
    if any(entry.stub for entry in entries):
        return entries
    if all(c.adapter == FORWARD_ONLY for c in candidates):
        if name or any(entry.sure for entry in entries):
            return entries
        nothing = nothing_found(namespace, [])
        raise TargetError(str(nothing), (*(line for entry in entries for line in entry.trace), *nothing.trace))
    claimed = {part for c in candidates if c.adapter != DIFFERENTIATED for part in (*c.aliases, c.name.split(".")[0])}
    try:
        alone = standing_alone(namespace, name, claimed)
    except TargetError:
        if any(_is_sure(c) for c in candidates):
            return entries
        raise
    names = {c.name for c in alone}
    if any(_is_sure(c) and not (c.adapter == DIFFERENTIATED and c.name in names) for c in candidates):
        return entries
    trying = _tried if name else _without_others
    tried = trying(alone, namespace, namespace.declared) if alone else []
    return tried if any(entry.target or entry.stub for entry in tried) else entries


def _is_sure(candidate: Candidate) -> bool:
    return candidate.kind is Kind.BN and not candidate.composite


def _by_name(candidates: list[Candidate]) -> list[list[Candidate]]:
    """Return the candidates of one name together: several adapters may claim a thing, and trying has to tell."""
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.name, []).append(candidate)
    return list(groups.values())


def _best(entries: list[Entry]) -> Entry:
    """Return the entry that fits best, with the traces of all."""
    best = max(entries, key=lambda entry: entry.score)  # the first of equals
    return replace(best, trace=tuple(line for entry in entries for line in entry.trace))


def _namespace(spec: TargetSpec) -> Namespace:
    """Load what a reference names; there is nothing to load for live objects, and for programs."""
    if spec.live or spec.program:
        things = {getattr(thing, "__name__", str(place)): thing for place, thing in enumerate(spec.live)}
        return Namespace("", things, declared=spec.declared)
    return replace(load(parse(spec.source), spec.declared.stand_ins), declared=spec.declared)


def _candidates(spec: TargetSpec, namespace: Namespace) -> list[Candidate]:
    declared = spec.declared
    if spec.program:
        return [exec_program.candidate(spec.source, declared)]
    if declared.adapter_file:
        return [adapter_file.candidate(declared.adapter_file, namespace, _name_in(spec), declared)]
    return [live(spec)] if spec.live else chosen(namespace, parse(spec.source))


def _name_in(spec: TargetSpec) -> str:
    return "" if spec.live else parse(spec.source).name


def _examined(candidate: Candidate, namespace: Namespace, declared: Declared) -> Entry:
    name = namespace.label + candidate.name
    declared = getattr(candidate, "declared", declared)  # what an adapter file or a program says itself
    log = Log([f"{name} as {candidate.adapter}"])
    sure = _is_sure(candidate)
    try:
        found = examined(candidate, declared, log)
        if candidate.adapter == FORWARD_ONLY:
            confirm(candidate, found, declared)
    except StubError as error:
        return _unwritten(candidate, namespace, error, tuple(log.lines))
    except TargetError as error:
        text = str(error)
        told = error.trace  # where nothing was tried
        trace = log.lines if len(log.lines) > 1 else [*log.lines, *told] if told else []
        trace = [] if isinstance(error, BrokenCodeError) else trace
        error = TargetError(text if text.startswith(name) else f"{name}: {text}")
        return Entry(name, error=error, trace=tuple(trace), sure=sure, score=-2)
    target = found_target(candidate, name, found, namespace)
    return Entry(name, target=target, trace=tuple(log.lines), sure=sure, score=score_of(found))


def _unwritten(candidate: Candidate, namespace: Namespace, error: StubError, trace: tuple[str, ...]) -> Entry:
    """Return the entry of code that does not come back with anything: a stub, unless it computes something."""
    name, sure = namespace.label + candidate.name, _is_sure(candidate)
    of_backward = isinstance(error, BackwardStubError)
    function = candidate.backward_name if of_backward else candidate.forward_name
    place = missing_return(namespace, candidate, function)
    what = f"{function} returns None: is a return missing at its end ({place})?"
    half = None
    if isinstance(error, BackwardStubError):
        why = f"{function} {f'lacks a return ({place})' if place else f'is not written yet (it {error.what})'}"
        half = half_done(namespace, candidate.forward_name, why)
    if place:
        return Entry(name, error=TargetError(f"{name}: {what}"), sure=sure, score=-2, half=half)
    return Entry(name, stub=str(error), trace=trace, sure=sure, half=half)
