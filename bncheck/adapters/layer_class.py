"""Adapter for a class with a forward and a backward method; gradients are returned, or kept as attributes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import product
from types import MethodType
from typing import Any

from bncheck.adapters.affine import gradient_in, mentioned
from bncheck.adapters.backward_plans import backward_plans
from bncheck.adapters.construction import Maker
from bncheck.adapters.constructor_plans import constructor_per_call, constructor_plans
from bncheck.adapters.contexts import takes_context
from bncheck.adapters.frameworks import spoken_by
from bncheck.adapters.function_pair import cache_choices
from bncheck.adapters.global_flags import global_switches
from bncheck.adapters.inference import among
from bncheck.adapters.layer_reading import LayerReading
from bncheck.adapters.meant import without_factor
from bncheck.adapters.mode_values import spoken_words
from bncheck.adapters.option_keys import dict_keys
from bncheck.adapters.plans import Argument, Plan, arguments, forward_plans
from bncheck.adapters.protocol import (
    ADAPTERS,
    ArityError,
    Candidate,
    Namespace,
    Reading,
)
from bncheck.adapters.results import declared_order, gradient_order, returned_names
from bncheck.adapters.runs import Calling
from bncheck.adapters.signatures import refused
from bncheck.adapters.sources import only_keeps
from bncheck.adapters.stems import NO_TRAINING, Match, match
from bncheck.adapters.torch_parts import own_bases, torch_base
from bncheck.adapters.unread import unread_momentum
from bncheck.adapters.words import (
    STATISTICS,
    Kind,
    Role,
    argument_role,
    aside,
    clears_gradients,
    composite,
    kind,
    stem,
    upstream_named,
    words,
)
from bncheck.model import Declared

NAME = "layer-class"
# Methods that only mention gradients ("zero_grad") are no backward where one of these is there.
_BACKWARD = frozenset("backward backwards bwd bprop backprop backpropagation backpropagate".split())
# Words of methods where none says forward or backward.
LIKE_FORWARD = frozenset(
    "call compute feed apply transform normalize normalise classify output activate run evaluate process".split()
)
LIKE_BACKWARD = frozenset("learn delta deltas differentiate derive error errors propagate diff d".split())
_NO_FORWARD = frozenset(
    "set get init initialize build update step save load zero reset clear train eval test params parameters state "
    "setup summary plot print to add".split()
)
_SAVING = frozenset("save store stash remember".split())  # "save_for_backward"
_UNTOLD = Argument("", None, required=True, keyword_only=False, positional_only=False, default=None)


class LayerClass:
    """A class that may be a Batch Normalization layer; without a name for its backward its forward returns one."""

    adapter = NAME
    pulls = True  # where no backward has a name

    def __init__(self, name: str, cls: type, names: tuple[str, str], declared: Declared) -> None:
        self.name = name
        self.forward_name = f"{cls.__name__}.{names[0]}"
        self.backward_name = f"{cls.__name__}.{names[1]}" if names[1] else "the backward that it returns"
        self.aliases = frozenset({name, cls.__name__, self.forward_name, self.backward_name})
        self.kind = _kind_of(cls, names)
        self.composite = composite(cls.__name__) and kind(names[0]) is not Kind.BN
        self._cls, self._names, self._declared = cls, names, declared
        self._frameworks = spoken_by((cls,), declared.device)
        self._declared_order = declared_order(declared)

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return mentioned(self._cls) if kind(self._cls.__name__) is Kind.BN else mentioned(*self._methods)

    @property
    def unread(self) -> str:
        """A momentum that the constructor or the forward takes, and nothing reads."""
        return unread_momentum(self._cls) or unread_momentum(self._methods[0])

    @property
    def _methods(self) -> tuple[Any, Any]:
        forward, backward = self._names
        return unbound(self._cls, forward), unbound(self._cls, backward or forward)

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of constructing and calling the layer, most likely first."""
        forward, backward = self._methods
        returned = returned_names(forward)
        forwards, backwards = self._plans(forward, backward, returned)
        per_call = constructor_per_call(self._cls, forwards[0])
        constructors = self._constructors() if per_call is None else [(per_call, False)]
        order = self._declared_order or gradient_order(backward)
        switches = tuple(global_switches(self._cls))
        inference = among(self._cls, dir(self._cls), self._names[0])
        for framework, (constructor, optimizer), forward_plan in product(self._frameworks, constructors, forwards):
            for keys in dict_keys(forward, forward_plan) if "params" in forward_plan.keys else [()]:
                given = (constructor.keys if constructor else frozenset()) | forward_plan.keys | {k for _, k in keys}
                maker = Maker(
                    self._cls,
                    constructor,
                    eps_given="eps" in given,
                    mode=self._declared.mode_switch,
                    optimizer=optimizer,
                )
                making = constructor.spelled(self._cls.__name__) if constructor else f"a bare {self._cls.__name__}"
                hows = ("given",) if "gamma" in given else ("set", "in place")
                for how, backward_plan in product(hows, backwards):
                    for cache, place in cache_choices(returned, "cache" in backward_plan.keys):
                        calling = Calling(
                            forward_plan,
                            backward_plan,
                            order,
                            cache,
                            place,
                            keys,
                            returned or (),
                            framework,
                            pulls=self.pulls and not self._names[1],
                            switches=switches,
                            inference=inference,
                        )
                        yield LayerReading(maker, self._names, making, calling, how)

    def _constructors(self) -> list[tuple[Plan | None, bool]]:
        """Return the plans for the constructor, and whether they give optimizers that may be left out.

        An object may be made without its constructor where that wants what nothing is known about.
        """
        found: list[tuple[Plan | None, bool]] = []
        try:
            found += [(plan, False) for plan in constructor_plans(self._cls, data=self._for_one_batch)]
            if self._for_one_batch:
                return found
            if any(aside(word) == "optimizer" for word in spoken_words(self._cls)):
                found += [(plan, True) for plan in constructor_plans(self._cls, optimizer=True)]
        except ArityError:
            cls = self._cls.__name__
            if kind(cls) is Kind.BN:
                expected = f"something like {cls}(num_features, eps, momentum) or {cls}(gamma, beta, eps)"
                raise refused(cls, self._cls, expected) from None
        methods = kind(self._cls.__name__) is not Kind.BN  # methods inside a larger class may need nothing of it
        return [*found, (None, False)] if methods or not found else found

    @property
    def _for_one_batch(self) -> bool:
        """Whether a layer is made anew for each batch: its constructor takes x, and its forward nothing."""
        taken = arguments(self._cls) or []
        return arguments(self._methods[0]) == [] and any(a.role is Role.X and a.required for a in taken)

    def _plans(self, forward: Any, backward: Any, returned: Any) -> tuple[list[Plan], list[Plan]]:
        """Return the plans for forward and backward, or raise ArityError that says what was expected."""
        plans = (
            iter([Plan()]) if self._for_one_batch else forward_plans(forward, own=True, mode=self._declared.mode_switch)
        )
        forwards = _listed(plans, self.forward_name, forward, f"{self.forward_name}(x)")
        optional = {a.name for a in arguments(forward) or () if not a.required}
        forwards += [less for plan in forwards for less in without_factor(plan, optional)]
        if not self._names[1]:
            return forwards, [Plan()]
        plans = backward_plans(backward, forward, returned)
        return forwards, _listed(plans, self.backward_name, backward, f"{self.backward_name}(dout)")


