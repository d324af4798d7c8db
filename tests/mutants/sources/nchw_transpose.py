"""Images are transposed into a matrix of pixels by channels, normalised there, and carried back."""

import numpy as np


def _to_rows(t):
    return t.transpose(0, 2, 3, 1).reshape(-1, t.shape[1])


def _to_images(rows, shape):
    n, c, h, w = shape
    return rows.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def spatial_batchnorm_forward(x, gamma, beta, eps=1e-5):
    rows = _to_rows(x)
    m = rows.shape[0]  # part: count
    mu = rows.sum(axis=0) / m  # part: mu
    var = ((rows - mu) ** 2).sum(axis=0) / m  # part: var
    istd = np.power(var + eps, -0.5)  # part: std
    xhat = (rows - mu) * istd  # part: xhat
    out = _to_images(gamma * xhat + beta, x.shape)  # part: y
    return out, (xhat, istd, gamma)


def spatial_batchnorm_backward(dout, cache):
    xhat, istd, gamma = cache
    d = _to_rows(dout)
    m = d.shape[0]  # part: count
    dbeta = d.sum(axis=0)  # part: dbeta
    dgamma = (d * xhat).sum(axis=0)  # part: dgamma
    dxhat = d * gamma  # part: dxhat
    drows = m * dxhat  # part: direct
    drows = drows - dxhat.sum(axis=0)  # part: mean-path
    drows = drows - xhat * (dxhat * xhat).sum(axis=0)  # part: var-path
    drows = istd / m * drows  # part: dx
    return _to_images(drows, dout.shape), dgamma, dbeta  # part: return
