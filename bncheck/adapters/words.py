"""Identifiers read by their words: what an argument is for, whose gradient a name is, what a function's name promises.

Names are split into words (snake_case, camelCase, digits) and the words are judged, so that ``d_gamma``, ``gradGamma``
and ``dgamma`` read the same, and no list of whole names has to be complete.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from bncheck.adapters import languages
from bncheck.adapters.identifiers import aside as aside
from bncheck.adapters.identifiers import words as words


class Role(StrEnum):
    """What an argument or a result is for."""

    X = "x"
    GAMMA = "gamma"
    BETA = "beta"
    EPS = "eps"
    MOMENTUM = "momentum"
    MODE = "mode"
    PARAMS = "params"
    CACHE = "cache"
    RUNNING_MEAN = "running_mean"
    RUNNING_VAR = "running_var"
    DY = "dy"


STATISTICS = (Role.RUNNING_MEAN, Role.RUNNING_VAR)


class Kind(StrEnum):
    """What the name of a function or class says that it is."""

    BN = "batch norm"
    OTHER_NORM = "another norm"
    UNKNOWN = "unknown"


def _ranked(clear: str, fair: str, vague: str) -> dict[str, int]:
    """Return how clearly each word says what it is for: 3, 2 or 1."""
    return {word: rank for rank, said in ((3, clear), (2, fair), (1, vague)) for word in said.split()}


_GAMMA = _ranked("gamma gammas gam gama", "scale scales scaler scaling multiplier weight weights gain gains bw", "g w")
_BETA = _ranked("beta betas bet", "shift shifts intercept shifter translation bias biases offset offsets bb", "b")
_X = languages.X.union(
    "x xs a z h u v data input inputs inp in images image img fmap features activations activation act prev "
    "batch".split()
)
_Y = frozenset("y out output outputs yhat o res result".split()) | languages.Y
_NORMALIZED = frozenset("hat xhat zhat norm normed normalized normalised xnorm xn".split())
_EPS = frozenset({"eps", "epsilon", "epsi"})
_MOMENTUM = frozenset({"momentum", "decay", "rho", "mom"})
# A fraction of an average: Caffe's "moving_average_fraction", cuDNN's "exponential_average_factor".
_AVERAGED = frozenset("average averages averaging avg exponential exp ema ewma moving smoothing".split())
_FRACTION = frozenset("factor fraction rate coefficient coeff coef alpha".split())
_TRAIN = frozenset("train training trainings trn trains istrain istraining".split())
_TEST = frozenset("test testing inference infer eval evaluate evaluation predict deterministic".split())
_STATISTICS = frozenset("stats stat statistics average averages mean".split())
_MODE = frozenset({"mode", "phase"}) | _TRAIN | _TEST
_RUNNING = frozenset(
    "running moving mov run global pop population ema ewma exp tracked avg estimated hist history historical smooth "
    "smoothed accumulated total".split()
)
_MEAN = frozenset("mean means mu avg average m expectation".split())
_VAR = frozenset("var variance vars std stddev stdev sigma v sigma2".split())
_PARAMS = frozenset("param params parameters config cfg conf options opts opt settings hyperparams hparams".split())
_CACHE = frozenset("cache caches cached ctx context memory mem saved tape memo stash intermediates residuals".split())
_SIZE = frozenset(
    "features feature num n nb number size sizes dim dims dimension dimensions channel channels units d c in out width "
    "shape hidden neurons nodes layer input inputs output outputs".split()
)
# Words that say nothing about the role beside them ("bn_gamma", "gamma_vec").
_NEUTRAL = frozenset("bn vec vector param parameter value the batchnorm wrt".split())
_GRADIENT_MARKS = languages.GRADIENTS.union(
    "d dl ld dloss grad grads gradient gradients delta deltas deriv derivative der partial nabla adjoint adj bar "
    "cotangent sens sensitivity".split()
)
_UPSTREAM = frozenset("upstream top error err delta dvalues dnext dcurrent dprev accum cotangent".split())


def _parameter(found: tuple[str, ...]) -> tuple[Role, int] | None:
    """Return GAMMA or BETA and how clearly the words say so."""
    said = [word for word in found if word not in _NEUTRAL and not word.isdigit()]
    for role, table in ((Role.GAMMA, _GAMMA), (Role.BETA, _BETA)):
        if said and all(word in table for word in said):
            return role, max(table[word] for word in said)
    return None


@cache
def argument_role(name: str) -> Role | None:
    """Return what an argument called `name` is for; None where the name does not say."""
    found = words(name)
    some = frozenset(found)
    if some & _EPS:
        return Role.EPS
    if some & _MOMENTUM:
        return Role.MOMENTUM if aside(name) is None else None  # not a weight_decay
    if some & _AVERAGED and found[-1] in _FRACTION:
        return Role.MOMENTUM
    if "use" in some and some & _RUNNING and some & _STATISTICS:
        return Role.MODE
    if name in ("rm", "rv"):
        return Role.RUNNING_MEAN if name == "rm" else Role.RUNNING_VAR
    # "mean_for_test" is a running mean, too.
    running, statistic = some & (_RUNNING | _TEST), some & (_MEAN | _VAR)
    if running and statistic and len(running | statistic) > 1:
        return Role.RUNNING_VAR if some & _VAR else Role.RUNNING_MEAN
    parameter = _parameter(found)
    if parameter is not None:
        return parameter[0]
    if some & _CACHE:
        return Role.CACHE
    if found[-1:] and found[-1] in _PARAMS:  # "test_param" holds options, whatever they are for
        return Role.PARAMS
    if some & _MODE:
        return Role.MODE
    if some & _PARAMS:
        return Role.PARAMS
    return Role.X if found and some <= _X else None


@cache
def clarity(name: str) -> int:
    """Return how clearly a name that reads as gamma or beta says so: "gamma" 3, "weight" 2, "w" 1; else 0."""
    parameter = _parameter(words(name))
    return parameter[1] if parameter is not None else 0


@cache
def size_like(name: str) -> bool:
    """Tell whether `name` may stand for the number of channels in a constructor."""
    return any(word in _SIZE for word in words(name))


@cache
def train_is_true(name: str) -> bool:
    """Tell whether a mode flag called `name` is true in training ("training"), not in inference ("test_mode")."""
    some = set(words(name))
    return not (some & _TEST or ("use" in some and some & _RUNNING)) or bool(some & _TRAIN)


def says_train_or_test(name: str) -> bool:
    """Tell whether a mode argument's name itself is a yes-or-no question, unlike "mode" or "phase"."""
    return bool(set(words(name)) & (_TRAIN | _TEST | {"use"}))


