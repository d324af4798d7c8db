# shape: mode object with set_phase("TRAIN") / set_phase("TEST"); forward_propagation, backward_propagation
# name: BatchNormalizationLayer
# layouts: NC
# parameter-shape: (1, C)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: method set_phase("TRAIN") / set_phase("TEST")
# returns: dx and attributes d_gamma, d_beta
# bug-bessel-everywhere-but-forward: m = float(error.shape[0]) ==> m = float(error.shape[0] - 1)
# bug-dbeta-summed-over-everything: self.d_beta = np.sum(error, axis=0, keepdims=True) ==> self.d_beta = np.sum(error, keepdims=True) * np.ones_like(self.beta)
# bug-statistics-from-another-axis: variance = np.mean(np.square(data - mean), axis=0, keepdims=True) ==> variance = np.mean(np.square(data - mean), axis=1, keepdims=True)
import numpy as np

TRAIN = "TRAIN"
TEST = "TEST"


class BaseLayer(object):

    def __init__(self):
        self.phase = TRAIN

    def set_phase(self, phase):
        assert phase in ("TRAIN", "TEST")
        self.phase = phase

    def forward_propagation(self, data):
        pass

    def backward_propagation(self, error):
        pass


class SigmoidLayer(BaseLayer):

    def forward_propagation(self, data):
        self.out = 1 / (1 + np.exp(-data))
        return self.out

    def backward_propagation(self, error):
        return error * self.out * (1 - self.out)


class BatchNormalizationLayer(BaseLayer):

    def __init__(self, units, momentum=0.9, epsilon=1e-5):
        super(BatchNormalizationLayer, self).__init__()
        self.gamma = np.ones((1, units))
        self.beta = np.zeros((1, units))
        self.momentum = momentum
        self.epsilon = epsilon
        self.mean_for_test = np.zeros((1, units))
        self.variance_for_test = np.ones((1, units))

    def forward_propagation(self, data):
        if self.phase == "TEST":
            data_norm = (data - self.mean_for_test) / np.sqrt(self.variance_for_test + self.epsilon)
            return self.gamma * data_norm + self.beta
        mean = np.mean(data, axis=0, keepdims=True)
        variance = np.mean(np.square(data - mean), axis=0, keepdims=True)
        self.data_norm = (data - mean) / np.sqrt(variance + self.epsilon)
        self.variance = variance
        self.mean_for_test = self.momentum * self.mean_for_test + (1 - self.momentum) * mean
        self.variance_for_test = self.momentum * self.variance_for_test + (1 - self.momentum) * variance
        return self.gamma * self.data_norm + self.beta

    def backward_propagation(self, error):
        m = float(error.shape[0])
        self.d_gamma = np.sum(error * self.data_norm, axis=0, keepdims=True)
        self.d_beta = np.sum(error, axis=0, keepdims=True)
        return self.gamma / np.sqrt(self.variance + self.epsilon) * (
            error - np.sum(error, axis=0) / m - self.data_norm * np.sum(error * self.data_norm, axis=0) / m)
