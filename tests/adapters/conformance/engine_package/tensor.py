"""Tensors that know the operation they come from; operators are put into the class by a function."""

import numpy as np


class Tensor:
    def __init__(self, data, parents=(), pull=None):
        if not isinstance(data, np.ndarray):
            raise TypeError(f"{type(data)} is no array")
        self.data, self.parents, self.pull = data, parents, pull
        self._grad = None

    @property
    def grad(self):
        return self._grad

    @grad.setter
    def grad(self, value):
        if value.data.shape != self.data.shape:
            raise ValueError("a gradient has the shape of its tensor")
        self._grad = value

    def backward(self, dy):
        self._grad = dy if self._grad is None else self._grad + dy
        if self.pull is not None:
            for parent, gradient in zip(self.parents, self.pull(dy)):
                parent.backward(gradient)


def _add(a, b):
    return Tensor(a.data + b.data)


def _subtract(a, b):
    return Tensor(a.data - b.data)


def _multiply(a, b):
    return Tensor(a.data * b.data)


def _divide(a, number):
    return Tensor(a.data / number)


def total(a):
    return Tensor(a.data.sum(axis=0))


def install_operators():
    Tensor.__add__ = _add
    Tensor.__sub__ = _subtract
    Tensor.__mul__ = _multiply
    Tensor.__truediv__ = _divide
