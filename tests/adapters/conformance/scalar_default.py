# shape: class with scalar defaults gamma=1.0, beta=0.0 that broadcast; attributes grad_gamma, grad_beta of shape (C,)
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: the first batch
# mode-switch: attribute train_mode (default True)
# returns: dx and attributes grad_gamma, grad_beta
# note: gamma and beta may be arrays of shape (C,); scalars by default, and the gradients have shape (C,) even then
# bug-variance-path-dropped: - self.normed * np.mean(gdx * self.normed, axis=0) ==> - 0
# bug-dgamma-lacks-std: self.grad_gamma = (d * self.normed).sum(axis=0) ==> self.grad_gamma = (d * self.normed / self.sigma).sum(axis=0)
# bug-gamma-added: return self.gamma * self.normed + self.beta # y ==> return self.gamma + self.normed + self.beta # y
import numpy as np

class BatchNorm:
    def __init__(self, gamma=1.0, beta=0.0, eps=1e-5, momentum=0.9):
        self.gamma = gamma
        self.beta = beta
        self.eps = eps
        self.momentum = momentum
        self.train_mode = True
        self.mean_ema = None
        self.var_ema = None

    def forward(self, x):
        if self.train_mode:
            mean = x.mean(axis=0)
            var = x.var(axis=0)
            if self.mean_ema is None:
                self.mean_ema, self.var_ema = mean, var
            else:
                self.mean_ema = self.momentum * self.mean_ema + (1 - self.momentum) * mean
                self.var_ema = self.momentum * self.var_ema + (1 - self.momentum) * var
        else:
            mean, var = self.mean_ema, self.var_ema
        self.sigma = np.sqrt(var + self.eps)
        self.normed = (x - mean) / self.sigma
        return self.gamma * self.normed + self.beta # y

    def backward(self, d):
        self.grad_gamma = (d * self.normed).sum(axis=0)
        self.grad_beta = d.sum(axis=0)
        gdx = d * self.gamma
        return (gdx - np.mean(gdx, axis=0) - self.normed * np.mean(gdx * self.normed, axis=0)) / self.sigma
