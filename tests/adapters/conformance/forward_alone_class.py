# shape: class with a forward alone: train() and eval(), running statistics as in PyTorch, no backward
# name: BatchNorm1d
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: unbiased
# running-start: 0, 1
# mode-switch: methods train() and eval()
# returns: y; no backward
# bug-whole-batch: var = x.var(axis=0) ==> var = x.var()
# bug-root-forgotten: np.sqrt(var + self.eps) ==> (var + self.eps)
# bug-bias-subtracted: * self.weight + self.bias ==> * self.weight - self.bias
import numpy as np


class BatchNorm1d:
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = np.ones(num_features), np.zeros(num_features)
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)
        self.training = True

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def forward(self, x):
        if self.training:
            mean = x.mean(axis=0)
            var = x.var(axis=0)
            self._update(mean, var * len(x) / max(len(x) - 1, 1))
        else:
            mean, var = self.running_mean, self.running_var
        return (x - mean) / np.sqrt(var + self.eps) * self.weight + self.bias

    def _update(self, mean, var):
        self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
        self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var
