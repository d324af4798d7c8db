# shape: layer that wants build(input_shape) before the first call; call(inputs, training=False), weights in a dict
# name: BatchNorm
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training, keyword (default False)
# returns: dx and dict gradients["gamma"], gradients["beta"]
# note: without build(input_shape) a call raises RuntimeError; backward after a call with training=False raises, too
# bug-mean-path-dropped: grad_centered - grad_centered.mean(axis=self.reduce)  # the mean path ==> grad_centered
# bug-dgamma-with-raw-y: self.gradients["gamma"] = (grad * self.xhat).sum(axis=self.reduce) ==> self.gradients["gamma"] = (grad * (self.xhat * self.weights["gamma"] + self.weights["beta"])).sum(axis=self.reduce)
# bug-epsilon-squared: self.stddev = np.sqrt(var + self.epsilon) ==> self.stddev = np.sqrt(var + self.epsilon * self.epsilon)
import numpy as np


class BatchNorm:
    """Keras-like layer: parameters exist once the input shape is known."""

    def __init__(self, momentum=0.99, epsilon=1e-3, name="batch_norm"):
        self.momentum = momentum
        self.epsilon = epsilon
        self.name = name
        self.built = False
        self.weights = {}
        self.gradients = {}

    def build(self, input_shape):
        dim = input_shape[-1]
        self.reduce = tuple(range(len(input_shape) - 1))
        self.weights["gamma"] = np.ones(dim)
        self.weights["beta"] = np.zeros(dim)
        self.moving_mean = np.zeros(dim)
        self.moving_variance = np.ones(dim)
        self.built = True

    def __call__(self, inputs, **kwargs):
        return self.call(inputs, **kwargs)

    def call(self, inputs, training=False):
        if not self.built:
            raise RuntimeError(f"{self.name}: call build(input_shape) first")
        if training:
            mean = inputs.mean(axis=self.reduce)
            var = inputs.var(axis=self.reduce)
            self.moving_mean = self.moving_mean * self.momentum + mean * (1 - self.momentum)
            self.moving_variance = self.moving_variance * self.momentum + var * (1 - self.momentum)
            self.stddev = np.sqrt(var + self.epsilon)
            self.xhat = (inputs - mean) / self.stddev
            return self.weights["gamma"] * self.xhat + self.weights["beta"]
        self.xhat = None
        scale = self.weights["gamma"] / np.sqrt(self.moving_variance + self.epsilon)
        return inputs * scale + (self.weights["beta"] - self.moving_mean * scale)

    def backward(self, grad):
        if self.xhat is None:
            raise RuntimeError("backward needs a call with training=True before it")
        self.gradients["gamma"] = (grad * self.xhat).sum(axis=self.reduce)
        self.gradients["beta"] = grad.sum(axis=self.reduce)
        dxhat = grad * self.weights["gamma"]
        grad_centered = (dxhat - self.xhat * (dxhat * self.xhat).mean(axis=self.reduce)) / self.stddev
        dx = grad_centered - grad_centered.mean(axis=self.reduce)  # the mean path
        return dx
