# shape: course script: imports of matplotlib, PIL and IPython at the top that Batch Normalization does not need
# name: batch_norm
# needs: matplotlib, PIL, IPython (imports only)
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (dx, dgamma, dbeta)
# note: where one of these is not installed, it suffices to put an empty module in its place
# bug-gamma-missing-in-dx: dh = dy * gamma ==> dh = dy
# bug-dbeta-averaged: dbeta = np.sum(dy, 0) ==> dbeta = np.mean(dy, 0)
# bug-unbiased-variance: var = np.var(x, 0) ==> var = np.var(x, 0, ddof=1)
import numpy as np
import matplotlib.pyplot as plt
from IPython.display import clear_output, display
from PIL import Image

plt.rcParams['figure.figsize'] = (10.0, 8.0)  # set default size of plots
plt.rcParams['image.cmap'] = 'gray'


def show_filters(path):
    img = Image.open(path)
    clear_output(wait=True)
    plt.imshow(np.asarray(img))
    plt.show()


def batch_norm(x, gamma, beta, eps=1e-5):
    mu = np.mean(x, 0)
    var = np.var(x, 0)
    h = (x - mu) / np.sqrt(var + eps)
    cache = (h, var, gamma, eps)
    return gamma * h + beta, cache


def batch_norm_backward(dy, cache):
    h, var, gamma, eps = cache
    dgamma = np.sum(dy * h, 0)
    dbeta = np.sum(dy, 0)
    dh = dy * gamma
    dx = (dh - np.mean(dh, 0) - h * np.mean(dh * h, 0)) / np.sqrt(var + eps)
    return dx, dgamma, dbeta
