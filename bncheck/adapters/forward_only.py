"""Forwards without a backward: a function or a class that offers nothing to differentiate with.

They are targets where a file offers none with a backward, or where they are asked for by name. What the shapes of
gradients say of other code has to be seen in y: code whose name does not say batch norm has to behave like it, every
channel of y following all values of that channel of x and no others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any

from bncheck.adapters.affine import names_in
from bncheck.adapters.frameworks import NUMPY, spoken_by
from bncheck.adapters.function_pair import (
    FunctionPair,
    FunctionReading,
    is_function,
    no_backward,
)
from bncheck.adapters.global_flags import global_switches
from bncheck.adapters.inference import Inference, beside, keeps_statistics
from bncheck.adapters.layer_class import LIKE_FORWARD, LayerClass, takes, unbound
from bncheck.adapters.layouts import layout
from bncheck.adapters.option_keys import dict_keys, record_keys
from bncheck.adapters.plans import Plan, arguments
from bncheck.adapters.probe import FULL, PROBES, Found, RaisedError, Trial, attempt
from bncheck.adapters.protocol import ADAPTERS, ArityError, Candidate, Namespace, Reading
from bncheck.adapters.results import cache_names, returned_names
from bncheck.adapters.runs import Calling
from bncheck.adapters.signatures import refused
from bncheck.adapters.stems import NO_TRAINING, match
from bncheck.adapters.target import Way
from bncheck.adapters.torch_parts import torch_base
from bncheck.adapters.trials import score_of
from bncheck.adapters.unbound import takes_upstream, unbound_backward
from bncheck.adapters.words import Kind, Role, argument_role, clarity, composite, kind, stem, words
from bncheck.errors import TargetError
from bncheck.model import Declared

NAME = "forward-only"
NOTE = "forward only: no backward was found; gradients were not verified"
# A function whose name has one of these words examines a Batch Normalization, makes one, or only applies one.
_NO_FORWARD = NO_TRAINING | frozenset("tests compare demo main plot fit make build create get init".split())
_AFFINE = frozenset({Role.GAMMA, Role.BETA})
_CLEAR = 3  # how clearly "gamma" says what it is, unlike "weight"


class ForwardFunction(FunctionPair):
    """A function that may be the forward of a Batch Normalization, and has no backward."""

    adapter = NAME
    unwritten = ""  # what its backward does, if that is a stub

    def __init__(
        self, name: str, function: Callable[..., Any], declared: Declared, inference: Inference | None = None
    ) -> None:
        super().__init__(name, function, no_backward, (name, ""), declared, inference)
        self.aliases = frozenset({name})
        self._frameworks = [NUMPY]

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of calling the function, most likely first."""
        function = self._forward
        try:
            forwards = self._forward_plans()
        except ArityError:
            expected = f"a forward like {self.name}(x, gamma, beta, eps), with a place for x, gamma and beta"
            raise refused(self.name, function, expected) from None
        returned, held = returned_names(function) or (), tuple(cache_names(function))
        switches = tuple(global_switches(function))
        for plan in [*forwards, *self._with_statistics()]:
            inference = self._inference if keeps_statistics(plan, returned) else None
            for keys in dict_keys(function, plan) if "params" in plan.keys else [()]:
                calling = Calling(
                    plan, Plan(), dict_keys=keys, returned=returned, switches=switches, inference=inference,
                    held=held, record=bool(record_keys(function, plan)),
                )  # fmt: skip
                yield FunctionReading(function, no_backward, calling)


class ForwardLayer(LayerClass):
    """A class that may be a Batch Normalization layer, and has no backward."""

    adapter = NAME
    pulls = False
    unwritten = ""

    def __init__(self, name: str, cls: type, method: str, declared: Declared) -> None:
        super().__init__(name, cls, (method, ""), declared)
        self.aliases = frozenset({name, self.forward_name})
        self._frameworks = [NUMPY]


def standing_alone(namespace: Namespace, name: str = "", claimed: Collection[str] = ()) -> list[Candidate]:
    """Return the forwards without a backward: those of a name, or all that read as batch norm, or the only one.

    What is `claimed` has a backward.

    Raises
    ------
    TargetError
        If no name was asked for, and something beside a forward reads as its backward.

    """
    found: list[Candidate] = []
    for thing in namespace.things:
        found += _candidates(thing, namespace) if thing not in claimed else ()
    if name:
        return [candidate for candidate in found if name in candidate.aliases]
    sure = [c for c in found if c.kind is Kind.BN and not c.composite]
    like = [c for c in found if c.kind is Kind.UNKNOWN and _has_affine(namespace.things[c.name])]
    chosen = sure or (like if len(like) == 1 else [])
    for candidate in chosen:
        if said := _suspicion(candidate, namespace):
            raise TargetError(
                f"{namespace.label}{candidate.name} reads as a forward of batch normalization, and no backward was "
                f"bound to it; but {said}. A backward is found by its name (batchnorm_forward, batchnorm_backward). To "
                f"verify the forward alone, name it: {namespace.label}{candidate.name}."
            )
    return chosen


def half_done(namespace: Namespace, name: str, unwritten: str) -> Candidate | None:
    """Return the forward of that name alone, whose backward is `unwritten`; None if it cannot be verified alone."""
    if not namespace.label:
        return None  # live objects have no place to name
    found = [candidate for thing in namespace.things for candidate in _candidates(thing, namespace)]
    half = next((candidate for candidate in found if candidate.forward_name == name), None)
    if half is not None:
        # By this name it is found again, in a replay; by that of a class, both halves are.
        half.name, half.unwritten = name, unwritten
    return half


