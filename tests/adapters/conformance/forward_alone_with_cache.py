# shape: forward alone that returns (y, cache), for a backward that is nowhere; other layers beside it have theirs
# name: batchnorm_forward
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 0
# mode-switch: bn_param["mode"]: "train" or "test"
# returns: (y, cache); no backward
# bug-not-centred: xhat = xmu / std ==> xhat = x / std
# bug-variance-for-deviation: std = np.sqrt(var + eps) ==> std = var + eps
# bug-gamma-added: out = gamma * xhat + beta ==> out = gamma + xhat + beta
import numpy as np


def affine_forward(x, w, b):
    return x.dot(w) + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return dout.dot(w.T), x.T.dot(dout), dout.sum(axis=0)


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    dims = x.shape[1]
    running_mean = bn_param.get("running_mean", np.zeros(dims))
    running_var = bn_param.get("running_var", np.zeros(dims))
    if bn_param["mode"] == "test":
        return gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta, None
    mu = x.mean(axis=0)
    xmu = x - mu
    var = (xmu**2).mean(axis=0)
    std = np.sqrt(var + eps)
    xhat = xmu / std
    out = gamma * xhat + beta
    bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mu
    bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
    return out, (xhat, xmu, std, gamma)
