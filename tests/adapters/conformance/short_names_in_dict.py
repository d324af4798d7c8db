# shape: functions with one dict of parameters, p["g"] and p["b"]; the gradients come back in a dict of the same keys
# name: bn_fprop
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: (dx, {"g": dgamma, "b": dbeta})
# bug-keys-crossed: {"g": np.sum(up * hat, axes), "b": np.sum(up, axes)} ==> {"b": np.sum(up * hat, axes), "g": np.sum(up, axes)}
# bug-gamma-left-out: inner = up * p["g"] ==> inner = up
# bug-unbiased: var = x.var(axes) ==> var = x.var(axes, ddof=1)
import numpy as np


def bn_fprop(x, p, eps=1e-5):
    axes = tuple(range(x.ndim - 1))
    var = x.var(axes)
    hat = (x - x.mean(axes)) / np.sqrt(var + eps)
    return p["g"] * hat + p["b"], (hat, var + eps, axes, p)


def bn_bprop(up, cache):
    hat, spread, axes, p = cache
    inner = up * p["g"]
    out = inner - inner.mean(axes) - hat * (inner * hat).mean(axes)
    return out / np.sqrt(spread), {"g": np.sum(up * hat, axes), "b": np.sum(up, axes)}
