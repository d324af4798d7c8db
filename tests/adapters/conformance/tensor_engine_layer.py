# shape: mini autograd engine with one fused node: class BatchNorm1d layer, gamma and beta are Tensors; out.backward(grad)
# name: BatchNorm1d
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: unbiased
# running-start: 0, 1
# mode-switch: methods train() and eval()
# returns: .grad of the Tensors x, weight, bias after y.backward(grad)
# bug-one-half-missing: dvar = (dxhat * xc).sum(0) * -0.5 * (var + self.eps) ** -1.5 ==> dvar = (dxhat * xc).sum(0) * -1.0 * (var + self.eps) ** -1.5
# bug-dbeta-unsummed-but-last: self.bias.accumulate(grad.sum(0)) ==> self.bias.accumulate(grad[-1])
# bug-mean-over-features: mean = x.data.mean(0) ==> mean = x.data.mean(1, keepdims=True)
import numpy as np


class Tensor:
    def __init__(self, data, parents=(), grad_fn=None):
        self.data = np.array(data)
        self.grad = None
        self.parents = parents
        self.grad_fn = grad_fn

    def zero_grad(self):
        self.grad = None

    def accumulate(self, g):
        self.grad = g if self.grad is None else self.grad + g

    def backward(self, grad=None):
        """Depth first; every node here has one consumer."""
        if grad is None:
            grad = np.ones_like(self.data)
        self.accumulate(grad)
        if self.grad_fn is not None:
            g = self.grad_fn(grad)
            for p in self.parents:
                p.backward(g)


class Module:
    training = True

    def train(self, mode=True):
        self.training = mode
        return self

    def eval(self):
        return self.train(False)

    def __call__(self, x):
        return self.forward(x)

    def parameters(self):
        return [v for v in vars(self).values() if isinstance(v, Tensor)]


class ReLU(Module):
    def forward(self, x):
        mask = x.data > 0
        return Tensor(x.data * mask, (x,), lambda g: g * mask)


class BatchNorm1d(Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.weight = Tensor(np.ones(num_features))
        self.bias = Tensor(np.zeros(num_features))
        self.eps = eps
        self.momentum = momentum
        self.running_mean = np.zeros(num_features)
        self.running_var = np.ones(num_features)

    def forward(self, x):
        if not self.training:
            scale = 1 / np.sqrt(self.running_var + self.eps)
            xhat = (x.data - self.running_mean) * scale

            def eval_backward(grad):
                self.weight.accumulate((grad * xhat).sum(0))
                self.bias.accumulate(grad.sum(axis=0))
                return grad * self.weight.data * scale

            return Tensor(self.weight.data * xhat + self.bias.data, (x,), eval_backward)

        n = len(x.data)
        mean = x.data.mean(0)
        xc = x.data - mean
        var = (xc ** 2).mean(0)
        xhat = xc / np.sqrt(var + self.eps)
        self.running_mean = self.running_mean * (1 - self.momentum) + self.momentum * mean
        self.running_var = self.running_var * (1 - self.momentum) + self.momentum * var * n / max(1, n - 1)

        def grad_fn(grad):
            self.weight.accumulate((grad * xhat).sum(axis=0))
            self.bias.accumulate(grad.sum(0))
            dxhat = grad * self.weight.data
            dvar = (dxhat * xc).sum(0) * -0.5 * (var + self.eps) ** -1.5
            dxc = dxhat / np.sqrt(var + self.eps) + 2 / n * xc * dvar
            return dxc - dxc.mean(0)

        return Tensor(self.weight.data * xhat + self.bias.data, (x,), grad_fn)
