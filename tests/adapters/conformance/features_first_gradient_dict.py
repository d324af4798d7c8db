# shape: features first, functions on a parameters dict: bn_forward(Z, parameters) -> (A, cache), bn_backward(dA, cache) -> dict "dZ", "dgamma", "dbeta"
# name: bn_forward
# layouts: CN
# parameter-shape: (C, 1)
# eps-source: fixed
# eps: 1e-8
# momentum: none
# running-var: none
# mode-switch: none
# returns: dict (dZ, dgamma, dbeta)
# bug-variance-path-dropped: dmu_var = dvar * 2 * Zc / m ==> dmu_var = 0 * Zc
# bug-dgamma-dbeta-swapped: grads["dgamma"], grads["dbeta"] = dgamma, dbeta ==> grads["dgamma"], grads["dbeta"] = dbeta, dgamma
# bug-mean-over-features: mu = Z.mean(axis=1, keepdims=True) ==> mu = Z.mean(axis=0, keepdims=True)
import numpy as np


def initialize_parameters(n):
    """gamma and beta of one layer, column vectors"""
    return {"gamma": np.ones((n, 1)), "beta": np.zeros((n, 1))}


def bn_forward(Z, parameters):
    gamma = parameters["gamma"]
    beta = parameters["beta"]
    mu = Z.mean(axis=1, keepdims=True)
    Zc = Z - mu
    var = np.mean(Zc * Zc, axis=1, keepdims=True)
    Znorm = Zc / np.sqrt(var + 1e-8)
    cache = {"Zc": Zc, "var": var, "Znorm": Znorm, "gamma": gamma}
    return gamma * Znorm + beta, cache


def bn_backward(dA, cache):
    grads = {}
    Zc, var, gamma = cache["Zc"], cache["var"], cache["gamma"]
    m = dA.shape[1]
    dgamma = np.sum(dA * cache["Znorm"], axis=1, keepdims=True)
    dbeta = np.sum(dA, axis=1, keepdims=True)
    dZn = dA * gamma
    dvar = np.sum(dZn * Zc, axis=1, keepdims=True) * -0.5 * (var + 1e-8) ** -1.5
    dmu_var = dvar * 2 * Zc / m
    dmu = -np.sum(dZn, axis=1, keepdims=True) / np.sqrt(var + 1e-8)
    grads["dZ"] = dZn / np.sqrt(var + 1e-8) + dmu_var + dmu / m
    grads["dgamma"], grads["dbeta"] = dgamma, dbeta
    return grads


def update_parameters(parameters, grads, learning_rate):
    parameters["gamma"] -= learning_rate * grads["dgamma"]
    parameters["beta"] -= learning_rate * grads["dbeta"]
    return parameters
