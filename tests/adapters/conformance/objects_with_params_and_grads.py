# shape: layer whose gamma and beta are objects of a size, with .params and .grads; the gradients are made by compute_gradients
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: biased
# running-start: 0, 1
# mode-switch: methods train() and eval() set a text
# returns: dx and gamma.grads, beta.grads
# note: an object's own .shape is a number for beta, a tuple for gamma
# bug-variance-path-sign: (dvar * 2 * centered + dmean) / n ==> (dmean - dvar * 2 * centered) / n
# bug-dgamma-of-centered: self.gamma.grads = (grads * self.norm).sum(axis=0) ==> self.gamma.grads = (grads * centered).sum(axis=0)
# bug-std-without-eps: self.std = np.sqrt(var + self.eps) ==> self.std = np.sqrt(var) + self.eps
import numpy as np


class Tensor:
    def __init__(self, shape, fill=0.0):
        self.shape = shape
        self.params = np.full(shape, fill)
        self.grads = np.zeros(shape)
        self.m = None
        self.v = None


class BatchNorm:
    def __init__(self, in_dim, eps=1e-5, momentum=0.1):
        self.eps = eps
        self.momentum = momentum
        self.regime = "Train"
        self.gamma = Tensor((in_dim,), 1.0)
        self.beta = Tensor(in_dim)
        self.running_mean = np.zeros(in_dim)
        self.running_var = np.ones(in_dim)

    def forward(self, inpt):
        if self.regime == "Eval":
            norm = (inpt - self.running_mean) / np.sqrt(self.running_var + self.eps)
            return self.gamma.params * norm + self.beta.params
        mean, var = inpt.mean(axis=0), inpt.var(axis=0)
        self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
        self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var
        self.std = np.sqrt(var + self.eps)
        self.norm = (inpt - mean) / self.std
        return self.gamma.params * self.norm + self.beta.params

    def __call__(self, *inpt):
        return self.forward(*inpt)

    def compute_gradients(self, grads):
        n = grads.shape[0]
        centered = self.norm * self.std
        dnorm = grads * self.gamma.params
        dvar = -0.5 * (dnorm * centered).sum(axis=0) / self.std**3
        dmean = -(dnorm / self.std).sum(axis=0)
        self.beta.grads = grads.sum(axis=0)
        self.gamma.grads = (grads * self.norm).sum(axis=0)
        return dnorm / self.std + (dvar * 2 * centered + dmean) / n

    def parameters(self):
        return (self.gamma, self.beta)

    def zero_grad(self):
        self.gamma.grads = np.zeros(self.gamma.shape)
        self.beta.grads = np.zeros(self.beta.shape)

    def train(self):
        self.regime = "Train"

    def eval(self):
        self.regime = "Eval"
