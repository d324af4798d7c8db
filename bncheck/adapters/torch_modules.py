"""Layers of PyTorch whose backward is autograd's: torch.nn.Module, live ones too, and plain classes of tensors.

Gamma and beta are written into the tensors that a layer keeps, and their gradients are those of these tensors.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import product
from types import MethodType
from typing import Any

from bncheck.adapters.affine import run_of
from bncheck.adapters.differentiable import differentiating, named_kind
from bncheck.adapters.differentiated import recording
from bncheck.adapters.frameworks import Pull
from bncheck.adapters.function_pair import eps_argument
from bncheck.adapters.living_module import LivingModuleRun
from bncheck.adapters.places import Place
from bncheck.adapters.plans import Plan, forward_plans
from bncheck.adapters.profiles import base_profile
from bncheck.adapters.protocol import (
    ADAPTERS,
    ArityError,
    Candidate,
    EpsPlace,
    Namespace,
    Parameters,
    Reading,
    Run,
)
from bncheck.adapters.results import split_forward
from bncheck.adapters.runs import Calling
from bncheck.adapters.signatures import refused
from bncheck.adapters.stems import match
from bncheck.adapters.torch_code import Torch
from bncheck.adapters.torch_parts import (
    convert,
    kept_in,
    materialize,
    own_bases,
    own_functions,
    parameters_of,
    put,
    recorded_for,
    running_places,
    statistics_of,
    torch_base,
)
from bncheck.adapters.torch_sources import ClassSource, InstanceSource
from bncheck.adapters.words import Kind, Role, argument_role, composite, stem, words
from bncheck.model import Declared

NAME = "torch-module"
# A module with one of these words in its name holds a Batch Normalization among other layers.
_NETWORKS = frozenset(
    "net network model block classifier mlp cnn unit stack stage encoder decoder head example".split()
)


class ModuleReading:
    """One way of making and calling a layer.

    Parameters
    ----------
    source : ClassSource or InstanceSource
        Makes the layers.
    constructor : Plan
        How the constructor is called.
    calling : Calling
        How the layer is called.
    absent : frozenset of str
        Which of gamma and beta it is known to do without.

    """

    guess = ""  # nothing is handed over by guessing

    differentiated = True  # as of a DifferentiableReading

    def __init__(
        self,
        source: ClassSource | InstanceSource,
        constructor: Plan,
        calling: Calling,
        absent: frozenset[str] = frozenset(),
    ) -> None:
        self._source, self._constructor, self.calling, self.absent = source, constructor, calling, absent
        self.framework = calling.framework
        self._attributes: dict[Role, str] = {}
        self._mode_attributes: list[str] = []

    @property
    def eps(self) -> EpsPlace | None:
        """An argument of the constructor or of forward; else an attribute, once a layer has been seen to have it."""
        if self._source.takes_eps and "eps" in self._constructor.keys:
            return EpsPlace("argument", True)
        own = EpsPlace("attribute", False) if Role.EPS in self._attributes else None
        return eps_argument(self.calling.forward) or own

    @property
    def mode_switch(self) -> str:
        """An argument of forward, torch's own methods, attributes, or whether gradients are recorded."""
        if self.calling.mode_switch:
            return self.calling.mode_switch
        if self.unrecorded:
            return "torch.no_grad()"
        if torch_base(self._source.cls, "Module"):
            return "methods train() and eval()"
        return f"attribute {self._mode_attributes[0]}" if self._mode_attributes else ""

    @property
    def unrecorded(self) -> bool:
        """Whether the layer takes the mode from whether gradients are recorded."""
        return not self.calling.mode_switch and recording(*own_functions(self._source.cls))

    @property
    def waits(self) -> bool:
        """Whether the constructor asks for the number of axes of x, or a first forward makes the parameters."""
        return "ndim" in self._constructor.keys or torch_base(self._source.cls, "LazyModuleMixin")

    @property
    def given(self) -> frozenset[str]:
        """What the constructor and the forward get."""
        return self._constructor.keys | self.calling.given

    def spelled(self) -> str:
        """Return constructor and call in one line."""
        made = self._source.spelled(self._constructor)
        return f"{made}; {self.calling.forward.spelled('layer')}; differentiated by {self.framework.name}"

    def without(self, absent: frozenset[str]) -> ModuleReading:
        """Return the same reading for a layer that does without gamma or beta."""
        return ModuleReading(self._source, self._constructor, self.calling, absent)

    def start(self, parameters: Parameters) -> Run:
        """Return a fresh run."""
        return run_of(lambda own: ModuleRun(self, own), parameters, self.absent)

    def make(self, values: dict[str, Any], torch: Any) -> Any:
        """Return a fresh layer in the dtype of gamma, with eps and momentum set where its constructor takes none."""
        layer = self._source.make(self._constructor, values)
        convert(torch, layer, values["gamma"])
        state = getattr(layer, "__dict__", {})
        numbers = [n for n, v in state.items() if isinstance(v, int | float) and not isinstance(v, bool)]
        taken = self._constructor.keys if self._source.takes_eps else frozenset()
        for role in (Role.EPS, Role.MOMENTUM):
            name = next((n for n in numbers if argument_role(n) is role), None)
            if name and role.value not in taken | self.calling.forward.keys:
                self._attributes[role] = name
                setattr(layer, name, values[role.value])
        self._mode_attributes = [n for n, v in state.items() if argument_role(n) is Role.MODE and isinstance(v, bool)]
        return layer


