"""Making layers: the constructor, the methods that have to be called before the first forward, eps and the mode.

Which methods those are (``build(input_shape)``, ``initialize(optimizer)``, ``init_params(n)``) is read from their
names; which shape they want is found by trying, on fresh layers, until gamma and beta are there with C elements.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import numpy as np

from bncheck.adapters.modes import Switch, declared_switch, layer_switches
from bncheck.adapters.places import parts_of
from bncheck.adapters.plans import Argument, Plan, arguments
from bncheck.adapters.recording import Recorder
from bncheck.adapters.results import attribute_names
from bncheck.adapters.trails import Trail
from bncheck.adapters.widths import making
from bncheck.adapters.words import Role, argument_role, aside, size_like, words

_BUILDING = frozenset(
    "build init initialize initialise initialization setup create compile allocate alloc prepare configure connect "
    "bind".split()
)
_SETTING = frozenset("set reset with".split())
# What a method that sets something must set, to be called: parameters that are there are bncheck's to set.
_SET = frozenset("shape size sizes dim dims input optimizer optimiser optim solver features channels units n".split())
_RESET = frozenset("params param parameters weights".split())
# What shapes and sizes may mean, likeliest first; a variant takes the entry of its number in each.
_SHAPES = ("shape", "inner", "batchless", "sizes", "size", "row")
_SIZES = ("size", "sizes", "inner")
# Beyond these, sizes and shapes that are attributes and None are set first, as a network that joins layers does.
_VARIANTS = 2 * len(_SHAPES)

Hook = tuple[str, list[Argument]]


def shape_values(x: Any, size: int) -> dict[str, Any]:
    """Return the values of the keys that speak of sizes and shapes, for data in the user's layout."""
    shape = tuple(x.shape)
    return {
        "size": size, "sizes": (size,), "shape": shape, "inner": shape[1:], "row": (1, size), "batch": shape[0],
        "batchless": (None, *shape[1:]), "ndim": len(shape),
    }  # fmt: skip


