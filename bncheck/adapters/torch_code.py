"""PyTorch: its tensors, and subclasses of torch.autograd.Function, whose backward is the user's own.

torch is imported only once code that uses it is about to be called. Modules: :mod:`bncheck.adapters.torch_modules`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from bncheck.adapters.affine import mentioned
from bncheck.adapters.differentiable import DifferentiableFunction, FunctionRun, named_kind
from bncheck.adapters.frameworks import FRAMEWORKS, Differential, Pull
from bncheck.adapters.plans import arguments, as_statistic
from bncheck.adapters.protocol import ADAPTERS, ByThing, Candidate, Parameters, Run
from bncheck.adapters.runs import Calling
from bncheck.adapters.torch_parts import own_bases, torch_base
from bncheck.adapters.widths import in_width
from bncheck.adapters.words import Role, composite
from bncheck.core.precision import BFLOAT16, dtype_of
from bncheck.errors import TargetError, UsageError
from bncheck.model import Declared

NAME = "torch-function"


class Torch:
    """PyTorch's tensors on one device."""

    name = "torch"

    def __init__(self, device: str) -> None:
        import torch

        self.torch: Any = torch
        self.device = _device(torch, device)
        # Tensors of a few thousand elements gain nothing from threads, and start-up of a pool costs milliseconds.
        torch.set_num_threads(1)

    def give(self, array: Any) -> Any:
        """Return the tensor of an array, in its memory layout; on the CPU they share their memory.

        Read-only memory cannot be shared, nor can memory that is walked backwards: those are copied.
        """
        if not isinstance(array, np.ndarray):
            return array
        if not array.flags.writeable or any(stride < 0 for stride in array.strides):
            array = array.copy("K")
        if array.dtype.name == BFLOAT16:  # torch reads no dtype but NumPy's own
            tensor = self.torch.from_numpy(array.view(np.int16)).view(self.torch.bfloat16)
        else:
            tensor = self.torch.from_numpy(array)
        return tensor.to(self.device)

    def take(self, value: Any) -> Any:
        """Return the array of a tensor, without its history; anything else as it came."""
        if not isinstance(value, self.torch.Tensor):
            return value
        value = value.detach().cpu()
        if value.dtype != self.torch.bfloat16:
            return value.numpy()
        try:
            return value.view(self.torch.int16).numpy().view(dtype_of(BFLOAT16))
        except UsageError:  # without ml_dtypes nobody asked for bfloat16; float32 is too narrow for its input as well
            return value.float().numpy()

    def assign(self, own: Any, given: Any) -> None:
        """Write the values of one tensor into another, unseen by autograd."""
        with self.torch.no_grad():
            own.copy_(given)

    def differentiate(self, function: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Any, Pull]:
        """Return ``function(*inputs)``, a pair of y and a dict of tensors, and what maps dy to the gradients.

        The inputs are leaves that require a gradient; the tensors beside y come back without their history.
        """
        tensors = tuple(self.give(array).requires_grad_() for array in inputs)
        with self.torch.enable_grad():
            y, kept = function(*tensors)
        kept = {name: v.detach() if isinstance(v, self.torch.Tensor) else v for name, v in kept.items()}
        return (self.take(y), kept), self.pull(y, tensors, lambda x: function(x, *tensors[1:])[0])

    def follows(self, out: Any) -> bool:
        """Tell whether autograd finds a way back from what a function returned, or from the first of several things."""
        first = out[0] if isinstance(out, tuple | list) and out else out
        return first is None or (isinstance(first, self.torch.Tensor) and first.requires_grad)

    def recorded(self, wanted: bool) -> Any:
        """Return a context in which autograd records what is done, or does not."""
        return self.torch.set_grad_enabled(wanted)

    def pull(self, y: Any, tensors: tuple[Any, ...], again: Callable[[Any], Any]) -> Pull:
        """Return what maps dy to the gradients of tensors that y was made from; `again` makes y of another x."""
        grad = self.torch.autograd.grad

        def gradients(dy: Any) -> tuple[Any, ...]:
            # The graph is kept: whoever calls backward twice gets an answer, as from a backward in plain NumPy.
            with in_width(dy.dtype):
                found = grad(y, tensors, self.give(dy), retain_graph=True, allow_unused=True)
            return tuple(self.take(gradient) for gradient in found)

        def second(dy: Any, v: Any) -> Any:
            (dx,) = grad(y, tensors[:1], self.give(dy), create_graph=True)
            return self.take(grad(dx, tensors[:1], self.give(v), retain_graph=True)[0])

        def tangent(v: Any) -> Any:
            forward = self.torch.autograd.forward_ad
            with forward.dual_level():
                dual = forward.make_dual(tensors[0].detach(), self.give(v))
                return self.take(forward.unpack_dual(again(dual)).tangent)

        def alone(dy: Any, at: int) -> tuple[Any, Any]:
            try:
                for tensor in tensors:
                    tensor.requires_grad_(tensor is tensors[at])
                with self.torch.enable_grad():
                    out = again(tensors[0])
                wanted = (tensors[at],)
                reached = grad(out, wanted, self.give(dy), allow_unused=True) if out.requires_grad else (None,)
                return self.take(out), self.take(reached[0])
            finally:
                for tensor in tensors:
                    tensor.requires_grad_()

        # Of what is made from other tensors, history that is there cannot be taken off.
        return Differential(gradients, second, tangent, alone if all(t.is_leaf for t in tensors) else None)


