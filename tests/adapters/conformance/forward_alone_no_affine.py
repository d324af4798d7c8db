# shape: class without gamma, beta and state that is called on the data: no backward
# name: BatchNormalization
# layouts: NCHW
# parameter-shape: none
# eps-source: attribute
# eps: 1e-8
# momentum: none
# running-var: none
# mode-switch: none
# returns: y; no backward
# bug-map-by-map: mu = x.mean(axis=(0, 2, 3), keepdims=True) ==> mu = x.mean(axis=(2, 3), keepdims=True)
# bug-second-moment: ((x - mu) ** 2).mean(axis=(0, 2, 3) ==> (x**2).mean(axis=(0, 2, 3)
# bug-eps-squared: + self.eps) ==> + self.eps**0.5)
import numpy as np


class BatchNormalization:
    eps = 1e-8

    def __call__(self, x):
        mu = x.mean(axis=(0, 2, 3), keepdims=True)
        var = ((x - mu) ** 2).mean(axis=(0, 2, 3), keepdims=True)
        return (x - mu) / np.sqrt(var + self.eps)
