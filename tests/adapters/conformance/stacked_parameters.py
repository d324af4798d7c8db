# shape: class with beta and gamma as the two rows of one array, theta; their gradients are the rows of dtheta
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: dx; the rows of the attribute dtheta, dbeta first
# bug-rows-crossed: np.stack([dy.sum(axis=0), (dy * self.unit).sum(axis=0)]) ==> np.stack([(dy * self.unit).sum(axis=0), dy.sum(axis=0)])
# bug-one-mean: t - t.mean(axis=0) - ==> t -
# bug-first-row: t = dy * self.theta[1] ==> t = dy * self.theta[0]
import numpy as np


class BatchNorm:
    def __init__(self, width, eps=1e-5):
        self.theta = np.stack([np.zeros(width), np.ones(width)])
        self.dtheta = None
        self.eps = eps

    def forward(self, x):
        self.rate = 1 / np.sqrt(x.var(axis=0) + self.eps)
        self.unit = (x - x.mean(axis=0)) * self.rate
        return self.theta[1] * self.unit + self.theta[0]

    def backward(self, dy):
        self.dtheta = np.stack([dy.sum(axis=0), (dy * self.unit).sum(axis=0)])
        t = dy * self.theta[1]
        return self.rate * (t - t.mean(axis=0) - self.unit * (t * self.unit).mean(axis=0))