def note_of(candidate: Candidate, namespace: Namespace) -> str:
    """Return what a report says first about such a candidate: that gradients were not verified, and why."""
    if unwritten := getattr(candidate, "unwritten", ""):
        return NOTE.replace("no backward was found", unwritten)
    said = _suspicion(candidate, namespace)
    return NOTE.replace("no backward was found", f"{said}, and was not bound") if said else NOTE


def confirm(candidate: Candidate, found: Found, declared: Declared) -> None:
    """Raise TargetError for a forward that neither its name nor what it does shows to be a Batch Normalization."""
    fit, name = next(iter(found.fits.values())), candidate.forward_name
    bare = found.reading.absent >= {"gamma", "beta"}
    if "y" not in fit.holds:
        raise TargetError(f"{name} does not return an array of the shape of x: is it batch norm?")
    if bare and candidate.kind is not Kind.BN and declared.kind != NAME:
        raise TargetError(
            f"{name} has neither gamma nor beta, and no name that says batch norm: it may standardise anything. "
            f"--as {NAME} verifies it as batch norm all the same."
        )
    named = candidate.kind is Kind.BN and (not bare or _says_batch_norm(name))
    if not named and score_of(found) != FULL:
        raise TargetError(
            f"{name} does not behave like batch norm, of which each channel of y follows all values of the same "
            "channel of x and no others: is it another normalization?"
        )
    if fit.way.layout.name == "CN" and declared.layout is None and _takes_rows(found, fit.way.dtype):
        raise TargetError(
            f"{name} normalizes along the second axis: it is right for data of the layout CN, and for NC it is a layer "
            "norm. No backward tells which is meant: say it with --layout CN or --layout NC."
        )


def _takes_rows(found: Found, dtype: str) -> bool:
    """Tell whether a forward for (C, N) data runs on (N, C) data too, with gamma and beta along the last axis."""
    trial = Trial(found.reading, Way(layout("NC"), None, dtype), PROBES[2][0], 0)
    try:
        fit = attempt(trial, frozenset())
    except RaisedError:
        return False
    return fit is not None and "y" in fit.holds and (bool(found.reading.absent) or fit.holds >= {"gamma", "beta"})


def _says_batch_norm(name: str) -> bool:
    """Tell whether a name says batch norm as one word: "normalize_batch" may mean any normalization of a batch."""
    return any("bn" in stem(part).words for part in name.split("."))


def _suspicion(candidate: Candidate, namespace: Namespace) -> str:
    functions = {name: thing for name, thing in namespace.things.items() if is_function(thing)}
    bound = {name for pair in match(functions) for name in pair[:2]}
    return unbound_backward(namespace, candidate.name, {candidate.forward_name.rpartition(".")[2], *bound})


def _candidates(name: str, namespace: Namespace) -> Iterator[ForwardFunction | ForwardLayer]:
    """Yield the forward that a thing is or has, if it is written for NumPy's arrays."""
    thing = namespace.things[name]
    if spoken_by((thing,), namespace.declared.device)[0] is not NUMPY:
        return
    if inspect.isclass(thing):
        method = _forward_of(thing)
        if method:
            yield ForwardLayer(name, thing, method, namespace.declared)
    elif is_function(thing) and stem(name).direction != "backward" and not set(words(name)) & _NO_FORWARD:
        if takes_upstream(thing):
            return
        functions = {n: t for n, t in namespace.things.items() if is_function(t)}
        yield ForwardFunction(name, thing, namespace.declared, beside(name, functions))


def _forward_of(cls: type) -> str:
    """Return the method of a class that reads as its forward, "" if none does."""
    if torch_base(cls, "Module") or torch_base(cls, "Function"):
        return ""
    names = dict.fromkeys(n for base in cls.__mro__[:-1] for n in vars(base) if not n.startswith("_"))
    methods = [n for n in names if inspect.isroutine(getattr(cls, n, None)) and takes(unbound(cls, n))]
    methods = [name for name in methods if not set(words(name)) & NO_TRAINING]
    forwards = [name for name in methods if stem(name).direction == "forward"]
    ranked = [
        *(name for name in forwards if kind(name) is Kind.BN),
        *forwards,
        *(name for name in methods if kind(name) is Kind.BN and stem(name).direction != "backward"),
        *(["__call__"] if any("__call__" in vars(base) for base in cls.__mro__[:-1]) else []),
        *(name for name in methods if set(words(name)) & LIKE_FORWARD),
    ]
    taking = [name for name in methods if stem(name).direction != "backward" and _takes_data(cls, name)]
    ranked = ranked or (taking if len(taking) == 1 else [])
    # The call may hand on what it is given to another one, which says how it is told training from inference.
    told = [name for name in ranked if any(a.role is Role.MODE for a in arguments(unbound(cls, name)) or ())]
    return next(iter((*told, *ranked)), "")


def _takes_data(cls: type, name: str) -> bool:
    return any(a.role is Role.X and a.required for a in arguments(unbound(cls, name)) or ())


def _has_affine(thing: Any) -> bool:
    """Tell whether a function takes gamma and beta by those names, or a class speaks of them."""
    names = (
        (name for name, _ in names_in((thing,))) if inspect.isclass(thing) else (a.name for a in arguments(thing) or ())
    )
    clear = {argument_role(name) for name in names if clarity(name) >= _CLEAR}
    return clear >= _AFFINE and not composite(getattr(thing, "__name__", ""))


class _ForwardsAlone:
    """Finds forwards without a backward; discovery asks for them last, see :func:`standing_alone`."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return nothing unless this adapter is the one that was asked for: what has a backward comes first."""
        return standing_alone(namespace) if namespace.declared.kind == NAME else []

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return nothing: who hands over a function has its backward at hand, too."""
        return None


ADAPTERS.add(NAME, _ForwardsAlone())
