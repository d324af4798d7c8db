# shape: functions bn_fwd(x, scale, shift) with eps as a module global and the cache as a list
# name: bn_fwd
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: (C,)
# eps-source: fixed
# eps: 1e-2
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dscale, dshift)
# bug-eps-missing-in-backward: scale / np.sqrt(v + EPSILON) * (g - g.mean(0) - n * (g * n).mean(0)) ==> scale / np.sqrt(v) * (g - g.mean(0) - n * (g * n).mean(0))
# bug-dbeta-times-gamma: dshift = g.sum(0) ==> dshift = (g * scale).sum(0)
# bug-shift-before-scale: return scale * normed + shift, ==> return scale * (normed + shift),
import numpy as np

EPSILON = 0.01


def bn_fwd(x, scale, shift):
    flat = x.reshape(-1, x.shape[-1])
    m, v = flat.mean(0), flat.var(0)
    normed = (x - m) / np.sqrt(v + EPSILON)
    return scale * normed + shift, [normed, v, scale]


def bn_bwd(grad_out, saved):
    normed, v, scale = saved
    n = normed.reshape(-1, normed.shape[-1])
    g = grad_out.reshape(n.shape)
    dscale = (g * n).sum(0)
    dshift = g.sum(0)
    dx = scale / np.sqrt(v + EPSILON) * (g - g.mean(0) - n * (g * n).mean(0))
    return dx.reshape(grad_out.shape), dscale, dshift
