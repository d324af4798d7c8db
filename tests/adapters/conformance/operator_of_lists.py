# shape: operator of an exchange format: forward takes the running statistics and returns a list with the new ones; backward takes lists of gradients, inputs and outputs
# name: BatchNormalizationOp
# layouts: NC, NCL, NCHW, NCDHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: none
# returns: list [dx, dscale, dbias, 0, 0]
# note: backward(grads, fwd_inputs, fwd_outputs): one gradient for each output, all that the forward was given, all that it returned
# bug-variance-path-dropped: (g - g.mean(axis=axes, keepdims=True) - xhat * (g * xhat).mean(axis=axes, keepdims=True)) ==> (g - g.mean(axis=axes, keepdims=True))
# bug-dscale-of-centred: dscale = np.sum(grads[0] * xhat, axis=axes) ==> dscale = np.sum(grads[0] * (x - mean.reshape(shape)), axis=axes)
# bug-bias-added-first: out = scale.reshape(shape) * xhat + bias.reshape(shape) ==> out = scale.reshape(shape) * (xhat + bias.reshape(shape))
import numpy as np


class BatchNormalizationOp:
    def __init__(self, input_descriptors, output_descriptors, epsilon=1e-5, momentum=0.9):
        self.input_descriptors = input_descriptors
        self.output_descriptors = output_descriptors
        self.epsilon = epsilon
        self.momentum = momentum

    def forward(self, X, scale, bias, mean, var):
        axes, shape = self._places(X)
        saved_mean, saved_var = X.mean(axis=axes), X.var(axis=axes)
        xhat = (X - saved_mean.reshape(shape)) / np.sqrt(saved_var.reshape(shape) + self.epsilon)
        out = scale.reshape(shape) * xhat + bias.reshape(shape)
        running_mean = mean * self.momentum + saved_mean * (1 - self.momentum)
        running_var = var * self.momentum + saved_var * (1 - self.momentum)
        return [out, running_mean, running_var, saved_mean, saved_var]

    def backward(self, grads, fwd_inputs, fwd_outputs):
        x, scale = fwd_inputs[0], fwd_inputs[1]
        mean, var = fwd_outputs[3], fwd_outputs[4]
        axes, shape = self._places(x)
        std = np.sqrt(var.reshape(shape) + self.epsilon)
        xhat = (x - mean.reshape(shape)) / std
        dbias = np.sum(grads[0], axis=axes)
        dscale = np.sum(grads[0] * xhat, axis=axes)
        g = grads[0] * scale.reshape(shape)
        dx = (g - g.mean(axis=axes, keepdims=True) - xhat * (g * xhat).mean(axis=axes, keepdims=True)) / std
        return [dx, dscale, dbias, np.zeros_like(fwd_inputs[3]), np.zeros_like(fwd_inputs[4])]

    def _places(self, x):
        return (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
