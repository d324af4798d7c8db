# shape: CS231n batchnorm_forward with the cache as a dict, None after a test-mode forward; the other exercises still unfilled
# name: batchnorm_forward
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 0
# mode-switch: bn_param["mode"]: "train" or "test"
# returns: tuple (dx, dgamma, dbeta)
# note: batchnorm_backward_alt and the spatial pair are unfilled exercise stubs: "not implemented yet", no failure of batchnorm_backward
# bug-dbeta-averaged: dbeta = dout.sum(axis=0) ==> dbeta = dout.mean(axis=0)
# bug-one-half-missing: dvar = np.sum(dx_hat * c["xmu"], axis=0) * -0.5 * c["ivar"] ** 3 ==> dvar = np.sum(dx_hat * c["xmu"], axis=0) * -1.0 * c["ivar"] ** 3
# bug-eps-outside-root: ivar = 1.0 / np.sqrt(var + eps) ==> ivar = 1.0 / (np.sqrt(var) + eps)
import numpy as np


def conv_forward_naive(x, w, b, conv_param):
    out = None
    ###########################################################################
    # TODO: Implement the convolutional forward pass.                         #
    ###########################################################################
    pass
    cache = (x, w, b, conv_param)
    return out, cache


def batchnorm_forward(x, gamma, beta, bn_param):
  mode = bn_param['mode']
  eps = bn_param.get('eps', 1e-5)
  momentum = bn_param.get('momentum', 0.9)
  N, D = x.shape
  running_mean = bn_param.get('running_mean', np.zeros(D, dtype=x.dtype))
  running_var = bn_param.get('running_var', np.zeros(D, dtype=x.dtype))

  out, cache = None, None
  if mode == 'train':
    # *****START OF YOUR CODE (DO NOT DELETE/MODIFY THIS LINE)*****
    mu = 1. / N * np.sum(x, axis=0)
    xmu = x - mu
    var = 1. / N * np.sum(xmu ** 2, axis=0)
    ivar = 1.0 / np.sqrt(var + eps)
    x_hat = xmu * ivar
    out = gamma * x_hat + beta
    cache = {"x_hat": x_hat, "xmu": xmu, "ivar": ivar, "gamma": gamma}
    running_mean = momentum * running_mean + (1 - momentum) * mu
    running_var = momentum * running_var + (1 - momentum) * var
    # *****END OF YOUR CODE (DO NOT DELETE/MODIFY THIS LINE)*****
  elif mode == 'test':
    out = (x - running_mean) / np.sqrt(running_var + eps) * gamma + beta
  else:
    raise ValueError('Invalid forward batchnorm mode "%s"' % mode)

  bn_param['running_mean'] = running_mean
  bn_param['running_var'] = running_var
  return out, cache


def batchnorm_backward(dout, cache):
  dx, dgamma, dbeta = None, None, None
  # *****START OF YOUR CODE (DO NOT DELETE/MODIFY THIS LINE)*****
  c = cache
  N = dout.shape[0]
  dbeta = dout.sum(axis=0)
  dgamma = (dout * c["x_hat"]).sum(axis=0)
  dx_hat = dout * c["gamma"]
  dvar = np.sum(dx_hat * c["xmu"], axis=0) * -0.5 * c["ivar"] ** 3
  dmu = np.sum(-dx_hat * c["ivar"], axis=0) + dvar * np.mean(-2. * c["xmu"], axis=0)
  dx = dx_hat * c["ivar"] + dvar * 2. * c["xmu"] / N + dmu / N
  # *****END OF YOUR CODE (DO NOT DELETE/MODIFY THIS LINE)*****
  return dx, dgamma, dbeta


def batchnorm_backward_alt(dout, cache):
  dx, dgamma, dbeta = None, None, None
  #############################################################################
  # TODO: After computing the gradient with respect to the centered inputs,   #
  # you should be able to compute gradients with respect to the inputs in a   #
  # single statement; our implementation fits on a single 80-character line.  #
  #############################################################################
  pass
  return dx, dgamma, dbeta


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
  out, cache = None, None
  # TODO: Implement the forward pass for spatial batch normalization.
  pass
  return out, cache


def spatial_batchnorm_backward(dout, cache):
  raise NotImplementedError