def _listed(plans: Iterator[Plan], name: str, called: Any, expected: str) -> list[Plan]:
    """Return the plans, or raise ArityError that says which signature was found and what was expected."""
    try:
        return list(plans)
    except ArityError:
        raise refused(name, called, f"something like {expected}") from None


def _kind_of(cls: type, names: tuple[str, str]) -> Kind:
    """Return what a class reads as, or failing that its methods: ``class Net: def bn_forward(self, ...)``."""
    read = kind(cls.__name__, cls.__dict__.get("__doc__") or "")
    return kind(names[0]) if read is Kind.UNKNOWN else read


def unbound(cls: type, name: str) -> Any:
    """Return a method whose signature has no self, without constructing a layer."""
    static = inspect.getattr_static(cls, name)
    return MethodType(static, object()) if inspect.isfunction(static) else getattr(cls, name)


def method_pairs(cls: type) -> list[tuple[str, tuple[str, str]]]:
    """Return (name, (forward, backward)) of every pair of methods; the plain pair is called after the class."""
    if torch_base(cls, "Function") or takes_context(cls):
        return []  # who calls its forward and backward hands them their context
    names: dict[str, None] = {}
    for base in reversed(own_bases(cls)):  # torch's own modules have hooks that read as forward and backward
        public = (n for n in vars(base) if not n.startswith("_") or _is_batch_norm(n))
        names.update(dict.fromkeys(n for n in public if callable(getattr(cls, n, None))))
    names = {name: None for name in names if not set(words(name)[:1]) & _SAVING}
    strong = [name for name in names if set(words(name)) & _BACKWARD]
    # What only keeps arrays for a backward is none: ``save_for_backward``. Alone it may be one that is not written yet.
    keeping = [name for name in strong if only_keeps(inspect.getattr_static(cls, name))]
    if len(keeping) < len(strong):
        strong = [name for name in strong if name not in keeping]
        names = {name: None for name in names if name not in keeping}
    weak = [n for n in names if {"grad", "grads", "gradient", "gradients"} & set(words(n)) and n not in strong]
    methods = [name for name in names if not clears_gradients(name) and not (strong and name in weak)]
    pairs = match(methods)
    if not pairs and not torch_base(cls, "Module"):
        pairs = _unusual(cls, methods)
    return [(cls.__name__ if p.primary else f"{cls.__name__}.{p.backward}", p[:2]) for p in pairs]


