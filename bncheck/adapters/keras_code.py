"""Keras 3: its layers, called as the pure functions of their variables that ``stateless_call`` makes of them.

They are differentiated by the library that Keras runs on. Keras is imported only once a layer of it is about to be
called; on which library it runs is settled when the user's code imports it, and :func:`prepare` is to be called before.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bncheck.adapters.frameworks import FRAMEWORKS, Framework
from bncheck.adapters.protocol import ADAPTERS, ByThing, Candidate, Parameters
from bncheck.adapters.pure_layers import Arrays, PureLayer, PureLayerClass, derives, given_to, running_role, switch_of
from bncheck.adapters.words import Role, argument_role
from bncheck.errors import TargetError
from bncheck.model import Declared

NAME = "keras-layer"
# Libraries that Keras runs on and that bncheck differentiates by, quickest to be compiled for first.
_BACKENDS = ("jax", "torch")


def prepare() -> None:
    """Let Keras run on a library that is installed, if nobody chose one; of itself it takes TensorFlow, and fails.

    To be called before code that imports Keras; a choice that was made, or an import that was, stays.
    """
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or find_spec(_configured()):
        return
    name = next((name for name in _BACKENDS if find_spec(name)), None)
    if name is not None:
        os.environ["KERAS_BACKEND"] = name


def _configured() -> str:
    """Return the library that Keras' own file of settings names."""
    folder = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        name = json.loads((Path(folder) / "keras.json").read_text())["backend"]
    except (OSError, ValueError, KeyError, TypeError):  # no settings, or none that can be read: Keras's own default
        return "tensorflow"
    return name if isinstance(name, str) and name.isidentifier() else "tensorflow"


def _framework(device: str) -> Framework:
    """Return the library that Keras runs on; raise TargetError if bncheck does not differentiate by it."""
    import keras

    name = keras.config.backend()
    if name not in _BACKENDS:
        raise TargetError(
            f"Keras runs on {name} here, and bncheck differentiates by {' or '.join(_BACKENDS)}: set KERAS_BACKEND to "
            "one of these."
        )
    framework: Framework = FRAMEWORKS.get(name)(device)
    return framework


def _layer(
    device: str,
    framework: Framework,
    cls: Any,
    made: dict[str, str],
    called: dict[str, str],
    x: Any,
    parameters: Parameters,
) -> PureLayer:
    """Return a layer of Keras, built for the shape of x."""
    import keras

    dtype = str(x.dtype)
    given = given_to(made, parameters, x.dtype, True)
    calls = {train: given_to(called, parameters, x.dtype, train) for train in (True, False)}
    with _speaking(keras, dtype, device):
        layer = cls(**given)
        if not layer.built:
            layer.build(x.shape)
        kinds = (layer.trainable_variables, layer.non_trainable_variables)
        names = [_names(variables, layer) for variables in kinds]
        values = [[keras.ops.convert_to_numpy(variable.value) for variable in variables] for variables in kinds]

    def apply(arrays: Arrays, x: Any, train: bool) -> tuple[Any, Arrays]:
        with _speaking(keras, dtype, device):
            first, second = ([arrays[name] for name in some] for some in names)
            y, new = layer.stateless_call(first, second, x, **calls[train])
        return y, dict(zip(names[1], new, strict=True))

    arrays = dict(zip(names[0] + names[1], values[0] + values[1], strict=True))
    return PureLayer(arrays, names[0], apply, switch_of(made, called))


def _names(variables: list[Any], layer: Any) -> list[str]:
    """Return the paths of variables below their layer, told apart by numbers where they are the same.

    The layer's own name counts the layers that were made before it. Where a path says nothing of what a variable is,
    the attribute that holds it may: ``self.moving_mean = self.add_weight(name="mm", ...)``.
    """
    held = {id(value): name for name, value in vars(layer).items()}
    paths = [_telling(variable.path.removeprefix(f"{layer.name}/"), held.get(id(variable))) for variable in variables]
    return [path if paths.count(path) == 1 else f"{place}/{path}" for place, path in enumerate(paths)]


def _telling(path: str, attribute: str | None) -> str:
    """Return a path, with an attribute's name behind it where that says what a variable is and the path does not."""
    return f"{path}/{attribute}" if attribute is not None and _says(attribute) and not _says(path) else path


def _says(path: str) -> bool:
    """Tell whether a path's last part is a name of gamma, of beta, or of a running statistic."""
    affine = argument_role(path.rpartition("/")[2]) in (Role.GAMMA, Role.BETA)
    return affine or running_role(path) is not None


@contextmanager
def _speaking(keras: Any, dtype: str, device: str) -> Iterator[None]:
    """Let a layer work in the dtype of x and where x lives, as long as it is called.

    Except on TensorFlow Keras computes in float32 what it is given in float64, and casts the result back: eight digits
    would be gone, and a wrong formula harder to tell from a right one. The table that says so is set aside.
    """
    module = sys.modules.get("keras.src.backend.common.dtypes")
    table = getattr(module, "BIT64_TO_BIT32_DTYPE", {"float64": "float64"})
    before = keras.config.floatx(), keras.config.dtype_policy(), table["float64"]
    with keras.device(device.replace("cuda", "gpu")):
        try:
            keras.config.set_floatx(dtype)
            keras.config.set_dtype_policy(dtype)
            table["float64"] = "float64"
            if keras.backend.result_type(dtype, "float32") == "float32" != dtype == "float64":
                raise TypeError(f"Keras {keras.__version__} computes in float32 what it is given in float64")
            yield
        finally:
            keras.config.set_floatx(before[0])
            keras.config.set_dtype_policy(before[1])
            table["float64"] = before[2]


def _candidate(name: str, thing: Any, declared: Declared) -> Candidate | None:
    if not derives(thing, "keras.", "Layer"):
        return None
    device = declared.device
    return PureLayerClass(name, thing, "call", NAME, lambda: _framework(device), partial(_layer, device))


class _KerasLayers(ByThing):
    """Finds layers of Keras."""


ADAPTERS.add(NAME, _KerasLayers(_candidate))
