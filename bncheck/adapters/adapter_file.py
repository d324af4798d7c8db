"""The escape hatch: a few functions, named after the words of a session, that speak for a target.

An adapter file defines ``forward`` and ``backward``, and where it needs them ``open`` and ``running_stats``. Each takes
what it wants by name; docs/adapters.md is for those who write one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bncheck import guard
from bncheck.adapters.adapter_words import NEEDED, STATISTICS, Adaptation, read
from bncheck.adapters.affine import run_of
from bncheck.adapters.loading import Source, load
from bncheck.adapters.protocol import Candidate, EpsPlace, Namespace, Parameters, Reading, Results, Run
from bncheck.adapters.words import Kind
from bncheck.errors import AdapterError, TargetError
from bncheck.model import GRADIENTS, Declared
from bncheck.registry import did_you_mean

NAME = "adapter-file"


class AdapterRun:
    """One state of an adapter; `open` is called when the run is started."""

    def __init__(self, reading: AdapterReading, parameters: Parameters, values: dict[str, Any]) -> None:
        self.missing = reading.adaptation.missing
        self.returns = ""
        self._reading, self._words = reading, reading.adaptation.words
        self._take = reading.framework.take
        give = reading.framework.give
        self._values = values | parameters._asdict()
        self._values |= {"gamma": give(parameters.gamma), "beta": give(parameters.beta), "state": None}
        self._values |= {"channels": parameters.gamma.size, "dtype": parameters.gamma.dtype}
        self._original = parameters
        self._trained = False
        if "open" in self._words:
            self._values["state"] = self._call("open", self._values)

    @property
    def gamma(self) -> Any:
        """The array that the adapter was given for gamma."""
        return self._take(self._values["gamma"])

    @property
    def beta(self) -> Any:
        """The array that the adapter was given for beta."""
        return self._take(self._values["beta"])

    def acting(self, x: Any) -> str:
        """Say nothing: what an adapter does not ask for, its code does without."""
        return ""

    def forward(self, x: Any, train: bool) -> Any:
        """Call the adapter's forward; keep the state if it returns one beside y."""
        self._reading.adaptation.stated.hold(x, self._original.gamma)
        values = self._values
        values |= {"x": self._reading.framework.give(x), "train": train, "mode": "train" if train else "eval"}
        result = self._call("forward", values)
        if isinstance(result, tuple):
            if len(result) != 2:
                raise self._reading.complaint("forward", f"returned {_things(result)}, and should return y or y, state")
            result, values["state"] = result
        self._reading.worked = True
        self._trained = self._trained or train
        return self._take(result)

    def backward(self, dy: Any) -> Results:
        """Call the adapter's backward."""
        wanted = self._reading.adaptation.gradients
        result = self._call("backward", {**self._values, "dy": self._reading.framework.give(dy)})
        found = self._named("backward", result, wanted)
        self.returns = f"{'dict' if isinstance(result, dict) else 'tuple'} ({', '.join(wanted)})"
        return Results(*(self._take(found.get(name)) for name in GRADIENTS))

    def keeping(self) -> dict[str, Any]:
        """Return nothing: the words of this run say all there is."""
        return {}

    def running(self) -> tuple[Any, Any] | None:
        """Return the running statistics, if the adapter tells them; before a first forward it need not have any."""
        if "running_stats" not in self._words:
            return None
        try:
            result = self._call("running_stats", self._values)
        except Exception:  # before the first batch of training there may be no statistics yet
            if self._trained:
                raise
            return None  # asked too early
        if result is None:
            return None
        found = self._named("running_stats", result, STATISTICS)
        return self._take(found["mean"]), self._take(found["var"])

    def _call(self, word: str, values: dict[str, Any]) -> Any:
        """Call a function of the adapter; note whose fault it is if it raises."""
        self._reading.called = True
        try:
            return self._words[word].call(values)
        except AdapterError as error:
            self._reading.slips.append(error)
            raise
        except Exception:
            self._reading.foreign = True
            raise

    def _named(self, word: str, result: Any, wanted: tuple[str, ...]) -> dict[str, Any]:
        """Return what a function handed over, by name: of a dict, or of a tuple in the order of `wanted`."""
        should = f"and should return {', '.join(wanted)}"
        if isinstance(result, dict):
            unknown = [name for name in result if name not in wanted]
            lacking = [name for name in wanted if name not in result]
            if lacking or unknown:
                raise self._reading.complaint(word, f"returned a dict of {', '.join(map(str, result))}, {should}")
            return result
        if len(wanted) == 1 and not isinstance(result, tuple | list):
            result = (result,)
        if not isinstance(result, tuple | list) or len(result) != len(wanted):
            raise self._reading.complaint(word, f"returned {_things(result)}, {should}")
        return dict(zip(wanted, result, strict=True))


def _things(result: Any) -> str:
    """Return what came back, in words."""
    if isinstance(result, tuple | list):
        return f"{len(result)} thing{'s' * (len(result) != 1)}"
    return "None" if result is None else f"one {type(result).__name__}"


