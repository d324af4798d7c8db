# shape: class BatchNorm2D: layer(x), backwards(da) -> dx; a property grads shows the dict that the layer calls otherwise
# name: BatchNorm2D
# layouts: NCHW
# parameter-shape: (1, C, 1, 1)
# eps-source: argument
# eps: -
# momentum: new
# running-var: biased
# running-start: 0, 1
# mode-switch: attribute mode ("train")
# returns: dx and attributes grads['gamma'], grads['beta']
# bug-dx-over-batch-axis-only: da_hat.mean(axis=AXES, keepdims=True) ==> da_hat.mean(axis=0, keepdims=True)
# bug-dbeta-is-mean: da.sum(axis=AXES, keepdims=True) ==> da.mean(axis=AXES, keepdims=True)
# bug-eps-outside-root: np.sqrt(var + self.epsilon) ==> (np.sqrt(var) + self.epsilon)
import numpy as np

AXES = (0, 2, 3)


class BatchNorm2D:
    def __init__(self, channels, momentum=0.1, epsilon=1e-4):
        shape = (1, channels, 1, 1)
        self.mode = "train"
        self.momentum, self.epsilon = momentum, epsilon
        self.weights = {"gamma": np.ones(shape), "beta": np.zeros(shape)}
        self.running_mean, self.running_var = np.zeros(shape), np.ones(shape)
        self.cached_grad = {}

    @property
    def grads(self):
        return self.cached_grad

    def __call__(self, x):
        if self.mode == "train":
            mean, var = x.mean(axis=AXES, keepdims=True), x.var(axis=AXES, keepdims=True)
            self.running_mean = self.running_mean + self.momentum * (mean - self.running_mean)
            self.running_var = self.running_var + self.momentum * (var - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        self.deviation = np.sqrt(var + self.epsilon)
        self.x_hat = (x - mean) / self.deviation
        return self.weights["gamma"] * self.x_hat + self.weights["beta"]

    def backwards(self, da):
        sums = (da * self.x_hat).sum(axis=AXES, keepdims=True)
        self.cached_grad = {"gamma": sums, "beta": da.sum(axis=AXES, keepdims=True)}
        da_hat = da * self.weights["gamma"]
        along = self.x_hat * (da_hat * self.x_hat).mean(axis=AXES, keepdims=True)
        return (da_hat - da_hat.mean(axis=AXES, keepdims=True) - along) / self.deviation
