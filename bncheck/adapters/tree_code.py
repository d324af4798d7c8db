"""Layers in plain JAX or PyTorch: one function makes trees of arrays, another one is handed them beside x.

``params, state = layer.init(key)`` and ``y, state = layer(params, state, x)``; or a pair of functions, as they are or
returned by a third one (``init, apply = BatchNorm()``). The arrays in the trees go by the names that lead to them, a
flag in a tree that reads as the mode is one, and whatever else is in a tree stays as it is. JAX is imported only once
such code is about to be called.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bncheck.adapters.affine import mentioned
from bncheck.adapters.differentiable import differentiating, named_kind
from bncheck.adapters.frameworks import Framework, is_array
from bncheck.adapters.function_pair import is_function
from bncheck.adapters.jax_code import Jax
from bncheck.adapters.layer_class import method_pairs, unbound
from bncheck.adapters.protocol import ADAPTERS, ArityError, Candidate, EpsPlace, Namespace, Parameters, Reading
from bncheck.adapters.pure_layers import Arrays, PureLayer, PureReading, derives
from bncheck.adapters.pytree_code import PytreeLayer, call_method
from bncheck.adapters.results import split_forward
from bncheck.adapters.signatures import refused
from bncheck.adapters.sources import unpacked
from bncheck.adapters.trees import Leaf, flat, is_row, learns, named_arrays, rebuilt, renewed, trees_in, value_of
from bncheck.adapters.words import Kind, Role, argument_role, composite, kind, train_is_true, words
from bncheck.model import Declared

NAME = "jax-layer"
TORCH = "torch-trees"
_INIT = frozenset("init initialize initialise create make build new setup".split())
_SAYS_INIT = frozenset("init initialize initialise".split())
_APPLY = frozenset("apply forward fwd call run".split())
_KEY = frozenset("key keys rng rngs prng seed".split())
_CALLS = ("__call__", "apply", "forward", "call")
_TREE = "tree"
Keys = Mapping[str, str]


@dataclass(frozen=True)
class Pair:
    """What makes the trees and what is handed them, and what their arguments are for.

    Attributes
    ----------
    maker : callable or None
        The class that both are methods of, or the function that returns both.
    make, call : callable, str or int
        The two functions, or the names of the methods, or their places in what is returned.
    built, made, called : dict
        What the arguments of constructor, `make` and `call` are for, by name.

    """

    maker: Callable[..., Any] | None
    make: Any
    call: Any
    built: Keys
    made: Keys
    called: Keys

    def functions(self, values: Mapping[str, Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Return the two functions, of a fresh object where they are methods, or made anew."""
        if self.maker is None:
            return self.make, self.call
        layer = self.maker(**_chosen(self.built, values))
        if is_row(layer):
            return layer[self.make], layer[self.call]
        return getattr(layer, self.make), getattr(layer, self.call)


def _chosen(keys: Keys, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[key] for name, key in keys.items()}


def _keys(function: Callable[..., Any], *, call: bool) -> dict[str, str]:
    """Return what the arguments of a function get, by name; others keep their defaults. Raise ArityError for none."""
    found: dict[str, str] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        key = _key(parameter.name, parameter.default, parameter.default is parameter.empty, call)
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ArityError
        if key:
            found[parameter.name] = key
    return found


def _key(name: str, default: Any, required: bool, call: bool) -> str:
    said, role = set(words(name)), argument_role(name)
    if said & _KEY and (required or default is None):
        return "key"
    if role in (Role.EPS, Role.MOMENTUM):
        return "" if isinstance(default, bool | str) else role.value
    if role is Role.MODE and (required or default is None or isinstance(default, bool)):
        return "train" if train_is_true(name) else "test"
    if not required:
        return ""
    if call:
        return "x" if role is Role.X else _TREE
    return "shape" if "shape" in said else "dtype" if "dtype" in said else "size"


# ------------------------------------------------------------------------------------------------- the layer that it is