class Maker:
    """Makes the fresh layers of one reading.

    Parameters
    ----------
    cls : callable
        The class, or a factory.
    plan : Plan or None
        How it is called; None to make an object without its constructor.
    eps_given : bool
        Whether an argument takes eps already.
    mode : str or None
        What the user says is the mode switch.
    optimizer : bool
        Whether an attribute that reads as an optimizer, and is None, is given one.

    """

    def __init__(
        self,
        cls: Callable[..., Any],
        plan: Plan | None,
        *,
        eps_given: bool = False,
        mode: str | None = None,
        optimizer: bool = False,
    ) -> None:
        self._cls, self._plan, self._eps_given, self._mode, self._optimizer = cls, plan, eps_given, mode, optimizer
        self._hooks: dict[tuple[int, bool], tuple[list[Hook], int] | None] = {}
        self._eps_names: tuple[str, ...] = ()
        self._own_eps = False
        self.learns = plan is not None and bool(plan.keys & {"lr", "optimizer"})
        self.memory: tuple[Trail, ...] = ()  # places of means and variances that outlive a batch
        self.proven_places: tuple[Trail, ...] | None = None  # of gamma and beta in a state or a cache; None: not tried
        self.effects: dict[str, Trail] = {}  # places of gamma and beta that no name tells, by what they do
        self._spare: list[tuple[list[Hook], int]] = []
        self.proven = False  # whether a forward of a layer so made has run
        self.never_clears = False  # whether a fresh layer had nothing that sets gradients to zero
        self.changes = False  # whether a backward was seen to change gamma or beta
        self.switches: list[Switch] | None = None
        self.sample: Any = None  # a layer so made

    def told(self, switch: Switch, *, alone: bool) -> Maker:
        """Return what makes the same layers told the mode by one more switch, or by that one alone."""
        maker = copy(self)
        maker.switches = [switch] if alone else [*(self.switches or ()), switch]
        return maker

    @property
    def keys(self) -> frozenset[str]:
        """What the constructor is given."""
        return frozenset() if self._plan is None else self._plan.keys

    @property
    def declared(self) -> bool:
        """Whether the user has said what the mode switch is."""
        return bool(self._mode)

    @property
    def unmade(self) -> bool:
        """Whether objects are made without their constructor."""
        return self._plan is None

    @property
    def eps_attribute(self) -> str:
        """The attribute that holds eps where no argument does, once a layer has been seen; "" if there is none."""
        return self._eps_names[0] if self._eps_names else ""

    @property
    def owns_eps(self) -> bool:
        """Whether the layer's own constructor set that attribute, and no object inside it holds another."""
        return self._own_eps

    def make(self, values: dict[str, Any], x: Any, wanted: int) -> Any:
        """Return a fresh layer in training mode, for the values of a run and its first batch.

        Parameters
        ----------
        values : dict
            What arguments are given, by key; the keys of sizes and shapes are added.
        x : array
            The first batch, in the user's layout.
        wanted : int
            How many of gamma and beta the layer must have before its first forward, as far as hooks can make them.

        """
        values |= shape_values(x, values["channels"] or 1)
        values.setdefault("optimizer", Recorder(rate=values["lr"]))
        values["rng"] = np.random.default_rng(0)
        with making(values["dtype"]):
            layer = self._hooked(values, x, wanted)
        self._teach(layer, values)
        if self.switches is None:
            self._look(layer, values)
        for switch in self.switches or ():
            switch.turn(layer, values, True)
        for name in self._eps_names:
            holder, _, inner = name.rpartition(".")
            setattr(getattr(layer, holder) if holder else layer, inner, values["eps"])
        return layer

    def _bare(self, values: dict[str, Any]) -> Any:
        if self._plan is None:
            return object.__new__(self._cls)  # type: ignore[arg-type]
        return self._plan.call(self._cls, values)

    # -------------------------------------------------------------------------------------------------------- hooks

    def _hooked(self, values: dict[str, Any], x: Any, wanted: int) -> Any:
        """Return a fresh layer after the methods that it wants called first."""
        layer = self._bare(values)
        key = (x.ndim, wanted > 0)
        if key not in self._hooks:
            self._hooks[key] = self._find_hooks(layer, values, wanted)
            layer = self._bare(values)
        found = self._hooks[key]
        if found is not None:
            _call(layer, found[0], values, found[1])
        return layer

    def _find_hooks(self, layer: Any, values: dict[str, Any], wanted: int) -> tuple[list[Hook], int] | None:
        """Return which methods to call and with which meaning of shapes; None where the constructor is enough."""
        hooks = list(_hooks(layer))
        size = values["size"]
        if not hooks:
            return None
        self._spare = [(hooks, variant) for variant in range(_VARIANTS)]
        asked = [hook for hook in hooks if any(_is_optimizer(a) for a in hook[1])]
        self.learns = self.learns or bool(asked)
        if _ready(layer, size) >= wanted:
            return (asked, 0) if asked and _call(layer, asked, values, 0) else None
        for variant in range(_VARIANTS):
            fresh = self._bare(values)
            if _call(fresh, hooks, values, variant) and _ready(fresh, size, scalars=False) >= wanted:
                return hooks, variant
        return None

    def another(self, x: Any, wanted: int) -> bool:
        """Take the next hooks that have not been tried, for a layer whose forward raised; tell whether there are any.

        None are taken once a forward has run: see `proven`.
        """
        if self.proven or not self._spare:
            return False
        self._hooks[x.ndim, wanted > 0] = self._spare.pop(0)
        return True

    def _teach(self, layer: Any, values: dict[str, Any]) -> None:
        """Set learning rates, and momenta and optimizers that are not there yet, where the layer keeps them."""
        for name, value in list(getattr(layer, "__dict__", {}).items()):
            about = aside(name)
            if about in ("lr", "zero") and isinstance(value, float | int) and not isinstance(value, bool):
                setattr(layer, name, values[about])
                self.learns = self.learns or about == "lr"
            elif value is None and _is_momentum(name):
                setattr(layer, name, values["momentum"])
            elif about == "optimizer" and value is None and self._optimizer:
                setattr(layer, name, values["optimizer"])
                self.learns = True

    # ------------------------------------------------------------------------------------------------- what it shows

    def _look(self, layer: Any, values: dict[str, Any]) -> None:
        """Note, once, what says the mode of such layers, and which attributes hold eps if no argument does."""
        argument = self._plan.mode_argument if self._plan is not None else ""
        key = dict(self._plan.bound).get(argument, "") if self._plan is not None else ""
        self.switches = layer_switches(layer, argument, lambda modes: self._bare({**values, **modes}), key)
        self.sample = layer
        declared = declared_switch(self._mode, layer) if self._mode else None
        if declared is not None:
            self.switches = [declared]
        if not self._eps_given:
            self._eps_names = tuple(dict.fromkeys(_eps_attributes(layer)))
            inner = any("." in name for name in self._eps_names)
            self._own_eps = bool(self._eps_names) and not inner and self._eps_names[0] in getattr(layer, "__dict__", {})


