# shape: framework in one file: x appended to a list at each forward, backward takes and returns lists or arrays; parameters and gradients in dicts
# name: BatchNorm1D
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: attribute trainable: freeze() and unfreeze()
# returns: dx (a list when forward ran more than once) and dict gradients["scaler"], gradients["intercept"]
# note: X is appended at each forward, backward(dLdy) wants one dLdy for each; gradients accumulate until flush_gradients(); float32 data gives dgamma and dbeta in float64
# bug-variance-path-sign-flipped: dX = (N * dXn - dXn.sum(axis=0) - Xn * (dXn * Xn).sum(axis=0)) / (N * np.sqrt(var + ep)) ==> dX = (N * dXn - dXn.sum(axis=0) + Xn * (dXn * Xn).sum(axis=0)) / (N * np.sqrt(var + ep))
# bug-dgamma-with-raw-x: dScaler = np.sum(dLdy * Xn, axis=0) ==> dScaler = np.sum(dLdy * X, axis=0)
# bug-eps-outside-root: N = (X - mean) / np.sqrt(var + ep)  # normalized ==> N = (X - mean) / (np.sqrt(var) + ep)
from abc import ABC, abstractmethod

import numpy as np


class LayerBase(ABC):
    def __init__(self, optimizer=None):
        """An abstract base class inherited by all neural network layers"""
        self.X = []
        self.act_fn = None
        self.trainable = True
        self.optimizer = optimizer

        self.gradients = {}
        self.parameters = {}
        self.derived_variables = {}

    @abstractmethod
    def _init_params(self, **kwargs):
        raise NotImplementedError

    @abstractmethod
    def forward(self, z, **kwargs):
        """Perform a forward pass through the layer"""
        raise NotImplementedError

    @abstractmethod
    def backward(self, out, **kwargs):
        """Perform a backward pass through the layer"""
        raise NotImplementedError

    def freeze(self):
        """Freeze the layer parameters at their current values."""
        self.trainable = False

    def unfreeze(self):
        """Unfreeze the layer parameters so they can be updated."""
        self.trainable = True

    def flush_gradients(self):
        """Erase all the layer's derived variables and gradients."""
        assert self.trainable, "Layer is frozen"
        self.X = []
        for k, v in self.derived_variables.items():
            self.derived_variables[k] = []
        for k, v in self.gradients.items():
            self.gradients[k] = np.zeros_like(v)


class BatchNorm1D(LayerBase):
    def __init__(self, momentum=0.9, epsilon=1e-5, optimizer=None):
        """
        A batch normalization layer for vector inputs.

        Parameters
        ----------
        momentum : float
            The momentum term for the running mean/running std calculations.
            The closer this is to 1, the less weight will be given to the
            mean/std of the current batch. Default is 0.9.
        epsilon : float
            A small smoothing constant to use during computation of ``norm(X)``
            to avoid divide-by-zero errors. Default is 1e-5.
        """
        super().__init__(optimizer)
        self.n_in = None
        self.n_out = None
        self.epsilon = epsilon
        self.momentum = momentum
        self.parameters = {"scaler": None, "intercept": None, "running_var": None, "running_mean": None}
        self.is_initialized = False

    def _init_params(self):
        self.parameters = {
            "scaler": np.ones(self.n_in),
            "intercept": np.zeros(self.n_in),
            "running_mean": np.zeros(self.n_in),
            "running_var": np.ones(self.n_in),
        }
        self.gradients = {"scaler": np.zeros(self.n_in), "intercept": np.zeros(self.n_in)}
        self.is_initialized = True

    def forward(self, X, retain_derived=True):
        """Compute the layer output on a single minibatch of shape (n_ex, n_in)."""
        if not self.is_initialized:
            self.n_in = self.n_out = X.shape[1]
            self._init_params()

        ep = self.epsilon
        mm = self.momentum
        rm, rv = self.parameters["running_mean"], self.parameters["running_var"]

        mean, var = rm, rv
        if self.trainable and retain_derived:
            mean, var = X.mean(axis=0), X.var(axis=0)
            self.parameters["running_mean"] = mm * rm + (1.0 - mm) * mean
            self.parameters["running_var"] = mm * rv + (1.0 - mm) * var
            self.X.append(X)

        N = (X - mean) / np.sqrt(var + ep)  # normalized
        return self.parameters["scaler"] * N + self.parameters["intercept"]

    def backward(self, dLdy, retain_grads=True):
        assert self.trainable, "Layer is frozen"
        if not isinstance(dLdy, list):
            dLdy = [dLdy]

        dX = []
        for dy, x in zip(dLdy, self.X):
            dx, dScaler, dIntercept = self._bwd(dy, x)
            dX.append(dx)
            if retain_grads:
                self.gradients["scaler"] += dScaler
                self.gradients["intercept"] += dIntercept

        return dX[0] if len(self.X) == 1 else dX

    def _bwd(self, dLdy, X):
        scaler = self.parameters["scaler"]
        ep = self.epsilon
        mean, var = X.mean(axis=0), X.var(axis=0)

        N = X.shape[0]
        Xn = (X - mean) / np.sqrt(var + ep)
        dIntercept = dLdy.sum(axis=0)
        dScaler = np.sum(dLdy * Xn, axis=0)
        dXn = dLdy * scaler
        dX = (N * dXn - dXn.sum(axis=0) - Xn * (dXn * Xn).sum(axis=0)) / (N * np.sqrt(var + ep))
        return dX, dScaler, dIntercept