class ModuleRun(LivingModuleRun):
    """One run of a layer."""

    def __init__(self, reading: ModuleReading, parameters: Parameters) -> None:
        super().__init__(reading.framework, parameters)
        self._reading = reading
        self._torch: Any = reading.framework
        self._values = reading.calling.values(parameters)
        self._layer: Any = None
        self._tensors: dict[str, Any] = {}
        self._initial: dict[str, Any] = {}
        if not reading.waits:
            self._furnish(None)

    @property
    def gamma(self) -> Any:
        """What the layer keeps for gamma."""
        return self._framework.take(self._tensors.get("gamma", self._parameters["gamma"]))

    @property
    def beta(self) -> Any:
        """What the layer keeps for beta."""
        return self._framework.take(self._tensors.get("beta", self._parameters["beta"]))

    def running(self) -> tuple[Any, Any] | None:
        """Return the running statistics: buffers of the layer, or attributes."""
        found = None if self._layer is None else statistics_of(self._layer)
        return None if found is None else (self._framework.take(found[0]), self._framework.take(found[1]))

    def hanging(self, places: tuple[str, str] | None) -> dict[str, str]:
        """Tell of each running statistic whether it hangs on autograd's record of how it was made, or is trained."""
        kept = self._kept()
        named = () if self._layer is None else [place.trail for place in running_places(self._layer).values()]
        asked = places or tuple(name for name, place in kept.items() if place.trail in named)
        return {name: recorded_for(kept[name].get()) for name in asked if name in kept}

    def initial(self) -> dict[str, Any]:
        """Return what the layer had for gamma and beta, as far as it was not given them."""
        return self._initial

    def keeping(self) -> dict[str, Any]:
        """Return the layer's tensors: of running statistics the names may not say what they are."""
        return {name: self._framework.take(place.get()) for name, place in self._kept().items()}

    def _kept(self) -> dict[str, Place]:
        return {} if self._layer is None else kept_in(self._layer)

    def differentiated(self, x: Any, train: bool) -> tuple[Any, Pull]:
        """Call the layer; return y, and autograd's way from dy to the gradients of x and the layer's own tensors."""
        if self._layer is None:
            self._furnish(x)
        self._set_mode(train)
        given = self._values["x"] = self._framework.give(x).requires_grad_()
        with self._torch.recorded(train or not self._reading.unrecorded):
            y = self._called(x.shape)
        tensors = (given, *(self._tensors[name] for name in self._names[1:]))

        def again(other: Any) -> Any:
            self._values["x"] = other
            return self._called(x.shape)

        return self._framework.take(y), self._torch.pull(y, tensors, again)

    def _called(self, shape: tuple[int, ...]) -> Any:
        return split_forward(self._reading.calling.forward.call(self._layer, self._values), shape)[0]

    def _furnish(self, x: Any) -> None:
        """Make the layer, and write gamma and beta into it."""
        size = self._parameters["gamma"].size
        values = self._values
        values |= {"size": size, "sizes": (size,), "ndim": getattr(x, "ndim", 0)}
        wanted = [key for key in ("gamma", "beta") if key not in self._reading.absent]
        for key in wanted:
            values[key].requires_grad_()  # the constructor may want it, or the forward
        self._layer = self._reading.make(values, self._torch.torch)
        materialize(self._layer, self._framework.give(x), values["gamma"])
        places = parameters_of(self._layer, size)
        for key in wanted:
            if key in places:
                if key not in self._reading.given:
                    self._initial[key] = self._framework.take(places[key].get()).copy()
                self._tensors[key] = put(self._torch.torch, places[key], values[key])
            elif key in self._reading.given:
                self._tensors[key] = values[key]
        self._missing = tuple(key for key in ("gamma", "beta") if key not in self._tensors)


