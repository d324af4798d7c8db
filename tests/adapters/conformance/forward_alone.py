# shape: forward alone, one function that returns y: gradients are not verified
# name: batch_normalize
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: y; no backward
# bug-unbiased-variance: deviation.std(axis=batch) ** 2 ==> deviation.std(axis=batch, ddof=1) ** 2
# bug-eps-outside: np.sqrt(variance + epsilon) ==> (np.sqrt(variance) + epsilon)
# bug-beta-inside: scale * deviation * inverse + shift ==> scale * (deviation * inverse + shift)
import numpy as np


def batch_normalize(inputs, scale, shift, epsilon=1e-6):
    batch = tuple(range(inputs.ndim - 1))
    deviation = inputs - inputs.mean(axis=batch)
    variance = deviation.std(axis=batch) ** 2
    inverse = 1 / np.sqrt(variance + epsilon)
    return scale * deviation * inverse + shift
