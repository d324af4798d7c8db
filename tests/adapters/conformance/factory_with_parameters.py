# shape: factory: batchnorm_layer(dim) -> (params, forward, backward); params is a dict, forward(params, x), backward(params, grad) -> (dx, grads)
# name: batchnorm_layer
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dict of scale and shift)
# note: functional style; the saved tensors live in the closure
# bug-factor-two-missing: dcentred = dxhat / std + 2 * centred * dvar / n ==> dcentred = dxhat / std + centred * dvar / n
# bug-dgamma-dbeta-swapped: {"scale": dscale, "shift": dshift} ==> {"scale": dshift, "shift": dscale}
# bug-scale-squared: return params["scale"] * xhat + params["shift"] ==> return params["scale"] ** 2 * xhat + params["shift"]
import numpy as np


def batchnorm_layer(dim, eps=1e-5):
    params = {"scale": np.ones(dim), "shift": np.zeros(dim)}
    tape = []

    def forward(params, x):
        centred = x - x.mean(axis=0)
        std = np.sqrt((centred**2).mean(axis=0) + eps)
        xhat = centred / std
        tape[:] = [centred, std, xhat]
        return params["scale"] * xhat + params["shift"]

    def backward(params, grad):
        centred, std, xhat = tape
        n = grad.shape[0]
        dscale = np.sum(grad * xhat, axis=0)
        dshift = np.sum(grad, axis=0)
        dxhat = grad * params["scale"]
        dvar = -0.5 * np.sum(dxhat * centred, axis=0) / std**3
        dcentred = dxhat / std + 2 * centred * dvar / n
        return dcentred - dcentred.mean(axis=0), {"scale": dscale, "shift": dshift}

    return params, forward, backward
