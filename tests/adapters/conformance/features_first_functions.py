# shape: features first: Z of shape (n, m), gamma and beta of shape (n, 1); batch_norm_forward(Z, gamma, beta, epsilon) -> (Z_tilde, cache)
# name: batch_norm_forward
# layouts: CN
# parameter-shape: (C, 1)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dZ, dgamma, dbeta)
# bug-divided-by-the-wrong-axis: m = dZ_tilde.shape[1] ==> m = dZ_tilde.shape[0]
# bug-dgamma-with-raw-y: dgamma = np.sum(dZ_tilde * Z_norm, axis=1, keepdims=True) ==> dgamma = np.sum(dZ_tilde * (gamma * Z_norm + beta), axis=1, keepdims=True)
# bug-eps-outside-root: Z_norm = (Z - mu) / np.sqrt(sigma2 + epsilon) ==> Z_norm = (Z - mu) / (np.sqrt(sigma2) + epsilon)
import numpy as np


def batch_norm_forward(Z, gamma, beta, epsilon=1e-8):
    """
    Batch normalization of the linear output Z of one layer.

    Arguments:
    Z -- pre-activation, numpy array of shape (size of current layer, number of examples)
    gamma -- scale, numpy array of shape (size of current layer, 1)
    beta -- shift, numpy array of shape (size of current layer, 1)

    Returns:
    Z_tilde -- normalized, scaled and shifted Z, same shape as Z
    cache -- a python tuple, stored for computing the backward pass efficiently
    """
    m = Z.shape[1]
    mu = np.sum(Z, axis=1, keepdims=True) / m
    sigma2 = np.sum((Z - mu) ** 2, axis=1, keepdims=True) / m
    Z_norm = (Z - mu) / np.sqrt(sigma2 + epsilon)
    Z_tilde = gamma * Z_norm + beta

    assert(Z_tilde.shape == Z.shape)
    cache = (Z, Z_norm, mu, sigma2, gamma, beta, epsilon)

    return Z_tilde, cache


def batch_norm_backward(dZ_tilde, cache):
    """
    Arguments:
    dZ_tilde -- gradient of the cost with respect to Z_tilde
    cache -- tuple of values from batch_norm_forward

    Returns:
    dZ -- same shape as Z;  dgamma, dbeta -- same shape as gamma and beta
    """
    Z, Z_norm, mu, sigma2, gamma, beta, epsilon = cache
    m = dZ_tilde.shape[1]

    dgamma = np.sum(dZ_tilde * Z_norm, axis=1, keepdims=True)
    dbeta = np.sum(dZ_tilde, axis=1, keepdims=True)

    dZ_norm = dZ_tilde * gamma
    dsigma2 = np.sum(dZ_norm * (Z - mu), axis=1, keepdims=True) * (-0.5) * np.power(sigma2 + epsilon, -1.5)
    dmu = np.sum(dZ_norm, axis=1, keepdims=True) * (-1.0 / np.sqrt(sigma2 + epsilon))
    dZ = dZ_norm / np.sqrt(sigma2 + epsilon) + dsigma2 * 2.0 * (Z - mu) / m + dmu / m

    assert (dZ.shape == Z.shape)
    assert (dgamma.shape == gamma.shape)

    return dZ, dgamma, dbeta


def sigmoid(Z):
    A = 1 / (1 + np.exp(-Z))
    return A, Z


def compute_cost(AL, Y):
    m = Y.shape[1]
    cost = (1. / m) * (-np.dot(Y, np.log(AL).T) - np.dot(1 - Y, np.log(1 - AL).T))
    return np.squeeze(cost)
