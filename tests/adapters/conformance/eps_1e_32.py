# shape: class with an odd hard-coded eps of 1e-32 and snake-case verbs: propagate, backpropagate
# name: BatchNormalisation
# layouts: NC
# parameter-shape: (C,)
# eps-source: fixed
# eps: 1e-32
# momentum: none
# running-var: none
# mode-switch: none
# returns: dx and attributes gradient_gamma, gradient_beta
# bug-gamma-twice-in-dx: factor = self.gamma / self.deviation ==> factor = self.gamma ** 2 / self.deviation
# bug-dgamma-dbeta-swapped: self.gradient_gamma, self.gradient_beta = with_normed, plain ==> self.gradient_gamma, self.gradient_beta = plain, with_normed
# bug-double-root: self.deviation = np.sqrt(variance + 1e-32) ==> self.deviation = np.sqrt(np.sqrt(variance + 1e-32))
import numpy as np


class BatchNormalisation:
    """Normalises every feature over the batch; 1e-32 only avoids the division by zero."""

    def __init__(self, features):
        self.gamma = np.ones(features)
        self.beta = np.zeros(features)

    def propagate(self, batch):
        average = np.average(batch, axis=0)
        variance = np.average((batch - average) ** 2, axis=0)
        self.deviation = np.sqrt(variance + 1e-32)
        self.normed = (batch - average) / self.deviation
        return self.normed * self.gamma + self.beta

    def backpropagate(self, delta):
        plain = np.sum(delta, axis=0)
        with_normed = np.sum(delta * self.normed, axis=0)
        self.gradient_gamma, self.gradient_beta = with_normed, plain
        factor = self.gamma / self.deviation
        size = len(delta)
        return factor * (delta - plain / size - self.normed * with_normed / size)
