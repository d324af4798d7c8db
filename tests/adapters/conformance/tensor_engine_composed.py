# shape: mini autograd engine: class Tensor; batch_norm composed of its operations; y.backward(grad), gradients in .grad
# name: batch_norm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: .grad of the Tensors x, gamma, beta after y.backward(grad)
# note: gradients accumulate in .grad over several backward calls, as in the frameworks it imitates; float32 data gives float64 results
# bug-derivative-of-power: self._acc(g * k * self.data ** (k - 1)) ==> self._acc(g * self.data ** (k - 1))
# bug-derivative-of-product: other._acc(g * self.data) ==> other._acc(g * out.data)
# bug-unbiased-variance: var = (centered * centered).mean(0) ==> var = (centered * centered).sum(0) * (1.0 / (x.shape[0] - 1))
import numpy as np


def unbroadcast(g, shape):
    while g.ndim > len(shape):
        g = g.sum(axis=0)
    for i, n in enumerate(shape):
        if n == 1 and g.shape[i] != 1:
            g = g.sum(axis=i, keepdims=True)
    return g


class Tensor:
    """stores an array and its gradient"""

    def __init__(self, data, _children=(), requires_grad=True):
        self.data = np.asarray(data, dtype=np.float64)
        self.grad = np.zeros_like(self.data)
        self.requires_grad = requires_grad
        self._prev = _children
        self._backward = lambda: None

    @property
    def shape(self):
        return self.data.shape

    def _acc(self, g):
        self.grad = self.grad + unbroadcast(g, self.data.shape)

    def __add__(self, other):
        other = other if isinstance(other, Tensor) else Tensor(other)
        out = Tensor(self.data + other.data, (self, other))

        def _backward():
            self._acc(out.grad)
            other._acc(out.grad)
        out._backward = _backward
        return out

    def __mul__(self, other):
        other = other if isinstance(other, Tensor) else Tensor(other)
        out = Tensor(self.data * other.data, (self, other))

        def _backward():
            g = out.grad
            self._acc(g * other.data)
            other._acc(g * self.data)
        out._backward = _backward
        return out

    def __pow__(self, k):
        assert isinstance(k, (int, float))
        out = Tensor(self.data ** k, (self,))

        def _backward():
            g = out.grad
            self._acc(g * k * self.data ** (k - 1))
        out._backward = _backward
        return out

    def sum(self, axis):
        out = Tensor(self.data.sum(axis=axis, keepdims=True), (self,))

        def _backward():
            self._acc(np.broadcast_to(out.grad, self.data.shape))
        out._backward = _backward
        return out

    def mean(self, axis):
        return self.sum(axis) * (1.0 / self.data.shape[axis])

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + (-other)

    def __truediv__(self, other):
        return self * other ** -1

    __radd__ = __add__
    __rmul__ = __mul__

    def backward(self, grad=None):
        topo, visited = [], set()

        def build_topo(v):
            if id(v) not in visited:
                visited.add(id(v))
                for child in v._prev:
                    build_topo(child)
                topo.append(v)
        build_topo(self)
        self.grad = np.ones_like(self.data) if grad is None else np.asarray(grad)
        for v in reversed(topo):
            v._backward()

    def __repr__(self):
        return f"Tensor(data={self.data}, grad={self.grad})"


def batch_norm(x, gamma, beta, eps=1e-5):
    mean = x.mean(0)
    centered = x - mean
    var = (centered * centered).mean(0)
    xhat = centered / (var + eps) ** 0.5
    return gamma * xhat + beta
