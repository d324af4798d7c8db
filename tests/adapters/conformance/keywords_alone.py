# shape: functions of keywords alone, forward(x, **kw) and backward(dout, **saved), with the entries of the dict that the forward returned
# name: bn_forward
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: dict (dx, dgamma, dbeta)
# bug-gamma-of-mean: "dgamma": (dout * z).sum(axis=0) ==> "dgamma": (dout * z).mean(axis=0)
# bug-slope-forgotten: d = dout * saved["gamma"] ==> d = dout
# bug-eps-doubled: kw.get("eps", 1e-5) ==> 2 * kw.get("eps", 1e-5)
import numpy as np


def bn_forward(x, **kw):
    r = (x.var(axis=0) + kw.get("eps", 1e-5)) ** -0.5
    z = (x - x.mean(axis=0)) * r
    return kw["gamma"] * z + kw["beta"], dict(z=z, r=r, gamma=kw["gamma"])


def bn_backward(dout, **saved):
    z = saved["z"]
    d = dout * saved["gamma"]
    dx = saved["r"] * (d - d.mean(axis=0) - z * (d * z).mean(axis=0))
    return {"dx": dx, "dgamma": (dout * z).sum(axis=0), "dbeta": dout.sum(axis=0)}
