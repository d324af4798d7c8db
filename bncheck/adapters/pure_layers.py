"""Layers that are pure functions of their arrays underneath, whatever library they belong to: Flax's and Keras's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from bncheck.adapters.affine import run_of
from bncheck.adapters.differentiable import named_kind
from bncheck.adapters.differentiated import DifferentiatedRun
from bncheck.adapters.frameworks import Framework, Pull
from bncheck.adapters.jax_code import Jax, PureFunction, Recent
from bncheck.adapters.profiles import base_profile
from bncheck.adapters.protocol import ArityError, EpsPlace, Parameters, Reading, Run
from bncheck.adapters.results import split_forward
from bncheck.adapters.words import STATISTICS, Role, argument_role, clarity, composite, size_like, train_is_true, words

# The shapes of one case and of its neighbours.
_KEPT = 32
# ``use_running_average`` is no running average, but says whether to use one.
_STORED = frozenset("running moving global ema population".split())

Arrays = Mapping[str, Any]


# -------------------------------------------------------------------------------------- layers that are pure functions


class PureLayer:
    """A layer for one shape and dtype of x, as a function of its arrays, which go by names.

    Parameters
    ----------
    arrays : dict
        Every array of a fresh layer, by name.
    learning : iterable of str
        The names of those that training learns.
    apply : callable
        ``apply(arrays, x, train)`` returns what the layer returns, and the arrays that do not learn as they are then.
    switch : str
        How the layer is told whether this is training.

    """

    def __init__(
        self, arrays: Arrays, learning: list[str], apply: Callable[[Arrays, Any, bool], tuple[Any, Arrays]], switch: str
    ) -> None:
        self.arrays, self.learning, self.switch, self._apply = dict(arrays), learning, switch, apply
        self.places = {role.value: name for role in (Role.BETA, Role.GAMMA) for name in self._named(role)}
        self._compiled: dict[bool, PureFunction] = {}

    def _named(self, role: Role) -> list[str]:
        """Return the names of the learning arrays that read as gamma or beta, the clearest last."""
        found = [name for name in self.learning if argument_role(_last(name)) is role]
        return sorted(found, key=lambda name: clarity(_last(name)))

    def running(self, arrays: Arrays) -> list[Any]:
        """Return what the running mean and the running variance are among the arrays, None where there is none."""
        found = {running_role(name): value for name, value in arrays.items() if name not in self.learning}
        return [found.get(role) for role in STATISTICS]

    def call(self, framework: Framework, names: list[str], train: bool) -> Callable[..., Any]:
        """Return the layer as a function of x, the arrays `names`, and a dict of the others: y and that dict anew."""

        def function(inputs: tuple[Any, ...], state: Arrays) -> tuple[Any, dict[str, Any]]:
            out, new = self._apply({**state, **dict(zip(names, inputs[1:], strict=True))}, inputs[0], train)
            y, _, _ = split_forward(out, inputs[0].shape)
            return y, {name: new.get(name, value) for name, value in state.items()}

        if isinstance(framework, Jax):
            if train not in self._compiled:
                self._compiled[train] = PureFunction(framework, function)
            return self._compiled[train]
        return lambda inputs, state: framework.differentiate(lambda *arrays: function(arrays, state), inputs)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def running_role(name: str) -> Role | None:
    """Return which running statistic an array that does not learn is: "moving_mean", or plainly "mean"."""
    role = argument_role(_last(name))
    return role if role in STATISTICS else argument_role(f"running_{_last(name)}")


class PureRun(DifferentiatedRun):
    """One run of such a layer; `make` returns the layer for an x, of these parameters."""

    def __init__(
        self, framework: Framework, parameters: Parameters, make: Callable[[Any, Parameters], PureLayer]
    ) -> None:
        super().__init__(framework, parameters)
        self._make, self._given = make, parameters
        self._layer: PureLayer | None = None
        self._state: dict[str, Any] = {}

    def differentiated(self, x: Any, train: bool) -> tuple[Any, Pull]:
        """Call the layer with its parameters and its state; keep the new state."""
        layer = self._make(x, self._given)
        if self._layer is None:
            self._furnish(layer, x.dtype)
        self._layer = layer
        keys = self._names[1:]
        function = layer.call(self._framework, [layer.places[key] for key in keys], train)
        (y, self._state), pull = function((x, *(self._parameters[key] for key in keys)), self._state)
        return y, pull

    def initial(self) -> dict[str, Any]:
        """Return what a fresh layer has for gamma and beta."""
        layer = self._layer
        return {} if layer is None else {key: layer.arrays[layer.places[key]] for key in self._names[1:]}

    def keeping(self) -> dict[str, Any]:
        """Return the arrays that do not learn: of running statistics the names may not say what they are."""
        layer = self._layer
        return (
            {}
            if layer is None
            else {n: self._framework.take(v) for n, v in self._state.items() if n not in layer.learning}
        )

    def running(self) -> tuple[Any, Any] | None:
        """Return the running statistics among the arrays that do not learn."""
        mean, var = (None, None) if self._layer is None else self._layer.running(self._state)
        return None if mean is None or var is None else (self._framework.take(mean), self._framework.take(var))

    def acting(self, x: Any) -> str:
        """Change one array that learns after the other; where y follows, it may be a gamma of another name."""
        before = np.array(self.forward(x.copy(), True))
        layer = self._make(x, self._given)
        for name in layer.learning:
            own = self._state.get(name)
            if own is None or np.size(own) != self.gamma.size:
                continue
            self._state[name] = own + 1.0
            after = np.asarray(self.forward(x.copy(), True))
            self._state[name] = own
            if not np.allclose(before, after):
                return name
        return ""

    def _furnish(self, layer: PureLayer, dtype: Any) -> None:
        """Take gamma and beta in the shapes of the layer's own, and the rest as it is in a fresh layer."""
        self._missing = tuple(key for key in ("gamma", "beta") if key not in layer.places)
        for key in self._names[1:]:
            shape, given = np.shape(layer.arrays[layer.places[key]]), self._parameters[key]
            if np.prod(shape) != given.size:
                raise ValueError(f"{layer.places[key]} has shape {shape}, and x has {given.size} channels")
            self._parameters[key] = given.reshape(shape)
        given = {layer.places[key] for key in self._names[1:]}
        others = {name: array for name, array in layer.arrays.items() if name not in given}
        self._state = {name: self._framework.give(_widened(array, dtype)) for name, array in others.items()}


