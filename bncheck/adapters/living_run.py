"""What can be done to a layer while it lives: switching it by its own methods, changing its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from bncheck.adapters.construction import Maker
from bncheck.adapters.frameworks import shape_of
from bncheck.adapters.own_methods import changed_by_method, turned
from bncheck.adapters.places import Parts, Place
from bncheck.adapters.runs import CallRun


class LivingRun(CallRun):
    """A run of a layer that is told the mode by every switch it has, until its own methods are called."""

    __slots__ = ("_alone",)

    # Made by the run of a layer.
    _absent: frozenset[str]
    _held: dict[str, Any]
    _layer: Any
    _maker: Maker
    _names: tuple[str, str]
    _places: dict[str, Place]

    def switched(self, train: bool) -> str:
        """Call the layer's own method alone; return the call, "" where the mode is said elsewhere."""
        elsewhere = self._calling.all_switches() or self._maker.declared or "x" in self._maker.keys
        if self._layer is None or elsewhere:
            return ""
        self._alone = True
        return turned(self._layer, train)

    def _set_mode(self, train: bool) -> None:
        if getattr(self, "_alone", False):
            return
        super()._set_mode(train)
        for switch in self._maker.switches or ():
            switch.turn(self._layer, self._values, train)

    def learned(self, gamma: Any, beta: Any, *, in_place: bool) -> bool:
        """Put other parameters where the layer keeps them, or write into what is there; tell whether that was done."""
        wanted = {key: v for key, v in (("gamma", gamma), ("beta", beta)) if key not in self._absent}
        if self._layer is None or self._learns or self._maker.changes or not wanted.keys() <= self._places.keys():
            return False
        parts, framework = self._parts(), self._calling.framework
        for key, value in wanted.items():
            place = self._places[key]
            if changed_by_method(place, self._layer, (*self._names, "__call__")):
                return False
            given, own = framework.give(np.array(value)), place.get()
            if in_place:
                if shape_of(own) is None:
                    return False
                framework.assign(own, given.reshape(shape_of(own)))
                self._values[key] = own
            else:
                self._values[key] = self._put(parts, place, given)
                if place.get() is own:  # it cannot be replaced
                    return False
            self._held[key] = place.get()
        return True

    @property
    def _learns(self) -> bool:
        raise NotImplementedError

    def _parts(self, given: dict[str, Any] | None = None) -> Parts:
        raise NotImplementedError

    def _put(self, parts: Parts, place: Place, given: Any) -> Any:
        raise NotImplementedError
