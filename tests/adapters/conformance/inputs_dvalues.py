# shape: forward(inputs, training) leaves .output, backward(dvalues) leaves .dinputs, .dgamma, .dbeta; nothing is returned
# name: Layer_BatchNorm
# layouts: NC
# parameter-shape: (1, C)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training (required, positional)
# returns: attributes dinputs, dgamma, dbeta (y as attribute output)
# bug-gamma-divided-in-dx: dnorm = dvalues * self.gamma ==> dnorm = dvalues / self.gamma
# bug-dgamma-averaged: self.dgamma = np.sum(dvalues * self.norm, axis=0, keepdims=True) ==> self.dgamma = np.mean(dvalues * self.norm, axis=0, keepdims=True)
# bug-beta-lost: self.output = self.gamma * self.norm + self.beta ==> self.output = self.gamma * self.norm
import numpy as np


# Dense layer
class Layer_Dense:

    # Layer initialization
    def __init__(self, n_inputs, n_neurons):
        # Initialize weights and biases
        self.weights = 0.01 * np.random.randn(n_inputs, n_neurons)
        self.biases = np.zeros((1, n_neurons))

    # Forward pass
    def forward(self, inputs, training):
        # Remember input values
        self.inputs = inputs
        self.output = np.dot(inputs, self.weights) + self.biases

    # Backward pass
    def backward(self, dvalues):
        # Gradients on parameters
        self.dweights = np.dot(self.inputs.T, dvalues)
        self.dbiases = np.sum(dvalues, axis=0, keepdims=True)
        # Gradient on values
        self.dinputs = np.dot(dvalues, self.weights.T)


# Batch normalization
class Layer_BatchNorm:

    # Layer initialization
    def __init__(self, n_inputs, momentum=0.9, epsilon=1e-7):
        # Initialize scale and shift
        self.gamma = np.ones((1, n_inputs))
        self.beta = np.zeros((1, n_inputs))
        # Statistics for prediction
        self.mean_mov = np.zeros((1, n_inputs))
        self.var_mov = np.ones((1, n_inputs))
        self.momentum = momentum
        self.epsilon = epsilon

    # Forward pass
    def forward(self, inputs, training):
        # Remember input values
        self.inputs = inputs
        # If not in the training mode - use moving statistics
        if not training:
            norm = (inputs - self.mean_mov) / np.sqrt(self.var_mov + self.epsilon)
            self.tested = self.gamma * norm
            self.tested = self.tested + self.beta
            self.output = self.tested
            return
        # Batch statistics
        mean = np.mean(inputs, axis=0, keepdims=True)
        var = np.var(inputs, axis=0, keepdims=True)
        self.mean_mov = self.momentum * self.mean_mov + (1 - self.momentum) * mean
        self.var_mov = self.momentum * self.var_mov + (1 - self.momentum) * var
        # Normalize, scale and shift
        self.std = np.sqrt(var + self.epsilon)
        self.norm = (inputs - mean) / self.std
        self.output = self.gamma * self.norm + self.beta

    # Backward pass
    def backward(self, dvalues):
        samples = len(dvalues)
        # Gradients on parameters
        self.dgamma = np.sum(dvalues * self.norm, axis=0, keepdims=True)
        self.dbeta = np.sum(dvalues, axis=0, keepdims=True)
        # Gradient on values
        dnorm = dvalues * self.gamma
        self.dinputs = (samples * dnorm - np.sum(dnorm, axis=0) - self.norm * np.sum(dnorm * self.norm, axis=0)) / samples / self.std