def _widened(array: Any, dtype: Any) -> Any:
    """Return an array in no less than the dtype of x: float64 code is not to be judged by float32 statistics."""
    if getattr(array.dtype, "kind", "") != "f":
        return array
    return np.asarray(array).astype(np.promote_types(array.dtype, dtype))


class PureReading:
    """The one way of making and calling such a layer.

    Parameters
    ----------
    framework : Framework
        The library.
    said : str
        The way in words.
    eps : EpsPlace or None
        How eps reaches the layer.
    make : callable
        Returns the layer for an x and for parameters.
    absent : frozenset of str
        Which of gamma and beta it is known to do without.

    """

    guess = ""  # nothing is handed over by guessing

    def __init__(
        self,
        framework: Framework,
        said: str,
        eps: EpsPlace | None,
        make: Callable[[Any, Parameters], PureLayer],
        absent: frozenset[str] = frozenset(),
    ) -> None:
        self.framework, self.eps, self.absent = framework, eps, absent
        self._said, self._make = said, make
        self._layers = Recent(_KEPT)
        self.mode_switch = ""  # once a layer was made

    def spelled(self) -> str:
        """Return constructor and call in one line."""
        return f"{self._said}; differentiated by {self.framework.name}"

    def without(self, absent: frozenset[str]) -> PureReading:
        """Return the same reading for a layer that does without gamma or beta."""
        return PureReading(self.framework, self._said, self.eps, self._make, absent)

    def start(self, parameters: Parameters) -> Run:
        """Return a fresh run."""
        return run_of(lambda own: PureRun(self.framework, own, self._layer), parameters, self.absent)

    def _layer(self, x: Any, parameters: Parameters) -> PureLayer:
        size, eps, momentum = parameters.gamma.size, parameters.eps, parameters.momentum
        key = (x.shape, x.dtype.str, size, eps, momentum)
        layer: PureLayer = self._layers.get(key, lambda: self._make(x, parameters))
        self.mode_switch = layer.switch
        return layer


# ---------------------------------------------------------------------------------------------- what arguments are for


def bound(function: Callable[..., Any]) -> dict[str, str]:
    """Return the keys of what the arguments of an unbound method get, by name; others keep their defaults.

    Keys are "eps", "momentum", "dtype", "rngs", "size" (the number of channels), "train" and "test" (whether this is).
    """
    found = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            required = parameter.default is parameter.empty
            key = _key(parameter.name, None if required else parameter.default, required)
            if key:
                found[parameter.name] = key
    return found