@cache
def clears_gradients(name: str) -> bool:
    """Tell whether a method of that name sets gradients to zero: "zero_grad", "clear_gradients", "cleargrads"."""
    joined = "".join(words(name))
    return bool(re.search(r"grad", joined) and re.search(r"zero|clear|reset|flush|erase|wipe|empty|clean", joined))


# "dLdx", "dL_dx", "dJdW", "dloss_dx": the derivative of a loss by what follows.
_DERIVATIVE = re.compile(r"^_?d_?(?:[LlEJC]|[Ll]oss|[Cc]ost)_?d_?(?=\w)")
_AFTER_G = frozenset("x gamma beta y g w b scale shift weight bias".split())  # "gx", "ggamma", as chainer has it


def _without_mark(found: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the words of a gradient's name without those that say "gradient of"; None if no word says so."""
    rest = tuple(word for word in found if word not in _GRADIENT_MARKS)
    if len(rest) < len(found):
        return rest
    if found and len(found[0]) > 1 and found[0].startswith("d"):
        return (found[0][1:], *found[1:])
    if found and found[0][:1] == "g" and found[0][1:] in _AFTER_G:
        return (found[0][1:], *found[1:])
    if len(found) == 2 and found[0] == "g" and found[1] in _AFTER_G:  # "g_b", "g_gamma"
        return found[1:]
    return None


class GradientName(NamedTuple):
    """Whose gradient a name reads as ("dx", "dgamma", "dbeta"), and how clearly."""

    of: str
    clarity: int


@cache
def gradient_name(name: str, *, marked: bool = True) -> GradientName | None:
    """Return whose gradient `name` is; with `marked` false a plain "gamma" counts too (keys of a dict of gradients)."""
    found = words(_DERIVATIVE.sub("d_", name))
    rest = _without_mark(found)
    if rest is None:
        if marked:
            return None
        rest = found
    parameter = _parameter(rest)
    if parameter is not None:
        return GradientName(f"d{parameter[0].value}", parameter[1])
    said = [word for word in rest if word not in _NEUTRAL]
    return GradientName("dx", 1) if said and all(word in _X for word in said) else None


@cache
def gradient_hinted(name: str) -> str:
    """Return "dgamma" or "dbeta" for a name one word of which clearly says so ("dx_beta_analytical"), "" for others.

    So does a plain "beta" or "b". Beside other results of a backward only: a name that says so among words of any kind
    may mean something else.
    """
    plain = _parameter(words(name))
    if plain is not None:
        return f"d{plain[0].value}"
    found = frozenset(words(name)) | frozenset(word[1:] for word in words(name) if word.startswith("d"))
    said = [role for role, table in (("dgamma", _GAMMA), ("dbeta", _BETA)) if any(table.get(w, 0) > 1 for w in found)]
    return said[0] if len(said) == 1 else ""


@cache
def upstream_like(name: str) -> bool:
    """Tell whether an argument of a backward reads as the upstream gradient."""
    found = words(name)
    return bool(found) and (_without_mark(found) is not None or bool(set(found) & _UPSTREAM))


@cache
def upstream_named(name: str) -> bool:
    """Tell whether a name surely means the upstream gradient: "dout", "grad_output"; not any word with a d in front."""
    found = words(name)
    rest = _without_mark(found)
    plain = bool(rest) and all(word in _X | _Y for word in rest or ())
    return plain or says_gradient(name) or bool(set(found) & _UPSTREAM)


@cache
def says_gradient(name: str) -> bool:
    """Tell whether one of the words of a name means a gradient: "grad_prev", not "dtype"."""
    return any(len(word) > 1 for word in _GRADIENT_MARKS.intersection(words(name)))


@cache
def output_like(name: str) -> bool:
    """Tell whether a name reads as the result of a forward."""
    found = words(name)
    return bool(found) and all(word in _Y for word in found)


@cache
def normalized_like(name: str) -> bool:
    """Tell whether a name reads as x after its normalization, before gamma and beta: "x_hat", "normed"."""
    return bool(_NORMALIZED.intersection(words(name))) and not output_like(name)


# ------------------------------------------------------------------------------------------ names of functions, classes

_FORWARD = frozenset("forward forwards fwd fprop fw fp forwardprop".split()) | languages.FORWARD
_BACKWARD = languages.BACKWARD.union(
    "backward backwards bwd bprop bw bp back backprop backpropagation backpropagate grad grads gradient gradients vjp "
    "derivative derivatives deriv pullback adjoint".split()
)
# Long enough to be cut off a glued word ("bnforward") without cutting words that only begin alike ("background").
_CUT = ("forward", "fprop", "fwd", "backward", "backprop", "bprop", "bwd", "gradient")
_FILLER = frozenset(
    "pass prop propagate propagation step compute calc calculate get func fn function np numpy my".split()
)
_FORWARD_FILLER = frozenset({"train", "training", "apply", "feed"})
_BATCH_NORM = re.compile(
    r"(?:mini_?)?batch_?norm(?:ali[sz](?:e|ed|er|ing|ation))?(?=_|$|\d)|(?<![a-z])b_?norm(?=_|$|\d)"
)
_OTHER_NORM = re.compile(
    r"(?:layer|group|instance|weight|spectral|rms|l2|power|filter|response|switchable)_?norm"
    r"|(?<![a-z])(?:ln|gn|lrn)(?=_|$)"
)
_OTHER_LAYER = frozenset(
    "conv convolution affine linear dense fc relu leaky prelu elu selu gelu silu swish sigmoid tanh softmax svm "
    "dropout pool pooling maxpool max lstm rnn gru attention embedding loss ln layernorm groupnorm layer group "
    "instance spatial".split()
)


class Stem(NamedTuple):
    """A function's name taken apart: "forward", "backward" or "" (neither), and its other words."""

    direction: str
    words: tuple[str, ...]


@cache
def stem(name: str) -> Stem:
    """Take a function's name apart; every spelling of batch normalization becomes the one word "bn"."""
    found = [part for word in words(name) for part in _cut(word)]
    direction = ""
    if found and found[0] == "d" and len(found) > 1 and kind("_".join(found[1:])) is Kind.BN:
        direction, found = "backward", found[1:]
    if any(word in _BACKWARD for word in found):
        direction = "backward"
    elif any(word in _FORWARD for word in found):
        direction = "forward"
    drop = _FORWARD | _BACKWARD | _FILLER | (_FORWARD_FILLER if direction != "backward" else frozenset())
    rest = "_".join(word for word in found if word not in drop)
    return Stem(direction, tuple(_BATCH_NORM.sub("bn", rest).split("_")) if rest else ())


def _cut(word: str) -> tuple[str, ...]:
    for cut in _CUT:
        if word.endswith(cut) and word != cut:
            return (word[: -len(cut)], cut)
        if word.startswith(cut) and word not in _FORWARD | _BACKWARD:
            return (cut, word[len(cut) :])
    if word.startswith("d") and (word == "dbn" or _BATCH_NORM.fullmatch(word[1:])):
        return ("d", word[1:])
    return (word,)


def variant(longer: tuple[str, ...], shorter: tuple[str, ...]) -> bool:
    """Tell whether `longer` names a variant of `shorter`: the same words and a few more that name no other layer."""
    more, fewer = Counter(longer), Counter(shorter)
    return fewer <= more and not set(more - fewer) & _OTHER_LAYER


@cache
def kind(name: str, doc: str = "") -> Kind:
    """Return what a name, or failing that the first line of a docstring, reads as."""
    joined = "_".join(words(name))
    if _BATCH_NORM.search(joined) or "bn" in words(name) or re.search(r"(?:^|_)bn\d*(?:_|d|$)", joined):
        return Kind.BN
    some = set(words(name))
    if some & {"batch", "minibatch"} and any(word.startswith("norm") for word in some):
        return Kind.BN
    if languages.says_batch_norm(joined):
        return Kind.BN
    if _OTHER_NORM.search(joined):
        return Kind.OTHER_NORM
    if some & _OTHER_LAYER:
        return Kind.UNKNOWN
    summary = "_".join(words(doc.strip().split("\n\n")[0]))
    return Kind.BN if _BATCH_NORM.search(summary) and not _OTHER_NORM.search(summary) else Kind.UNKNOWN


def composite(name: str) -> bool:
    """Tell whether a name joins batch normalization with another layer ("affine_bn_relu_forward")."""
    return bool(joined_layers(name))


def joined_layers(name: str) -> frozenset[str]:
    """Return the words of a name that say another layer than batch normalization."""
    return (_OTHER_LAYER - {"layer", "spatial"}).intersection(words(name))
