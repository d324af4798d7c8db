"""A layer that cannot be made: the constructor is named, and not the forward that was to run behind it."""

import pytest

from bncheck.adapters import resolve
from bncheck.errors import TargetError

LAYER = """
class BatchNorm:
    def __init__(self, n, {argument}=None):
        {first}
        self.gamma, self.beta = np.ones(n), np.zeros(n)

    def forward(self, x):
        {then}
        return x

    def backward(self, dout):
        return dout
"""


def refusal(write, *, argument="eps", first="pass", then="pass"):
    with pytest.raises(TargetError) as caught:
        resolve.cards(write(LAYER.format(argument=argument, first=first, then=then)))
    return str(caught.value), "\n".join(caught.value.trace)


def test_what_a_constructor_raises_is_told_of_it(write):
    text, trace = refusal(write, first="raise TypeError('no such luck')")
    assert "my_bn.py::BatchNorm: BatchNorm.__init__ raised in every way it was tried: TypeError: no such luck" in text
    assert "constructor raised TypeError: no such luck" in trace


def test_what_the_forward_raises_is_told_of_the_forward(write):
    text, trace = refusal(write, then="raise TypeError('no such luck')")
    assert "my_bn.py::BatchNorm: BatchNorm.forward raised in every way it was tried: TypeError: no such luck" in text
    assert "forward raised TypeError: no such luck" in trace


def test_an_argument_that_there_is_nothing_for_is_told_in_words(write):
    source = LAYER.replace("n, {argument}=None", "cfg").format(first="n = cfg.size", then="pass")
    with pytest.raises(TargetError) as caught:
        resolve.cards(write(source))
    said = "BatchNorm.__init__ cannot be run: bncheck found nothing to give it as cfg"
    assert str(caught.value) == f"my_bn.py::BatchNorm: {said}"
    trace = "\n".join(caught.value.trace)
    assert "constructor not called: bncheck found nothing to give it as cfg" in trace
    assert "UnfilledError" not in trace