def raised_making(error: BaseException) -> bool:
    """Tell whether an exception came out of a constructor, and not out of the forward that a layer is made for."""
    return any(frame.f_code is Maker._bare.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


def _eps_attributes(layer: Any) -> Iterator[str]:
    """Yield the attributes that hold an eps: the layer's own, its class's, those of the objects in it."""
    own = [*getattr(layer, "__dict__", ()), *attribute_names(layer)]
    shared = [name for base in type(layer).__mro__[:-1] for name in vars(base) if not name.startswith("__")]
    for name in (*own, *shared):
        if argument_role(name) is Role.EPS and _is_number(getattr(layer, name, None)):
            yield name
    for name, value in getattr(layer, "__dict__", {}).items():
        for inner, held in getattr(value, "__dict__", {}).items() if not isinstance(value, type) else ():
            if argument_role(inner) is Role.EPS and _is_number(held):
                yield f"{name}.{inner}"


def _is_momentum(name: str) -> bool:
    """Tell whether an attribute that is to be set from outside is a momentum; "alpha" is what smooths averages."""
    return argument_role(name) is Role.MOMENTUM or name.strip("_") == "alpha"


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int | np.floating) and not isinstance(value, bool)


def _ready(layer: Any, size: int, *, scalars: bool = True) -> int:
    """Return how many of gamma and beta a layer has that are not None, and of C elements, or one that broadcasts."""
    found = [place.get() for place in parts_of(layer).parameters.values()]
    sizes = (1, size) if scalars else (size,)
    return sum(value is not None and np.size(value) in sizes for value in found)


# -------------------------------------------------------------------------------------------------------- calling hooks


def _hooks(layer: Any) -> Iterator[Hook]:
    """Yield the methods that read as to be called before the first forward, those that set a shape first."""
    names: dict[str, None] = {}
    for base in type(layer).__mro__[:-1]:
        names |= dict.fromkeys(n for n, f in vars(base).items() if inspect.isfunction(f) and not n.startswith("__"))
    chosen = [(rank, name) for name in names if (rank := _rank(name)) is not None]
    for _, name in sorted(chosen, key=lambda pair: (pair[0], pair[1].startswith("_"))):
        found = arguments(getattr(layer, name))
        required = [a for a in found or () if a.required]
        # A lone argument of no known meaning is the shape or the size.
        if found is not None and (len(required) == 1 or all(_suits(a) for a in required)):
            yield name, [a for a in found if a.required or _is_shape(a)]


def _rank(name: str) -> int | None:
    """Return the order in which a method is to be called, None for one that is no preparation."""
    said = set(words(name))
    if said & _SETTING and said & _SET:
        return 0
    if said & _BUILDING:
        return 1
    return 2 if said & _SETTING and said & _RESET else None


def _is_shape(argument: Argument) -> bool:
    return "shape" in words(argument.name)


def _is_optimizer(argument: Argument) -> bool:
    return argument.name == "opt" or aside(argument.name) == "optimizer"


def _suits(argument: Argument) -> bool:
    """Tell whether there is a value for an argument of such a method."""
    known = argument.role in (Role.X, Role.EPS, Role.MOMENTUM) or aside(argument.name) not in (None, "axis")
    return known or _is_shape(argument) or _is_optimizer(argument) or size_like(argument.name)


def _key(argument: Argument, variant: int) -> str:
    if _is_optimizer(argument):
        return "optimizer"
    if _is_shape(argument):
        return _SHAPES[variant % len(_SHAPES)]
    if argument.role in (Role.EPS, Role.MOMENTUM):
        return str(argument.role)
    plural = argument.name.lower().rstrip("_") in ("x", "inputs", "data", "batch")
    if argument.role is Role.X and plural:
        return ("x", *_SIZES)[min(variant % len(_SHAPES), len(_SIZES))]  # "inputs" may count them
    if size_like(argument.name):
        return _SIZES[min(variant % len(_SHAPES), len(_SIZES) - 1)]
    return aside(argument.name) or _SHAPES[variant % len(_SHAPES)]


def _preset(layer: Any, values: dict[str, Any], variant: int) -> None:
    """Set the attributes that read as sizes or shapes and are None."""
    for name, value in list(getattr(layer, "__dict__", {}).items()):
        if value is None and "shape" in words(name):
            setattr(layer, name, values[_SHAPES[variant % len(_SHAPES)]])
        elif value is None and size_like(name) and argument_role(name) is None:
            setattr(layer, name, values["size"])


def _call(layer: Any, hooks: list[Hook], values: dict[str, Any], variant: int) -> bool:
    """Call the methods; tell whether at least one ran. One that fails has shown that it is not for this layer."""
    ran = False
    if variant >= len(_SHAPES):
        _preset(layer, values, variant)
    for name, found in hooks:
        given = {argument.name: values[_key(argument, variant)] for argument in found}
        try:
            getattr(layer, name)(**given)
            ran = True
        except KeyboardInterrupt:
            raise
        except BaseException:  # a preparation that raises did not suit; the next may
            continue
    return ran