def _device(torch: Any, name: str) -> Any:
    """Return torch's device of that name; raise TargetError where it is not there."""
    kind, _, number = name.partition(":")
    here = {"cpu": True, "cuda": torch.cuda.is_available()}
    if kind == "mps":
        raise TargetError(
            "device 'mps' has no float64, in which bncheck finds out how to call code. Leave the device out (cpu)."
        )
    if kind not in here or (number and not number.isdigit()):
        raise TargetError(f"torch has no device {name!r} that bncheck can use. Known: cpu, cuda, cuda:1.")
    if not here[kind]:
        raise TargetError(f"device {name!r} is not available: torch {torch.__version__} sees no GPU here.")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise TargetError(f"device {name!r} is not available: torch sees {torch.cuda.device_count()} GPUs, from 0 on.")
    return torch.device(name)


FRAMEWORKS.add("torch", Torch)


class _Applied:
    """The ``apply`` of a subclass of autograd.Function, with the signature of its forward, less ``ctx``."""

    def __init__(self, cls: Any) -> None:
        self._apply = cls.apply
        self.__wrapped__ = cls.forward
        self.__name__ = cls.__name__
        signature = inspect.signature(cls.forward)
        # In the older style forward has ctx as its first argument, in the newer one a method setup_context takes it.
        split = any("setup_context" in vars(base) for base in own_bases(cls))
        arguments = list(signature.parameters.values())
        self.__signature__ = signature.replace(parameters=arguments if split else arguments[1:])

    def __call__(self, *args: Any, **named: Any) -> Any:
        bound = self.__signature__.bind(*args, **named)  # apply takes no keywords
        bound.apply_defaults()
        return self._apply(*bound.args)


class AutogradFunction(DifferentiableFunction):
    """A subclass of torch.autograd.Function: its forward is called by ``apply``, its backward through autograd."""

    adapter = NAME
    guessing = True  # its own backward shows what a wrong guess does

    def __init__(self, name: str, cls: Any, declared: Declared) -> None:
        def run(calling: Calling, function: Callable[..., Any], parameters: Parameters) -> Run:
            made = FunctionRun(calling, function, parameters)
            made.whose = f"{cls.__name__}.backward"
            return made

        super().__init__(name, _Applied(cls), [Torch(declared.device)], run)
        self.forward_name, self.backward_name = f"{cls.__name__}.forward", f"{cls.__name__}.backward"
        self.aliases = frozenset({name, cls.__name__, self.forward_name, self.backward_name, f"{name}.apply"})
        self.kind = named_kind(cls.__name__, cls)
        self.composite = composite(cls.__name__)
        self._cls = cls

    @property
    def is_given_statistics(self) -> bool:
        """Tell whether mean and variance are its caller's affair: it takes both, and no momentum to average them by."""
        roles = {as_statistic(argument).role for argument in arguments(self._cls.forward) or ()}
        return {Role.RUNNING_MEAN, Role.RUNNING_VAR} <= roles and Role.MOMENTUM not in roles

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether its forward or its backward speaks of gamma and beta."""
        return mentioned(self._cls.forward, self._cls.backward)


def _candidate(name: str, thing: Any, declared: Declared) -> Candidate | None:
    return AutogradFunction(name, thing, declared) if _is_function(thing) else None


def _is_function(thing: Any) -> bool:
    if not torch_base(thing, "Function") or thing.__module__.split(".")[0] == "torch":
        return False
    own = {name for base in own_bases(thing) for name in vars(base)}
    return {"forward", "backward"} <= own


class _AutogradFunctions(ByThing):
    """Finds subclasses of torch.autograd.Function."""


ADAPTERS.add(NAME, _AutogradFunctions(_candidate))
