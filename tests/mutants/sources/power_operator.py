"""Roots and reciprocals by the power operator."""


def bn_train_forward(a, g, b, eps=1e-5):
    m = a.shape[0]  # part: count
    mu = a.sum(0) / m  # part: mu
    v = ((a - mu) ** 2).sum(0) / m  # part: var
    ahat = (a - mu) * (v + eps) ** -0.5  # part: xhat
    return g * ahat + b, (a, mu, v, g, eps)  # part: y


def bn_train_backward(da, cache):
    a, mu, v, g, eps = cache
    m = a.shape[0]  # part: count
    r = (v + eps) ** (-1 / 2)  # part: std
    dg = (da * (a - mu) * r).sum(0)  # part: dgamma
    db = da.sum(0)  # part: dbeta
    dahat = da * g  # part: dxhat
    dv = (dahat * (a - mu)).sum(0) * (-1 / 2) * (v + eps) ** (-3 / 2)  # part: var-path
    dmu = -(dahat * r).sum(0)  # part: mean-path
    dx = (
        dahat * r  # part: direct
        + dv * 2 * (a - mu) * m**-1  # part: var-path
        + dmu * m**-1  # part: mean-path
    )
    return dx, dg, db  # part: return
