"""A run of a layer: an object made at the first forward, whose parameters bncheck sets and whose gradients it reads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bncheck.adapters.clearing import clear, clearing
from bncheck.adapters.construction import Maker
from bncheck.adapters.frameworks import shape_of
from bncheck.adapters.handed import handed_over
from bncheck.adapters.leaves import is_own_array
from bncheck.adapters.living_run import LivingRun
from bncheck.adapters.modes import Switch
from bncheck.adapters.parameter_gradients import parameter_gradients
from bncheck.adapters.places import Parts, Place, doubtful, parts_of, put
from bncheck.adapters.protocol import Results
from bncheck.adapters.recording import Ledger
from bncheck.adapters.results import attribute_names
from bncheck.adapters.runs import Calling
from bncheck.adapters.seeking import acting, by_effect, named_after, proven, with_effects
from bncheck.adapters.trails import Trail
from bncheck.adapters.words import STATISTICS, Role, argument_role, output_like
from bncheck.model import GRADIENTS


class LayerRun(LivingRun):
    """One fresh layer. Its parameters are set before the first forward, or after it where it creates them.

    `how` is "given" where the user's code takes gamma and beta as arguments, "set" or "in place" where bncheck puts
    them into the layer; `absent` are those that the layer does without.
    """

    __slots__ = (
        "_absent", "_clearing", "_furnished", "_given", "_handed", "_held", "_in_place", "_initial", "_layer", "_maker",
        "_missing", "_names", "_places", "_stepped", "_unsure",
    )  # fmt: skip

    def __init__(
        self,
        calling: Calling,
        maker: Maker,
        names: tuple[str, str],
        values: dict[str, Any],
        how: str,
        absent: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(calling, _unmade, _unmade, values)
        self._maker, self._names, self._layer = maker, names, None
        self._in_place, self._absent = how == "in place", absent
        self._missing: tuple[str, ...] = ()
        self._furnished = self._given = how == "given"
        self._places: dict[str, Place] = {}
        self._held: dict[str, Any] = {}
        self._initial: dict[str, Any] = {}
        self._clearing: list[Callable[[], Any]] | None = None
        self._unsure = False
        self._stepped = False
        self._handed: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Gamma or beta, if no place was found for it."""
        return self._missing

    def forward(self, x: Any, train: bool) -> Any:
        """Call the layer's forward, after a first one if that creates the parameters."""
        if self._layer is not None or self._maker.proven:
            return self._step(x, train)
        given = self._furnished, dict(self._values)
        while True:
            try:
                y = self._step(x, train)
            except Exception:  # another way of making the layer may fit; if there is none, it is raised
                if not self._maker.another(x, self._wanted):
                    raise
                self._layer, (self._furnished, self._values) = None, (given[0], dict(given[1]))
            else:
                self._maker.proven = True
                return y

    def _step(self, x: Any, train: bool) -> Any:
        if "x" in self._maker.keys:  # a layer is made for one batch alone
            self._layer, self._furnished, self._places, self._held = None, self._given, {}, {}
        if self._layer is None:
            self._make(x)
        if not self._furnished:
            if self._maker.proven_places is None:
                self._maker.proven_places = self._prove(x)
            # A layer that has but one of them may make both where that one is None: it is let do so first.
            if not {"gamma", "beta"} - self._absent <= self._parts().parameters.keys():
                self._warm_up(x)
            self._furnish()
            self._furnished = True
        if train:
            if not self._train:  # a frozen layer may refuse to be cleared
                self._set_mode(True)
            self._clear()
        if not self._unsure:
            return super().forward(x, train)
        # Where there was None, a first forward may have made parameters of its own.
        self._unsure = False
        given = x.copy()
        y = super().forward(x, train)
        now = self._parts().parameters
        if all(now[key].get() is held for key, held in self._held.items() if key in now):
            return y
        self._furnish()
        return super().forward(given, train)

    def keeping(self) -> dict[str, Any]:
        """Return the layer's own arrays, and what its options hold."""
        places: list[Place] = [] if self._layer is None else self._parts().places
        return super().keeping() | {place.spelled: self._calling.framework.take(place.get()) for place in places}

    def _make(self, x: Any) -> None:
        self._values["x"] = self._calling.framework.give(x)
        layer = self._layer = self._maker.make(self._values, x, self._wanted)
        if self._learns:  # the layer is to change them
            for key in ("gamma", "beta"):
                self._values[key] = self._values[key].copy()
        self._bind()
        self._handed = handed_over(type(layer), *self._names)  # type: ignore[arg-type]  # classes are hashable

    def _bind(self) -> None:  # anew with each mode: another class may have other methods
        self._forward, self._backward = (getattr(self._layer, name, _unmade) for name in self._names)

    def _called(self, values: dict[str, Any]) -> Any:
        for name in self._handed:
            setattr(self._layer, name, values["x"])
        return super()._called(values)

    def _parts(self, given: dict[str, Any] | None = None) -> Parts:
        channels = int(np.size(self._taken(self._values["gamma"])))
        found = parts_of(self._layer, given, self._maker.proven_places or (), self._places, channels)
        return with_effects(found, self._maker.effects)

    def _prove(self, x: Any) -> tuple[Trail, ...]:
        """Return the places of a gamma or beta in a state or a cache that y depends on; the layer is made anew."""
        parts, forward = self._parts(), super().forward
        if not {"gamma", "beta"} - self._absent - parts.parameters.keys():
            return ()
        found: tuple[Trail, ...] = ()
        if doubtful(parts):
            found = proven(lambda: forward(x.copy(), True), parts)
        elif not self._absent and not parts.parameters:
            effects = by_effect(lambda: forward(x.copy(), True), parts, self._channels)
            self._maker.effects = effects if named_after(type(self._layer), effects) else {}
        else:
            return ()
        self._make(x)
        return found

    @property
    def _wanted(self) -> int:
        return 0 if self._furnished else 2 - len(self._absent)

    def _warm_up(self, x: Any) -> None:
        """Let a first forward create the parameters: one that is no training if that does, for the statistics' sake."""
        if self._maker.switches or self._calling.all_switches():
            try:
                super().forward(x.copy(), False)
            except KeyboardInterrupt:
                raise
            except BaseException:  # it may need training mode to create anything: begin anew
                self._make(x)
            self._set_mode(True)
            if len(self._parts().parameters) + len(self._absent) >= 2:
                return
        super().forward(x.copy(), True)

    def acting(self, x: Any) -> str:
        """Return the place of an array that y follows, though nothing says that it is a gamma; "" if there is none."""
        known, forward = {place.trail for place in self._places.values()}, super().forward
        return acting(lambda: forward(x.copy(), True), self._parts(), known, self._channels)

    def _channels(self, array: Any) -> int:
        """Return how many values an array has per channel, 0 where it has none."""
        several, rest = divmod(np.size(self._taken(array)), np.size(self.gamma))
        return 0 if rest else several

    # --------------------------------------------------------------------------------------------------- parameters

    def _furnish(self) -> bool:
        """Put gamma and beta where the layer keeps them; tell whether both have their places."""
        parts = self._parts()
        for key, place in parts.parameters.items():
            held = math.prod(shape_of(place.get()) or ())
            if held == 2 * np.size(self._taken(self._values[key])):
                continue  # gamma and beta in one array: what belongs where is not for bncheck to guess
            if key not in self._absent:
                self._unsure = self._unsure or place.get() is None
                if key not in self._maker.keys:
                    self._initial.setdefault(key, self._copied(place.get()))
                self._values[key] = self._put(parts, place, self._values[key])
                self._places[key], self._held[key] = place, place.get()
        wanted = [key for key in ("gamma", "beta") if key not in self._absent]
        self._missing = tuple(key for key in wanted if key not in self._places)
        self._recast(parts)
        return not self._missing

    def _put(self, parts: Parts, place: Place, given: Any) -> Any:
        """Put one parameter in its place, in the shape of what is there; return the array that the layer now has."""
        own, shape = place.get(), shape_of(place.get())
        if shape is not None and math.prod(shape) == math.prod(shape_of(given) or ()):
            given = given.reshape(shape)
        if self._in_place and shape is not None and shape == shape_of(given):
            self._calling.framework.assign(own, given)
            return own
        if is_own_array(own) and given.size == own.size:
            given = given.view(type(own))
            vars(given).update(vars(own))
        put(parts, place, given)
        return given

    def _taken(self, value: Any) -> Any:
        return self._calling.framework.take(value)

    def initial(self) -> dict[str, Any]:
        """Return what the layer had for gamma and beta, as far as its constructor was not given them."""
        return self._initial

    def _copied(self, value: Any) -> Any:
        taken = self._taken(value)
        return taken.copy() if isinstance(taken, np.ndarray) else taken

    def _recast(self, parts: Parts) -> None:
        """Give buffers that gradients are written into the dtype of the parameters that they belong to."""
        for of, place in parts.gradients.items():
            own, dtype = place.get(), self.gamma.dtype
            if of != "dx" and isinstance(own, np.ndarray) and own.dtype != dtype and not self._in_place:
                put(parts, place, own.astype(dtype))

    # ----------------------------------------------------------------------------------------------------- gradients

    def backward(self, dy: Any) -> Results:
        """Call the layer's backward, after gradients are cleared where it has a way to; parameters stay what they are.

        A layer that can clear its gradients adds them up by contract, and its user is to clear them.
        """
        if self._stepped:  # a second backward after one forward
            self._clear()
        self._stepped = True
        places = self._places
        if not places and self._layer is not None and self._learns:
            places = {k: p for k, p in self._parts().parameters.items() if k not in self._absent}
        ledger = Ledger(places, self._values.get("optimizer"), self._values["lr"]) if self._learns else None
        try:
            found = super().backward(dy)
            if ledger is None or (found.dgamma is not None and found.dbeta is not None):
                return found
            gradients = ledger.gradients()
            self._maker.changes = self._maker.changes or ledger.changed
            if self._maker.changes:
                gradients = ledger.unchanged() | gradients
            for of, (value, where) in gradients.items():
                if getattr(found, of) is None:
                    found = found._replace(**{of: self._taken(value)})
                    self._attributes[of] = f"{of} ({where})"
            return found
        finally:
            if ledger is not None:
                ledger.restore()

    def added(self, dy: Any) -> Results | None:
        """Call the layer's backward once more without clearing; None where it has no way to clear its gradients."""
        self._stepped = False
        return self.backward(dy) if self._clearing else None

    @property
    def _learns(self) -> bool:
        """Whether the layer may change its parameters in its backward, with a rate or an optimizer of bncheck's."""
        return self._maker.learns or bool(self._calling.backward.keys & {"lr", "optimizer"})

    def _left_behind(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the gradients that were returned, and those that the layer keeps."""
        if len(found) < len(GRADIENTS):
            for of, place in self._parts(self._values).gradients.items():
                if of not in found and (value := place.get()) is not None:
                    found[of] = value
                    self._attributes[of] = place.spelled
        if not {"dgamma", "dbeta"} & found.keys():
            made, name = parameter_gradients(self._layer, self._names, self._values)
            found |= made
            self._attributes |= {of: f"{of} ({name})" for of in made}
        return found

    def _clear(self) -> None:
        """Set gradients to zero in the way that the layer, or the objects that hold its parameters, offer."""
        self._stepped = False
        if self._clearing is None:
            # Fresh layers of one reading are made alike: where one had nothing to clear, no other has.
            self._clearing = [] if self._maker.never_clears else clearing(self._layer)
            self._maker.never_clears = not self._clearing and self._maker.proven
        clear(self._clearing)
        if self._clearing:
            for key, place in self._places.items():
                if place.get() is not self._held[key]:  # a reset of more than the gradients
                    place.put(self._held[key])

    def turn(self, switch: Switch, train: bool) -> None:
        """Turn one switch alone."""
        if switch.lasting:
            self._flags = train
        else:
            switch.turn(self._layer, self._values, train)

    def _set_mode(self, train: bool) -> None:
        super()._set_mode(train)
        self._bind()

    def _statistics(self) -> dict[Role, Any]:
        found = super()._statistics()
        if not found and self._layer is not None and "x" not in self._maker.keys:
            for place in self._parts().places:
                role = argument_role(str(place.trail[-1]))
                if role in STATISTICS and role not in found:
                    found[role] = place.get()
        if not found and self._maker.memory:
            found = {role: place.get() for role, place in self._means().items() if place.trail in self._maker.memory}
        return found

    def _means(self) -> dict[Role, Place]:
        """Return the places of arrays that are called a mean and a variance, but not running ones."""
        found: dict[Role, Place] = {}
        for place in self._parts().places:
            role = argument_role(f"running_{place.trail[-1]}")
            if role in STATISTICS and np.size(self._taken(place.get())) == np.size(self.gamma):
                found.setdefault(role, place)
        return found

    def remembered(self) -> dict[tuple[Any, ...], Any]:
        """Return what is in those places, by their trails: what differs after another history is a running one."""
        return {place.trail: np.array(self._taken(place.get())) for place in self._means().values()}

    def _output(self, shape: tuple[int, ...]) -> Any:
        """Return the attribute that holds the output of a forward that returns nothing."""
        for name in attribute_names(self._layer):
            value = getattr(self._layer, name, None) if output_like(name) else None
            if shape_of(value) == shape:
                return value
        return None


def _unmade(*args: Any) -> Any:
    raise TypeError("the layer has no such method")
