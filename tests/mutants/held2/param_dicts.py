"""Functions over dicts: parameters, statistics and gradients each have one."""

import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    params = {"scale": gamma, "shift": beta}
    stats = moments(x, eps)
    unit = (x - stats["mean"]) / stats["std"]  # part: xhat
    out = params["scale"] * unit + params["shift"]  # part: y
    return out, {"x": x, "params": params, "stats": stats}


def moments(x, eps):
    rows = x.shape[0]  # part: count
    mean = np.ones(rows) @ x / rows  # part: mu
    second = np.ones(rows) @ (x - mean) ** 2 / rows  # part: var
    return {"mean": mean, "std": np.sqrt(second + eps)}  # part: std


def batchnorm_backward(dout, cache):
    x, params, stats = cache["x"], cache["params"], cache["stats"]
    rows = x.shape[0]  # part: count
    unit = (x - stats["mean"]) / stats["std"]  # part: xhat
    grads = {"shift": np.ones(rows) @ dout}  # part: dbeta
    grads["scale"] = np.ones(rows) @ (dout * unit)  # part: dgamma
    pull = dout * rows  # part: direct
    pull = pull - grads["shift"]  # part: mean-path
    pull = pull - grads["scale"] * unit  # part: var-path
    dx = pull * params["scale"] / (rows * stats["std"])  # part: dx
    return dx, grads["scale"], grads["shift"]  # part: return
