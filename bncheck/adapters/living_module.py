"""What can be done to a layer of PyTorch while it lives: switching it by its own methods, changing its parameters."""

from __future__ import annotations

from typing import Any

from bncheck.adapters.differentiated import DifferentiatedRun
from bncheck.adapters.own_methods import turned
from bncheck.adapters.plans import mode_values
from bncheck.adapters.torch_parts import own_bases, own_functions, torch_base
from bncheck.adapters.words import Role, argument_role, train_is_true


class LivingModuleRun(DifferentiatedRun):
    """A run of a layer that is told the mode by every switch it has, until its own methods are called."""

    # Made by the run of a module.
    _layer: Any
    _reading: Any
    _tensors: dict[str, Any]
    _torch: Any
    _values: dict[str, Any]
    _alone = False

    def switched(self, train: bool) -> str:
        """Call the layer's own method alone; return the call, "" where the mode is said elsewhere."""
        if self._layer is None or self._reading.calling.mode_switch or self._reading.unrecorded:
            return ""
        cls = type(self._layer)
        overridden = {"train", "eval"} & {name for base in own_bases(cls) for name in vars(base)}
        if not overridden and not any("training" in function.__code__.co_names for function in own_functions(cls)):
            return ""  # a module that takes the mode from elsewhere inherits the two all the same
        self._alone = True
        return turned(self._layer, train)

    def _set_mode(self, train: bool) -> None:
        self._values.update(mode_values(train))
        if self._alone:
            return
        if torch_base(type(self._layer), "Module"):
            self._layer.train(train)
        for name, value in list(getattr(self._layer, "__dict__", {}).items()):
            if isinstance(value, bool) and argument_role(name) is Role.MODE:
                setattr(self._layer, name, train if train_is_true(name) else not train)

    def learned(self, gamma: Any, beta: Any, *, in_place: bool) -> bool:
        """Write other parameters into the layer's tensors, as an optimizer does; nothing else is done to them."""
        wanted = {key: v for key, v in (("gamma", gamma), ("beta", beta)) if key not in self._reading.absent}
        given = self._reading.given  # what was handed over may not be what the layer keeps
        if self._layer is None or not in_place or not wanted.keys() <= self._tensors.keys() - given:
            return False
        for key, value in wanted.items():
            own = self._tensors[key]
            self._torch.assign(own, self._framework.give(value).reshape(own.shape))
        return True