def _is_batch_norm(name: str) -> bool:
    """Tell whether a private method reads as one of a Batch Normalization: ``_batchnorm_forward`` of a network."""
    return not name.startswith("__") and kind(name) is Kind.BN


def _unusual(cls: type, methods: list[str]) -> list[Match]:
    """Return the pair of methods of which one is called otherwise: the call, "feed", "compute", "learn"."""
    taking = [name for name in methods if inspect.isroutine(own := unbound(cls, name)) and takes(own)]
    backwards = [name for name in taking if stem(name).direction == "backward"]
    backwards = backwards or [n for n in taking if set(words(n)) & LIKE_BACKWARD and _what_it_takes(cls, n) != "data"]
    forwards = [name for name in taking if name not in backwards and set(words(name)) & LIKE_FORWARD]
    if any("__call__" in vars(base) for base in cls.__mro__[:-1]):
        forwards.append("__call__")
    if not forwards and backwards and kind(cls.__name__) is Kind.BN:
        forwards = [name for name in taking if name not in backwards and not set(words(name)) & _NO_FORWARD]
    if not backwards and forwards != ["__call__"] and kind(cls.__name__) is Kind.BN:
        backwards = [name for name in taking if not set(words(name)) & (_NO_FORWARD | LIKE_FORWARD)]
        backwards = [name for name in backwards if stem(name).direction != "forward" and name not in forwards]
        backwards = [name for name in backwards if _what_it_takes(cls, name) == "gradient"]
        if not forwards:  # names of another language say neither; what is handed over does
            backwards = [name for name in backwards if upstream_named(_first(cls, name).name)]
            given = [n for n in taking if n not in backwards and not set(words(n)) & (_NO_FORWARD | NO_TRAINING)]
            forwards = [name for name in given if _first(cls, name).role is Role.X]
    return [Match(forwards[0], backwards[0], primary=True)] if forwards and backwards else []


def _first(cls: type, name: str) -> Argument:
    """Return the first argument of a method; one without a name if it does not tell."""
    return next(iter(arguments(unbound(cls, name)) or ()), _UNTOLD)


def _what_it_takes(cls: type, name: str) -> str:
    """Return "gradient" or "data" for what a method takes by its first argument and the words of its class, else ""."""
    first = next(iter(arguments(unbound(cls, name)) or ()), None)
    if first is None or upstream_named(first.name):
        return "gradient"
    if first.role is Role.X or argument_role(f"running_{first.name}") in STATISTICS:
        return "" if gradient_in(cls) else "data"
    return "gradient" if gradient_in(cls) else ""


def takes(method: Any) -> bool:
    """Tell whether a method of the user's own takes at least one argument."""
    found = arguments(method) if hasattr(inspect.unwrap(method), "__code__") else []
    return found is None or bool(found)


class _LayerClasses:
    """Finds classes with a forward and a backward."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return the layers in a namespace."""
        classes = [thing for thing in namespace.things.values() if inspect.isclass(thing)]
        said = namespace.declared
        found = [LayerClass(name, cls, pair, said) for cls in classes for name, pair in method_pairs(cls)]
        return list[Candidate](found)

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return the layer that one class is."""
        if len(objects) != 1 or not inspect.isclass(objects[0]):
            return None
        pairs = method_pairs(objects[0])
        return LayerClass(name, objects[0], pairs[0][1], declared) if pairs else None


ADAPTERS.add(NAME, _LayerClasses())
