"""Lists of Python floats, a column at a time; sums by math.fsum."""

import math

import numpy as np


def forward(x, gamma, beta, eps=1e-5):
    columns, kept = [], []
    for column, g, b in zip(x.T.tolist(), gamma.tolist(), beta.tolist(), strict=True):
        size = len(column)
        centre = math.fsum(column) / size  # part: mu
        moved = [value - centre for value in column]  # part: xc
        power = math.fsum(v * v for v in moved) / size  # part: var
        width = math.sqrt(power + eps)  # part: std
        unit = [v / width for v in moved]  # part: xhat
        columns.append([g * u + b for u in unit])  # part: y
        kept.append((unit, width, g))
    return np.array(columns).T, kept


def backward(dy, cache):
    slopes, dgamma, dbeta = [], [], []
    for column, (unit, width, g) in zip(dy.T.tolist(), cache, strict=True):
        size = len(column)
        total = math.fsum(column)  # part: dbeta
        along = math.fsum(d * u for d, u in zip(column, unit, strict=True))  # part: dgamma
        flat = total / size  # part: mean-path
        tilt = along / size  # part: var-path
        factor = g / width  # part: dx
        slopes.append([factor * (d - flat - tilt * u) for d, u in zip(column, unit, strict=True)])  # part: dx
        dgamma.append(along)
        dbeta.append(total)
    return np.array(slopes).T, np.array(dgamma), np.array(dbeta)
