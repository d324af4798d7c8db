# shape: course class with fprop(inputs), bprop(inputs, outputs, grads) for dx alone, and grads_wrt_params(inputs, grads)
# name: BatchNormalizationLayer
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: dx from bprop; [dgamma, dbeta] from grads_wrt_params
# bug-list-crossed: return [np.sum(grads * self.unit, axis=0), grads.sum(axis=0)] ==> return [grads.sum(axis=0), np.sum(grads * self.unit, axis=0)]
# bug-root-lost: return inner / self.deviation ==> return inner / self.deviation ** 2
# bug-gammas-left-out: scaled = grads * self.gammas ==> scaled = grads
import numpy as np


class LayerWithParameters:
    def fprop(self, inputs):
        raise NotImplementedError

    def bprop(self, inputs, outputs, grads):
        raise NotImplementedError

    def grads_wrt_params(self, inputs, grads):
        raise NotImplementedError


class BatchNormalizationLayer(LayerWithParameters):
    def __init__(self, input_dim, epsilon=1e-6):
        self.gammas, self.betas = np.ones(input_dim), np.zeros(input_dim)
        self.epsilon = epsilon

    @property
    def params(self):
        return [self.gammas, self.betas]

    def fprop(self, inputs):
        self.deviation = np.sqrt(inputs.var(axis=0) + self.epsilon)
        self.unit = (inputs - inputs.mean(axis=0)) / self.deviation
        return self.gammas * self.unit + self.betas

    def bprop(self, inputs, outputs, grads):
        scaled = grads * self.gammas
        inner = scaled - scaled.mean(axis=0) - self.unit * (scaled * self.unit).mean(axis=0)
        return inner / self.deviation

    def grads_wrt_params(self, inputs, grads):
        return [np.sum(grads * self.unit, axis=0), grads.sum(axis=0)]
