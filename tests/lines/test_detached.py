"""Where a library differentiates the code, what it is not shown is the line, and no formula is to be mended."""

import pytest
from layers import TORCH_LAYER

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.model import TargetSpec
from bncheck.settings import Settings

pytest.importorskip("torch", reason="PyTorch is not installed")

# What is replaced in it, and the line that hides something then, and what it hides.
HIDDEN = {
    "a variance in a block": (
        "        var = ((x - mean) ** 2).mean(0)\n",
        "        with torch.inference_mode():\n            var = x.var(0, unbiased=False)\n        var = var.clone()\n",
        "with torch.inference_mode():",
        "the variance",
    ),
    "x in the variance": (
        "((x - mean) ** 2)",
        "((x.detach() - mean.detach()) ** 2)",
        "var = ((x.detach() - mean.detach()) ** 2).mean(0)",
        "the variance",
    ),
    "the variance once more": (
        "        xhat = ",
        "        var = x.data.var(0, unbiased=False)\n        xhat = ",
        "var = x.data.var(0, unbiased=False)",
        "the variance",
    ),
    "the mean": (
        "xhat = (x - mean)",
        "xhat = (x - mean.detach())",
        "xhat = (x - mean.detach()) / torch.sqrt(var + self.eps)",
        "the mean",
    ),
    "both": (
        "        mean = x.mean(0)\n        var = ((x - mean) ** 2).mean(0)\n",
        "        with torch.no_grad():\n            mean = x.mean(0)\n            var = ((x - mean) ** 2).mean(0)\n",
        "with torch.no_grad():",
        "mean and variance",
    ),
    "a weight": (
        "xhat * self.weight",
        "xhat * self.weight.data",
        "return xhat * self.weight.data + self.bias",
        "gamma",
    ),
}


def diagnosed(source, folder):
    path = folder / "layer.py"
    path.write_text(source)
    (target,) = pipeline.run([TargetSpec(str(path))], Settings(cases=8), executor=InProcess()).targets
    return target.diagnoses


@pytest.mark.parametrize("name", HIDDEN)
def test_what_torch_is_not_shown_is_the_line(name, tmp_path):
    before, after, line, what = HIDDEN[name]
    assert before in TORCH_LAYER
    (diagnosis,) = diagnosed(TORCH_LAYER.replace(before, after), tmp_path)
    assert diagnosis.line.text == line
    assert f"autograd of torch does not see that y depends on {what}: look for detach()" in diagnosis.explanation


def test_a_rule_of_the_code_s_own_in_torch_is_mended_by_its_formula(tmp_path):
    rule = """
class Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mean, var, eps):
        inv_std = torch.rsqrt(x.detach().var(0, unbiased=False) + eps)
        ctx.save_for_backward((x - x.mean(0)) * inv_std, inv_std)
        return (x - x.mean(0)) * inv_std

    @staticmethod
    def backward(ctx, d):
        xhat, inv_std = ctx.saved_tensors
        return inv_std * (d - d.mean(0)), None, None, None
"""
    wrong = (
        TORCH_LAYER.replace("(x - mean) / torch.sqrt(var + self.eps)", "Normalise.apply(x, mean, var, self.eps)") + rule
    )
    (diagnosis,) = diagnosed(wrong, tmp_path)
    assert diagnosis.code == "BUG212"
    assert "autograd of torch" not in diagnosis.explanation
    assert "detach" not in str(diagnosis.line)
