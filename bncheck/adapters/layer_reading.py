"""One way of constructing and calling a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from bncheck.adapters.affine import run_of
from bncheck.adapters.construction import Maker
from bncheck.adapters.fractions import Blending
from bncheck.adapters.function_pair import cache_choices, eps_argument
from bncheck.adapters.inference import chosen, gives_statistics, is_inference
from bncheck.adapters.inferring_classes import inferring_switches
from bncheck.adapters.layer_run import LayerRun
from bncheck.adapters.meant import factors, variants
from bncheck.adapters.modes import Switch
from bncheck.adapters.protocol import EpsPlace, Parameters, Run
from bncheck.adapters.runs import Calling
from bncheck.adapters.tested import arguments_tested, attributes_tested, functions_asked


class LayerReading(Blending):
    """One way of constructing and calling a layer; `run` makes its runs."""

    def __init__(
        self,
        maker: Maker,
        names: tuple[str, str],
        making: str,
        calling: Calling,
        how: str,
        absent: frozenset[str] = frozenset(),
        run: Callable[..., LayerRun] = LayerRun,
    ) -> None:
        self._maker, self._names, self._making, self._calling, self._how = maker, names, making, calling, how
        self.absent, self._run = absent, run
        self.framework = calling.framework
        self._chosen: Switch | None = None

    @property
    def forward_only(self) -> bool:
        """Whether there is no backward."""
        return not (self._names[1] or self._calling.pulls)

    @property
    def eps(self) -> EpsPlace | None:
        """An argument of the constructor or of forward; else an attribute, once a layer has been seen to have it."""
        if "eps" in self._maker.keys:
            return EpsPlace("argument", True)
        attribute = self._maker.eps_attribute
        named = f"attribute {attribute}" if self._maker.owns_eps else ""
        return eps_argument(self._calling.forward) or (EpsPlace("attribute", False, named) if attribute else None)

    @property
    def switches(self) -> list[Switch]:
        """What the forward is called with, then what a layer has been seen to have, then global flags."""
        called = self._calling.all_switches()
        own = self._maker.switches or []
        called = [s for s in called if not (own and is_inference(s))]
        return [*(s for s in called if not s.lasting), *own, *(s for s in called if s.lasting)]

    @property
    def unmade(self) -> bool:
        """Whether the layer is an object made without its constructor."""
        return self._maker.unmade

    def choose(self, switch: Switch) -> None:
        """Take one of the switches as the one to report."""
        self._chosen = switch
        self._calling = chosen(self._calling, switch)

    def offered(self, name: str) -> Iterator[LayerReading]:
        """Yield the same reading told the mode by what the code tests; with `name` by what is called so alone."""
        layer = self._maker.sample
        if layer is None:
            return
        forward = getattr(layer, self._names[0])
        for switch, plan in arguments_tested(forward, self._calling.forward, functions_asked(forward, layer), name):
            yield self._told(switch, self._maker, replace(self._calling, forward=plan))
        turned = [switch.reversed() for switch in self._maker.switches or () if name and name in switch.said]
        classes = inferring_switches(layer, self._names[0]) if not name else []
        for switch in (*turned, *attributes_tested(layer, name), *classes):
            yield self._told(switch, self._maker.told(switch, alone=bool(name)), self._calling)

    def _told(self, switch: Switch, maker: Maker, calling: Calling) -> LayerReading:
        calling = chosen(calling, switch)
        told = LayerReading(maker, self._names, self._making, calling, self._how, self.absent, self._run)
        told._chosen = switch
        return told

    def adopt(self, offered: LayerReading) -> None:
        """Become one of those."""
        self._maker, self._calling, self._chosen = offered._maker, offered._calling, offered._chosen

    def remember(self, trails: tuple[Any, ...]) -> None:
        """Take the places of statistics that remember earlier batches."""
        self._maker.memory = trails

    @property
    def given_statistics(self) -> bool:
        """Whether the forward is given its running statistics as arguments."""
        return gives_statistics(self._calling.forward)

    @property
    def mode_switch(self) -> str:
        """The switch that was found to act, or the first that names propose."""
        return next((switch.said for switch in (self._chosen, *self.switches) if switch is not None), "")

    @property
    def guess(self) -> str:
        """An argument of the backward whose name says nothing, or what an optimiser is for."""
        optimizer = "what its optimiser has to answer" if "optimizer" in self._maker.keys else ""
        return self._calling.guess or optimizer

    def spelled(self) -> str:
        """Return the constructor and both calls in one line."""
        put_in = {"set": "; gamma and beta set as attributes", "in place": "; gamma and beta set in place"}
        return f"{self._making}; {self._calling.spelled(*self._names)}{put_in.get(self._how, '')}"

    def without(self, absent: frozenset[str]) -> LayerReading:
        """Return the same reading for a layer that does without gamma or beta."""
        return LayerReading(self._maker, self._names, self._making, self._calling, self._how, absent, self._run)

    def variants(self) -> Iterator[LayerReading]:
        """Yield the same reading with another cache, or without an argument that may be no gamma or beta."""
        forward = getattr(self._maker.sample, self._names[0], None)
        caches = cache_choices(self._calling.returned or None, True)
        for calling in variants(self._calling, caches, factors(forward) if forward else frozenset()):
            put = self._how == "given" and "gamma" not in self._maker.keys | calling.given
            for how in ("set", "in place") if put else (self._how,):
                yield LayerReading(self._maker, self._names, self._making, calling, how, self.absent, self._run)

    def start(self, parameters: Parameters) -> Run:
        """Return a fresh run; its layer is made at the first forward, when the shape of the data is known."""

        def made(own: Parameters) -> Run:
            values = self._calling.values(own)
            return self._run(self._calling, self._maker, self._names, values, self._how, self.absent)

        return run_of(made, parameters, self.absent)