def _layer(pair: Pair, framework: Framework, x: Any, parameters: Parameters) -> PureLayer:
    """Return the layer for the shape of x."""
    jax = importlib.import_module("jax") if isinstance(framework, Jax) else None
    key = 0 if jax is None else jax.random.PRNGKey(0)
    values = {"eps": parameters.eps, "momentum": parameters.momentum, "size": parameters.gamma.size}
    values |= {"shape": x.shape, "dtype": x.dtype.type, "key": key, "train": True, "test": False}
    make, call = pair.functions(values)
    arguments = [name for name, key in pair.called.items() if key == _TREE]
    made = trees_in(make(**_chosen(pair.made, values)), len(arguments))
    names = {name: unpacked(call, name) for name in arguments}
    taken = [flat(jax, tree, name, names[name]) for name, tree in zip(arguments, made, strict=True)]
    held = [leaf for leaves, _ in taken for leaf in leaves if is_array(leaf.value)]
    arrays = {leaf.name: np.asarray(framework.take(leaf.value)) for leaf in held}

    def apply(given: Arrays, x: Any, train: bool) -> tuple[Any, Arrays]:
        now = values | {"x": x, "train": train, "test": not train}
        trees = {
            name: rebuilt(jax, structure, [value_of(leaf, given, train) for leaf in leaves])
            for name, (leaves, structure) in zip(arguments, taken, strict=True)
        }
        rest = {name: key for name, key in pair.called.items() if key != _TREE}
        y, others, _ = split_forward(call(**trees, **_chosen(rest, now)), x.shape)
        return y, renewed(jax, others, names, arrays)

    learning = [name for leaves, _ in taken if learns(leaves) for name in named_arrays(leaves, arrays)]
    return PureLayer(arrays, learning, apply, _switch(pair, [leaf for leaves, _ in taken for leaf in leaves]))


def _switch(pair: Pair, leaves: list[Leaf]) -> str:
    """Return how such a layer is told the mode."""
    argument = next((name for name, key in pair.called.items() if key in ("train", "test")), "")
    flag = next((leaf.last for leaf in leaves if leaf.is_mode), "")
    return f"argument {argument}" if argument else f"key {flag!r}" if flag else ""


# ------------------------------------------------------------------------------------------------------- finding them


class TreeLayer:
    """What may be a Batch Normalization layer whose arrays are handed over in trees."""

    adapter = NAME

    def __init__(self, name: str, thing: Any, make: Any, call: Any, framework: Framework, made: Any = None) -> None:
        """`made` is what `thing` returned, if it makes both functions; `make` and `call` are places in it then."""
        self.name, self._thing, self._framework = name, thing, framework
        self._make: Any = make
        self._call: Any = call
        cls = thing if inspect.isclass(thing) else None
        self.forward_name = f"{cls.__name__}.{call}" if cls else name
        self.backward_name = f"the {framework.name} gradient of {self.forward_name}"
        self.aliases = frozenset({name, getattr(make, "__name__", name), getattr(call, "__name__", name)})
        self.kind = named_kind(name, thing)
        # Two functions that belong together by their names alone may be something else.
        self.composite = composite(name) or cls is None
        self._maker = cls if made is None else thing
        self._signed = (unbound(cls, make), unbound(cls, call)) if cls else (make, call)
        if made is not None:
            self._signed = made[make], made[call]

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return mentioned(self._thing)

    def readings(self) -> Iterator[Reading]:
        """Yield the one way of making and calling the layer; raise ArityError if there is none."""
        make, call = self._signed
        built = _keys(self._maker, call=False) if self._maker else {}
        pair = Pair(self._maker, self._make, self._call, built, _keys(make, call=False), _keys(call, call=True))
        if "x" not in pair.called.values() or _TREE not in pair.called.values():
            raise refused(self.forward_name, call, "something like (params, x)")
        given = {*built.values(), *pair.made.values(), *pair.called.values()}
        eps = EpsPlace("argument", True) if "eps" in given else None
        parts: list[tuple[str, Keys]] = [(self._maker.__name__, built)] if self._maker else []
        parts += [(getattr(make, "__name__", "init"), pair.made), (getattr(call, "__name__", "apply"), pair.called)]
        said = "; ".join(f"{name}({', '.join(_said(a, k) for a, k in keys.items())})" for name, keys in parts)
        yield PureReading(self._framework, said, eps, partial(_layer, pair, self._framework))


def _said(argument: str, key: str) -> str:
    return argument if argument == key else f"{argument}={'what was made' if key == _TREE else key}"


def _methods(cls: type) -> tuple[str, str] | None:
    """Return the methods of a class that make trees and take them, None if it has none."""
    own = {name: thing for base in reversed(cls.__mro__[:-1]) for name, thing in vars(base).items()}
    making = [name for name in own if not name.startswith("__") and set(words(name)) & _INIT]
    taking = [name for name in _CALLS if name in own]
    for make in making:
        for call in taking:
            if _takes_tree(unbound(cls, call)) and callable(getattr(cls, make)):
                return make, call
    return None


def _takes_tree(call: Any) -> bool:
    """Tell whether a function takes x and something else that has to be there, which is no gamma and no beta."""
    try:
        keys = _keys(call, call=True)
    except (ArityError, TypeError, ValueError):  # it cannot be called with a tree
        return False
    trees = [name for name, key in keys.items() if key == _TREE]
    return "x" in keys.values() and bool(trees) and not {Role.GAMMA, Role.BETA} <= {argument_role(n) for n in trees}