def _key(name: str, default: Any, required: bool) -> str:
    said, role = set(words(name)), argument_role(name)
    if "use" in said and said & _STORED:
        return "test"
    if "dtype" in said and not inspect.isroutine(default):
        return "dtype" if required or default is not None else ""
    if role in (Role.EPS, Role.MOMENTUM):
        return "" if isinstance(default, bool | str) else role.value
    if role is Role.MODE and (required or default is None or isinstance(default, bool)):
        return "train" if train_is_true(name) else "test"
    if "rngs" in said:
        return "rngs"
    return "size" if required or (default is None and size_like(name)) else ""


def mode_argument(keys: dict[str, str]) -> str:
    """Return the argument that says whether this is training, "" if there is none."""
    return next((name for name, key in keys.items() if key in ("train", "test")), "")


def given_to(keys: dict[str, str], parameters: Parameters, dtype: Any, train: bool) -> dict[str, Any]:
    """Return the values that arguments of these keys get, by name."""
    values = {"eps": parameters.eps, "momentum": parameters.momentum, "size": parameters.gamma.size}
    values |= {"train": train, "test": not train, "dtype": dtype.type}
    return {name: values[key] for name, key in keys.items() if key in values}


class PureLayerClass:
    """A class that may be a Batch Normalization layer, in a library whose layers are pure functions underneath.

    Parameters
    ----------
    name : str
        Its name within the namespace.
    cls : type
        The class.
    call : str
        The method that is its forward.
    adapter : str
        Name of the adapter that found it.
    framework : callable
        Returns the library that differentiates it, or raises TargetError.
    make : callable
        ``make(framework, cls, made, called, x, parameters)`` returns a layer; `made` and `called` are the keys of the
        arguments of constructor and call.

    """

    # Kept arrays tell exactly what learns; names in the code need not be guessed from.
    mentions: frozenset[str] = frozenset()

    def __init__(
        self,
        name: str,
        cls: type,
        call: str,
        adapter: str,
        framework: Callable[[], Framework],
        make: Callable[..., PureLayer],
    ) -> None:
        self.name, self.adapter = name, adapter
        self.forward_name, self.backward_name = f"{cls.__name__}.{call}", f"the gradient of {cls.__name__}.{call}"
        self.aliases = frozenset({name, cls.__name__, self.forward_name})
        self.kind = named_kind(cls.__name__, cls)
        self.composite = composite(cls.__name__)
        self.base = base_profile(cls)
        self._cls, self._call, self._framework, self._make = cls, call, framework, make

    def readings(self) -> Iterator[Reading]:
        """Yield the one way of making and calling the layer; raise ArityError if there is none."""
        made, called = bound(self._cls.__init__), bound(getattr(self._cls, self._call))  # type: ignore[misc]
        # A layer is called with x, and a call knows of no number of channels.
        x, *more = [name for name, key in called.items() if key == "size"] or ["x"]
        if more:
            raise ArityError(f"{self.forward_name} wants more than x and the mode: {', '.join(more)}.")
        called.pop(x, None)
        if mode_argument(called):  # told twice, a module of Flax refuses
            made = {name: key for name, key in made.items() if key not in ("train", "test")}
        framework = self._framework()
        everything = {*made.values(), *called.values()}
        eps = EpsPlace("argument", True) if "eps" in everything else None
        said = f"{_spelled(self._cls.__name__, made)}; {_spelled(self._call, {x: 'x'} | called)}"
        yield PureReading(framework, said, eps, partial(self._make, framework, self._cls, made, called))


def _spelled(name: str, keys: dict[str, str]) -> str:
    return f"{name}({', '.join(a if a == key else f'{a}={key}' for a, key in keys.items())})"


def derives(cls: Any, package: str, name: str) -> bool:
    """Tell whether a class derives from a library's class of that name; the library is not imported for it."""
    if not inspect.isclass(cls):
        return False
    return any(base.__name__ == name and base.__module__.startswith(package) for base in cls.__mro__[1:])


def switch_of(made: dict[str, str], called: dict[str, str]) -> str:
    """Return how a layer with these arguments is told the mode."""
    if name := mode_argument(called):
        return f"argument {name}"
    return f"constructor argument {name}" if (name := mode_argument(made)) else ""