class TorchModule:
    """A layer whose backward is autograd's."""

    adapter = NAME

    def __init__(self, name: str, source: ClassSource | InstanceSource, framework: Torch) -> None:
        cls = source.cls
        self.name = name
        self.forward_name = f"{cls.__name__}.{_call_name(cls)}"
        self.backward_name = f"the autograd of {cls.__name__}"
        self.aliases = frozenset({name, cls.__name__, self.forward_name})
        self.kind = Kind.UNKNOWN if set(words(cls.__name__)) & _NETWORKS else named_kind(cls.__name__, cls)
        # A plain class without a backward need not be a layer.
        self.composite = composite(cls.__name__) or not torch_base(cls, "Module")
        self.base = base_profile(cls)
        self._source, self._framework = source, framework

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return self._source.mentions

    @property
    def parts(self) -> frozenset[str]:
        """The names that its code takes from its module: among them functions that it is made of."""
        codes = (function.__code__ for function in own_functions(self._source.cls))
        return frozenset(name for code in codes for name in code.co_names)

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of making and calling the layer, most likely first."""
        cls = self._source.cls
        try:
            constructors = list(dict.fromkeys(self._source.constructors()))
        except ArityError:
            expected = f"something like {cls.__name__}(num_features, eps, momentum)"
            raise refused(cls.__name__, cls, expected) from None
        forward = MethodType(getattr(cls, _call_name(cls)), object())
        try:
            forwards = list(forward_plans(forward, own=True))
        except ArityError:
            raise refused(self.forward_name, forward, "something like forward(x)") from None
        for constructor, plan in product(constructors, forwards):
            yield ModuleReading(self._source, constructor, Calling(plan, Plan(), framework=self._framework))


def _call_name(cls: type) -> str:
    """Return which method is the forward: that name, or ``__call__`` of a class that has none."""
    return "forward" if hasattr(cls, "forward") else "__call__"


class _TorchModules:
    """Finds modules, and plain classes that call torch, without a backward of their own."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return those in a namespace."""
        device = namespace.declared.device
        beside = bool(match([n for n, thing in namespace.things.items() if inspect.isroutine(thing)]))
        found: list[Candidate] = []
        for name, cls in namespace.things.items():
            if _is_layer(cls, device):
                candidate = TorchModule(name, ClassSource(cls), Torch(device))
                # A network beside a pair of functions is what the pair is for.
                if candidate.kind is Kind.BN or not beside:
                    found.append(candidate)
        return found

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return the layer that one class is, or one module made from it."""
        if len(objects) != 1:
            return None
        if inspect.isclass(objects[0]):
            found = _is_layer(objects[0], declared.device)
            return TorchModule(name, ClassSource(objects[0]), Torch(declared.device)) if found else None
        if not torch_base(type(objects[0]), "Module"):
            return None
        return TorchModule(name, InstanceSource(objects[0]), Torch(declared.device))


def _is_layer(cls: Any, device: str) -> bool:
    """Tell layers whose backward is autograd's from those that bring their own, and from what is no layer."""
    if not inspect.isclass(cls) or torch_base(cls, "Function"):
        return False
    own = {name for base in own_bases(cls) for name in vars(base) if not name.startswith("_")}
    if any(stem(name).direction == "backward" for name in own):
        return False
    if torch_base(cls, "Module"):
        return "forward" in own or (cls.__module__.split(".")[0] == "torch" and hasattr(cls, "forward"))
    calls = "forward" in own or "__call__" in vars(cls)
    if not calls or named_kind(cls.__name__, cls) is not Kind.BN or composite(cls.__name__):
        return False
    return any(framework.name == "torch" for framework in differentiating(own_functions(cls), device))


ADAPTERS.add(NAME, _TorchModules())
