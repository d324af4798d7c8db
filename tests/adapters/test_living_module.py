"""Layers of PyTorch whose own methods are dead, or that keep what they made of earlier parameters."""

import pytest
from judging import SPEC, judged
from layers import TORCH_LAYER

from bncheck.adapters import resolve
from bncheck.model import Outcome, TargetSpec

pytest.importorskip("torch", reason="PyTorch is not installed")

HEAD = "    def forward(self, x):\n"
DEAD = f"    def train(self, mode=True):\n        return super().train(True)\n\n{HEAD}"
COPIED = f"{HEAD}        if not hasattr(self, '_w'):\n            self._w = [self.weight.detach().clone()]\n"


def found(tmp_path, code, *changes):
    text = TORCH_LAYER
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "layer.py"
    path.write_text(text)
    spec = TargetSpec(str(path))
    return judged(code, resolve.target(spec, resolve.cards(spec)[0].name), SPEC)


@pytest.mark.parametrize("code", ["BN312", "BN518"])
def test_a_module_that_is_right_passes(tmp_path, code):
    assert found(tmp_path, code).outcome is Outcome.PASS


def test_a_module_that_never_leaves_training_is_told(tmp_path):
    judgement = found(tmp_path, "BN312", (HEAD, DEAD))
    assert judgement.outcome is Outcome.FAIL
    assert judgement.message == "after eval() y is normalised with the batch's own statistics"


def test_a_module_that_computes_with_the_weight_of_its_first_forward_is_told(tmp_path):
    stale = "xhat * (self._w[0] + self.weight - self.weight.detach())"
    judgement = found(tmp_path, "BN518", (HEAD, COPIED), ("xhat * self.weight", stale))
    assert (judgement.outcome, judgement.tensor) == (Outcome.FAIL, "y")
