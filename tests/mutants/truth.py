"""Which tensors a change makes wrong: results beside those of the unchanged source, without bncheck."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from .held2_table import EVERY
from .table import Results, Source, load

TENSORS = ("y", "dx", "dgamma", "dbeta")
RELATIVE = 1e-6  # a change below it is none; rounding stays below 1e-12 on these inputs
EPS = 0.05  # beside variances around 1: where eps stands, and which it is, shows
SHAPES = ((4, 3, 2, 5), (3, 2, 5, 4), (5, 2, 3, 7))  # N, H, W, C, all different, so that no count passes for another


@dataclass(frozen=True)
class Inputs:
    """One batch, channels last: x and dy (N, H, W, C), gamma and beta (C,)."""

    x: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    dy: np.ndarray


@cache
def batches() -> tuple[Inputs, ...]:
    found = []
    for seed, shape in enumerate(SHAPES):
        rng = np.random.default_rng(1502_03167 + seed)
        c = shape[-1]
        spread = np.exp(rng.uniform(-0.7, 0.7, c))
        gamma = rng.uniform(0.4, 2.0, c) * np.where(np.arange(c) % 3 == 1, -1.0, 1.0)
        x = rng.normal(size=shape) * spread + rng.normal(size=c)
        found.append(Inputs(x, gamma, rng.normal(size=c), rng.normal(size=shape) + 0.3 * rng.normal(size=c)))
    return tuple(found)


def to_layout(batch: np.ndarray, layout: str) -> np.ndarray:
    """Return a channels-last batch (N, H, W, C) in a source's layout, as a fresh array."""
    n, h, w, c = batch.shape
    views = {
        "NC": batch.reshape(n * h * w, c),
        "CN": batch.reshape(n * h * w, c).T,
        "NCL": batch.reshape(n, h * w, c).transpose(0, 2, 1),
        "NCHW": batch.transpose(0, 3, 1, 2),
        "NHWC": batch,
    }
    return views[layout].copy(order="C")


def to_rows(tensor: np.ndarray, layout: str) -> np.ndarray:
    """Return a tensor of a source's layout as rows (m, C)."""
    last = tensor if layout in ("NC", "NHWC") else tensor.T if layout == "CN" else np.moveaxis(tensor, 1, -1)
    return last.reshape(-1, last.shape[-1])


def run(source: Source, text: str, inputs: Inputs) -> Results:
    """Return y and dx as rows (m, C), dgamma and dbeta as they come but flat where they have C elements."""
    x, dy = to_layout(inputs.x, source.layout), to_layout(inputs.dy, source.layout)
    gamma, beta = inputs.gamma.copy(), inputs.beta.copy()
    if source.layout == "CN":
        gamma, beta = gamma[:, None], beta[:, None]
    with np.errstate(all="ignore"):
        found = source.call(load(text, source.name), x, gamma, beta, EPS, dy)
    results = {}
    for name in TENSORS:
        tensor = np.asarray(found[name], dtype=float)
        if name in ("y", "dx"):
            if tensor.shape != x.shape:
                raise ValueError(f"{name} has shape {tensor.shape} for {x.shape}")
            tensor = to_rows(tensor, source.layout)
        elif tensor.size == inputs.gamma.size:
            tensor = tensor.reshape(-1)
        results[name] = tensor
    return results


@cache
def right_results(name: str) -> tuple[Results, ...]:
    source = EVERY[name]
    return tuple(run(source, source.text, inputs) for inputs in batches())


def results_of(source: Source, text: str) -> tuple[Results, ...] | None:
    """Return a changed source's results on all batches; None where it raises, or a result is not finite."""
    try:
        found = tuple(run(source, text, inputs) for inputs in batches())
    except Exception:  # whatever a changed source raises: it is no silent fault
        return None
    finite = all(np.isfinite(results[name]).all() for results in found for name in TENSORS)
    return found if finite else None


def differ(a: np.ndarray, b: np.ndarray) -> bool:
    """Tell whether `a` differs from `b` in shape, or by more than RELATIVE of b's largest element."""
    if a.shape != b.shape:
        return True
    return bool(np.abs(a - b).max() > RELATIVE * np.abs(b).max())


def wrong_tensors(found: tuple[Results, ...], right: tuple[Results, ...]) -> tuple[str, ...]:
    """Return the tensors that differ on any batch."""
    return tuple(name for name in TENSORS if any(differ(a[name], b[name]) for a, b in zip(found, right, strict=True)))


def fingerprint(found: tuple[Results, ...]) -> tuple[str, ...]:
    """Return what equals for equal results up to rounding, also of different sources: seven digits of projections."""
    marks = []
    for results in found:
        for name in TENSORS:
            tensor = results[name]
            weights = np.random.default_rng(tensor.size).uniform(0.5, 1.5, tensor.shape)
            marks.append(f"{tensor.shape}{np.sum(tensor * weights):.7g}")
    return tuple(marks)
