"""Identifiers taken apart into words, and the arguments that have nothing to do with Batch Normalization."""

from __future__ import annotations

import re
from functools import cache
from unicodedata import combining, normalize

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_ACTIVATION = re.compile(r"(?:P?Re|Ge|Si|Se|Ce)L[Uu]")  # "BatchNormReLU" has three words, not four
_GREEK = {
    "γ": "gamma", "β": "beta", "μ": "mu", "σ": "sigma", "ε": "eps", "ϵ": "eps", "δ": "delta", "∂": "d", "Δ": "delta",
    "α": "alpha", "η": "eta", "λ": "lambda", "Γ": "gamma", "Β": "beta", "x̂": "xhat",
}  # fmt: skip
# Arguments beside those of a Batch Normalization: what key of a run's values suits them, by their words.
_ASIDE = {
    "lr": frozenset("lr lrate learningrate stepsize eta".split()),
    "optimizer": frozenset("optimizer optimiser optim optimizers optimisers solver updater".split()),
    "zero": frozenset("reg regularization regularisation lam lamb lambda lambd wd".split()),
    "step": frozenset("t iter iteration iterations epoch epochs it timestep".split()),
    "rng": frozenset("rng random rand".split()),
    "seed": frozenset({"seed"}),
    "dtype": frozenset({"dtype"}),
    "label": frozenset("name label id scope".split()),
    "batch": frozenset({"batchsize"}),
    "axis": frozenset("axis axes".split()),
    "ndim": frozenset("ndim rank".split()),
    # Never a number for a path: ``open(3)`` would take a file descriptor of bncheck's own, and close it.
    "none": frozenset(
        "activation act prev previous next parent layer initializer regularizer logger graph path file filename fname "
        "folder dir directory fd url dataset loader callback model net network session sess".split()
    ),
}
_ASIDE_PAIRS = {
    "lr": ("learning rate", "step size"), "zero": ("weight decay",), "batch": ("batch size", "n samples"),
    "step": ("time step",), "ndim": ("n dims", "num dims"),
}  # fmt: skip
# A name with one of these asks for the mode, whatever its last word is.
_MODES = frozenset("mode phase train training test testing inference infer eval evaluate predict".split())


@cache
def words(identifier: str) -> tuple[str, ...]:
    """Return the words of an identifier in lower case: "dgammaOut_2" gives ("dgamma", "out", "2")."""
    whole = _ACTIVATION.sub(lambda found: found.group().capitalize(), _spelled_out(identifier))
    return tuple(word.lower() for word in _WORD.findall(whole))


def _spelled_out(identifier: str) -> str:
    """Return an identifier with Greek letters as words, and without accents: "dγ" gives "d_gamma", "ä" gives "a"."""
    if identifier.isascii():
        return identifier
    spelled = "".join(f"_{_GREEK[letter]}_" if letter in _GREEK else letter for letter in identifier)
    return "".join(letter for letter in normalize("NFKD", spelled) if not combining(letter))


@cache
def aside(name: str) -> str | None:
    """Return the key of a value for an argument that has nothing to do with Batch Normalization ("lr", "optimizer")."""
    found = words(name)
    pair = " ".join(found)
    for key, pairs in _ASIDE_PAIRS.items():
        if any(two in pair for two in pairs):
            return key
    if not found or set(found) & _MODES:
        return None
    if found in (("l", "1"), ("l", "2")):
        return "zero"
    return next((k for k, known in _ASIDE.items() if found[-1] in known and (len(found) == 1 or k != "step")), None)
