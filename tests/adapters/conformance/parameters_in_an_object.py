# shape: functions with an object of parameters (params.gamma, params.beta); the gradients come back as another object
# name: bn_forward
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: (dx, Gradients(gamma, beta))
# bug-fields-crossed: Gradients(np.sum(dy * saved.unit, axis=0), np.sum(dy, axis=0)) ==> Gradients(np.sum(dy, axis=0), np.sum(dy * saved.unit, axis=0))
# bug-mean-of-gradient: t -= t.mean(axis=0) ==> t -= 0.0
# bug-no-square: spread = (centred * centred).mean(axis=0) ==> spread = np.abs(centred).mean(axis=0)
from dataclasses import dataclass

import numpy as np


@dataclass
class Parameters:
    gamma: np.ndarray
    beta: np.ndarray


@dataclass
class Gradients:
    gamma: np.ndarray
    beta: np.ndarray


@dataclass
class Saved:
    unit: np.ndarray
    rate: np.ndarray


def bn_forward(params: Parameters, x: np.ndarray, eps: float = 1e-5):
    centred = x - x.mean(axis=0)
    spread = (centred * centred).mean(axis=0)
    rate = 1 / np.sqrt(spread + eps)
    return params.gamma * centred * rate + params.beta, Saved(centred * rate, rate)


def bn_backward(params: Parameters, saved: Saved, dy: np.ndarray):
    t = params.gamma * dy
    along = (t * saved.unit).mean(axis=0)
    t -= t.mean(axis=0)
    return saved.rate * (t - saved.unit * along), Gradients(np.sum(dy * saved.unit, axis=0), np.sum(dy, axis=0))