class AdapterReading:
    """The one way of calling an adapter."""

    guess = ""  # nothing is handed over by guessing

    def __init__(self, adaptation: Adaptation, values: dict[str, Any], absent: frozenset[str] = frozenset()) -> None:
        self.adaptation, self.absent = adaptation, absent
        self.framework = adaptation.framework
        self.called = self.worked = self.foreign = False
        self.slips: list[AdapterError] = []  # what the adapter does wrong itself
        self._values = values

    @property
    def eps(self) -> EpsPlace | None:
        """An adapter that asks for eps may hand it on or not; one that does not ask has it hard-coded."""
        return EpsPlace("argument", False) if "eps" in self.adaptation.asked else None

    @property
    def mode_switch(self) -> str:
        """The argument of the adapter's forward that says whether this is training."""
        asked = self.adaptation.words["forward"].arguments
        return next((f"argument {name}" for name in ("train", "mode") if name in asked), "")

    def spelled(self) -> str:
        """Return what the adapter's functions ask for, in one line."""
        return "; ".join(f"{name}({', '.join(word.arguments)})" for name, word in self.adaptation.words.items())

    def without(self, absent: frozenset[str]) -> AdapterReading:
        """Return the same reading for code that does without gamma or beta."""
        return AdapterReading(self.adaptation, self._values, absent)

    def start(self, parameters: Parameters) -> Run:
        """Return a fresh run."""
        return run_of(lambda own: AdapterRun(self, own, self._values), parameters, self.absent)

    def complaint(self, word: str, what: str) -> AdapterError:
        """Return the exception for something that a function of the adapter returned, and note it."""
        said = f"{self.adaptation.words[word]} {what}"
        self.slips.append(AdapterError(said, TypeError(said)))
        return self.slips[-1]


class AdapterCandidate:
    """A target that an adapter file speaks for; that it is a Batch Normalization is said by its being there."""

    adapter = NAME
    kind = Kind.BN
    composite = False
    mentions: frozenset[str] = frozenset()

    def __init__(self, name: str, adaptation: Adaptation, values: dict[str, Any], declared: Declared) -> None:
        self.name = name
        self.aliases = frozenset({name})
        self.forward_name, self.backward_name = (str(adaptation.words[word]) for word in NEEDED)
        stated = adaptation.stated.under(declared)
        self.declared = stated.added_to(declared)
        self._adaptation = replace(adaptation, stated=stated)
        self._values = values

    def readings(self) -> Iterator[Reading]:
        """Yield the one reading; raise TargetError if its forward never worked for a reason of the adapter's own."""
        reading = AdapterReading(self._adaptation, self._values)
        yield reading
        if reading.slips and not reading.worked and not reading.foreign:
            raise _telling(reading.slips)
        if not reading.called:
            raise TargetError(f"{self.forward_name}: {self._adaptation.stated.untried}")


def _telling(slips: list[AdapterError]) -> AdapterError:
    """Return the one that tells most: in a layout that is not meant, shapes do not fit."""
    return next((slip for slip in slips if not isinstance(slip.raised, ValueError | IndexError)), slips[-1])


def candidate(path: str, namespace: Namespace, name: str, declared: Declared) -> Candidate:
    """Return the candidate that an adapter file makes of a target.

    Parameters
    ----------
    path : str
        The adapter file.
    namespace : Namespace
        What the target's reference names: its module, or live objects.
    name : str
        The name within the target's module, "" for the module itself.
    declared : Declared
        What the user said; it outweighs what the adapter states.

    Raises
    ------
    TargetError
        If the file is no adapter, or the target has nothing of that name.

    """
    adaptation = read(path, declared)
    _complete(namespace, adaptation.mentioned, declared)
    values = {"module": namespace.module, "target": _target(namespace, name)}
    return AdapterCandidate(name or Path(path).stem, adaptation, values, declared)


def _complete(namespace: Namespace, names: frozenset[str], declared: Declared) -> None:
    """Run what an adapter wants of the target's module, of which only what a batch norm needs has been run."""
    module = namespace.module
    if module is not None:
        is_file = namespace.label.endswith("::")
        place = str(getattr(module, "__file__", None) or "") if is_file else namespace.label.rstrip(":")
        for name in sorted(names - vars(module).keys()) if place else ():
            load(Source(place, name, is_file), declared.stand_ins)


def _target(namespace: Namespace, name: str) -> Any:
    """Return the module, or the thing of that name in it; live objects where there is no module."""
    if not name:
        live = tuple(namespace.things.values())
        return namespace.module if namespace.module is not None else live[0] if len(live) == 1 else live
    label = namespace.label.rstrip(":")
    head, *rest = name.split(".")
    found = namespace.things.get(head, getattr(namespace.module, head, None))
    if found is None:
        raise TargetError(f"{label} has no {head!r}. {did_you_mean(head, namespace.things)}")
    for part in rest:
        try:
            found = getattr(found, part)
        except Exception as error:
            raise TargetError(f"{label}: {name} cannot be had: {guard.one_line(error)}") from None
    return found
