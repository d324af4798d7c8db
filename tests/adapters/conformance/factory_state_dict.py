# shape: factory whose two functions share one dict, state["gamma"], state["beta"], state["dgamma"], state["dbeta"]
# name: make_batchnorm
# layouts: NC
# parameter-shape: (1, C)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training (default True)
# returns: dx; state["dgamma"] and state["dbeta"]
# bug-gamma-forgotten: dxhat = dy * state["gamma"] ==> dxhat = dy
# bug-dbeta-of-xhat: state["dbeta"] = dy.sum(axis=0, keepdims=True) ==> state["dbeta"] = xhat.sum(axis=0, keepdims=True)
# bug-square-left-out: xhat * (dxhat * xhat).mean(axis=0) ==> xhat * dxhat.mean(axis=0)
import numpy as np


def make_batchnorm(width, eps=1e-5, momentum=0.9):
    state = {
        "gamma": np.ones((1, width)),
        "beta": np.zeros((1, width)),
        "running_mean": np.zeros((1, width)),
        "running_var": np.ones((1, width)),
    }

    def forward(x, training=True):
        if not training:
            xhat = (x - state["running_mean"]) / np.sqrt(state["running_var"] + eps)
            return state["gamma"] * xhat + state["beta"]
        mean, var = x.mean(axis=0, keepdims=True), x.var(axis=0, keepdims=True)
        state["running_mean"] = momentum * state["running_mean"] + (1 - momentum) * mean
        state["running_var"] = momentum * state["running_var"] + (1 - momentum) * var
        state["inv"] = 1 / np.sqrt(var + eps)
        state["xhat"] = (x - mean) * state["inv"]
        return state["gamma"] * state["xhat"] + state["beta"]

    def backward(dy):
        xhat = state["xhat"]
        state["dgamma"] = (dy * xhat).sum(axis=0, keepdims=True)
        state["dbeta"] = dy.sum(axis=0, keepdims=True)
        dxhat = dy * state["gamma"]
        return state["inv"] * (dxhat - dxhat.mean(axis=0) - xhat * (dxhat * xhat).mean(axis=0))

    return forward, backward
