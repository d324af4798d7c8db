"""A small engine: its tensors get their operators when the package is imported."""

from .tensor import Tensor, install_operators

install_operators()