def _function_pairs(functions: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names of functions that make trees, and of those that take them."""
    making = [name for name in functions if set(words(name)) & _INIT and not _takes_tree(functions[name])]
    for call, function in functions.items():
        said = [*words(call)]
        if set(said) & _INIT or named_kind(call, function) is not Kind.BN or not _takes_tree(function):
            continue
        rest = [word for word in said if word not in _APPLY]
        plain = [name for name in functions if name != call and len(rest) < len(said) and [*words(name)] == rest]
        left = {name: [word for word in words(name) if word not in _INIT] for name in making}
        same = [name for name in making if left[name] == rest]
        # "init_bn" beside "batch_norm"; plainly "init"; and what else is the only one that says so.
        alike = [name for name in making if kind("_".join(left[name])) is Kind.BN]
        bare = [name for name in making if not left[name]]
        alone = [name for name in making if _SAYS_INIT.intersection(words(name))]
        alone = alone if len(alone) == 1 else []
        if make := next(iter([*plain, *same, *alike, *bare, *alone]), None):
            yield make, call


def _made(function: Any) -> tuple[tuple[Any, ...], int, int] | None:
    """Return the pair of functions that a factory returns, and the places of what makes trees and what takes them."""
    try:
        made = function(**_chosen(_keys(function, call=False), {"eps": 1e-5, "momentum": 0.9}))
        two = is_row(made) and len(made) == 2 and all(is_function(one) for one in made)
        taking = [place for place, one in enumerate(made) if _takes_tree(one)] if two else []
    except KeyboardInterrupt:
        raise
    except BaseException:  # what cannot be called so is no such factory
        return None
    return (tuple(made), 1 - taking[0], taking[0]) if len(taking) == 1 else None


def _torch_pairs(namespace: Namespace) -> list[Candidate]:
    functions = {name: thing for name, thing in namespace.things.items() if is_function(thing)}
    found: list[Candidate] = []
    for make, call in _function_pairs(functions):
        spoken = differentiating((functions[call],), namespace.declared.device)
        if spoken and spoken[0].name == "torch":
            found.append(TreeLayer(call, functions[call], functions[make], functions[call], spoken[0]))
    for candidate in found:
        candidate.adapter = TORCH
    return found


class _TorchTrees:
    """Finds pairs of functions that speak PyTorch and keep their tensors in dicts."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return those in a namespace."""
        return _torch_pairs(namespace)

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return nothing: one object is no pair."""
        return None


def _framework_of(thing: Any, declared: Declared) -> Jax | None:
    found = differentiating((thing,), declared.device)
    return next((framework for framework in found if isinstance(framework, Jax)), None)


class _TreeLayers:
    """Finds classes and pairs of functions that speak JAX and keep their arrays in trees."""

    def candidates(self, namespace: Namespace) -> list[Candidate]:
        """Return those in a namespace."""
        things, declared = namespace.things, namespace.declared
        found = [_class(name, thing, declared) for name, thing in things.items() if inspect.isclass(thing)]
        functions = {name: thing for name, thing in things.items() if is_function(thing)}
        for make, call in _function_pairs(functions):
            framework = _framework_of(functions[call], declared)
            if framework is not None:
                found.append(TreeLayer(call, functions[call], functions[make], functions[call], framework))
        for name, function in functions.items():
            framework = _framework_of(function, declared) if named_kind(name, function) is Kind.BN else None
            returned = _made(function) if framework is not None else None
            if framework is not None and returned is not None:
                found.append(TreeLayer(name, function, returned[1], returned[2], framework, returned[0]))
        return [candidate for candidate in found if candidate is not None]

    def live(self, name: str, objects: tuple[Any, ...], declared: Declared) -> Candidate | None:
        """Return the one that a class is."""
        return _class(name, objects[0], declared) if len(objects) == 1 and inspect.isclass(objects[0]) else None


def _class(name: str, cls: type, declared: Declared) -> Candidate | None:
    if named_kind(name, cls) is not Kind.BN or any(derives(cls, p, n) for p, n in _OF_LIBRARIES):
        return None
    methods = _methods(cls)
    call = "" if methods else call_method(cls)
    framework = _framework_of(cls, declared) if methods or call else None
    if framework is None:
        return None
    if call:
        # A backward of its own, or one that autodiff is told of, belongs to other adapters.
        return None if method_pairs(cls) else PytreeLayer(name, cls, call, framework, NAME)
    return TreeLayer(name, cls, *methods, framework) if methods else None


# Layers that know their arrays themselves have adapters of their own.
_OF_LIBRARIES = (("flax.linen", "Module"), ("flax.nnx", "Module"), ("keras.", "Layer"), ("torch.nn", "Module"))

ADAPTERS.add(NAME, _TreeLayers())
ADAPTERS.add(TORCH, _TorchTrees())
