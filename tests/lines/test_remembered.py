"""The statement that is named for a bug of statistics or eval mode is the one with the fault, in code of any style."""

import re
from pathlib import Path

import pytest

from bncheck.adapters import resolve
from bncheck.lines.remembered import pointed_in_course
from bncheck.memory.moments import shown_in
from bncheck.memory.search import CHECKED, OF_EVAL_GRADIENTS, searched
from bncheck.model import TargetSpec

BUGGY = Path(__file__).parents[2] / "fixtures" / "buggy"

# What the line that is named begins with, as read in the fixtures; "" where none is plain.
FAULTY = {
    "batch_statistics_in_eval": "",  # its line is that of training, too, and right there
    "bessel_upside_down": "self.running_var += self.alpha * (var * (m - 1) / m",
    "deviation_averaged": "self.running_var = self.momentum * self.running_var + (1 - self.momentum) * sd",
    "eps_outside_root_in_eval": "return self.gamma * (x - self.moving_mean) / (np.sqrt(self.moving_var) + self.eps",
    "eval_gradient_unscaled": "return dy * self.gamma",
    "running_var_adds_up": "self.running_var = self.running_var + self.momentum * var",
    "running_var_fed_with_mean": "running_var = momentum * running_var + (1 - momentum) * mean",
    "statistics_frozen_after_warm_up": "",  # it shows in no one call
    "statistics_updated_in_backward": "self.forward(self.x)",
    "statistics_updated_in_eval": "self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean",
}


def lines_of(path, failing=None):
    """Return the code of each bug that is named, and the text of its line."""
    spec = TargetSpec(str(path))
    (card,) = resolve.cards(spec)
    target = resolve.target(spec, card.name)
    search, bugs = searched(target, "float64", failing or sorted(CHECKED - OF_EVAL_GRADIENTS), {})
    lines = []
    for named in bugs:
        place = shown_in(search, named)
        line = None if place is None else pointed_in_course(target, *place, spec.source)
        lines.append((named.version.bug.code, "" if line is None else line.text))
    return lines


@pytest.mark.parametrize("name", FAULTY)
def test_the_line_of_a_fixture(name):
    path = BUGGY / f"{name}.py"
    caught = re.search(r"# caught: (\w+)", path.read_text())
    ((_, text),) = lines_of(path, [caught.group(1)])
    assert text.startswith(FAULTY[name]) if FAULTY[name] else not text


LAYER = """
import numpy as np

class BatchNorm:
    def __init__(self, n, eps=1e-5, momentum=0.9):
        self.gamma, self.beta = np.ones(n), np.zeros(n)
        self.rm, self.rv = np.zeros(n), np.ones(n)
        self.eps, self.momentum = eps, momentum

    def update(self, mu, var, m):
        taken = var * m / (m - 1)
        self.rm = self.momentum * self.rm + (1 - self.momentum) * mu
        self.rv = self.momentum * self.rv + (1 - self.momentum) * taken

    def infer(self, x):
        shifted = x - self.rm
        std = np.sqrt(self.rv + self.eps)
        return shifted / std * self.gamma + self.beta

    def forward(self, x, training=True):
        if not training:
            return self.infer(x)
        mu = x.mean(axis=0)
        xc = x - mu
        var = (xc ** 2).mean(axis=0)
        self.std = np.sqrt(var + self.eps)
        self.xhat = xc / self.std
        self.update(mu, var, len(x))
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        g = dy * self.gamma
        return (g - g.mean(axis=0) - self.xhat * (g * self.xhat).mean(axis=0)) / self.std
"""
STAGED = LAYER.replace(
    "        self.rv = self.momentum * self.rv + (1 - self.momentum) * taken",
    "        old = self.rv * self.momentum\n        new = taken * (1 - self.momentum)\n        self.rv = old + new",
)
IN_PLACE = LAYER.replace(
    "        self.rv = self.momentum * self.rv + (1 - self.momentum) * taken",
    "        self.rv *= self.momentum\n        self.rv += (1 - self.momentum) * taken",
)


@pytest.mark.parametrize(
    ("source", "right", "wrong", "shown"),
    [
        (LAYER, "+ (1 - self.momentum) * taken", "+ self.momentum * taken", None),
        (LAYER, "taken = var * m / (m - 1)", "taken = var * m / (m + 1)", None),
        (LAYER, "taken = var * m / (m - 1)", "taken = np.sqrt(var)", None),
        (LAYER, "taken = var * m / (m - 1)", "taken = self.std", None),
        (LAYER, "+ (1 - self.momentum) * mu", "- (1 - self.momentum) * mu", None),
        (LAYER, "(1 - self.momentum) * mu", "(1 - self.momentum) * mu.mean()", None),
        (LAYER, "self.rm = self.momentum * self.rm + (1 - self.momentum) * mu", "self.rm = mu", None),
        (LAYER, "shifted = x - self.rm", "shifted = x + self.rm", None),
        (LAYER, "shifted = x - self.rm", "shifted = x - x.mean(axis=0)", None),
        (LAYER, "std = np.sqrt(self.rv + self.eps)\n        return", "std = self.rv + self.eps\n        return", ""),
        (LAYER, "std = np.sqrt(self.rv", "std = np.sqrt(x.var(axis=0)", None),
        (LAYER, "shifted / std * self.gamma + self.beta", "shifted / std", None),
        (LAYER, "shifted / std * self.gamma + self.beta", "shifted / std * self.gamma", None),
        (LAYER, "            return self.infer(x)", "            self.update(x.mean(0), x.var(0), len(x))\n"
         "            return self.infer(x)", "self.update(x.mean(0)"),
        (STAGED, "new = taken * (1 - self.momentum)", "new = taken * self.momentum", ""),
        (STAGED, "self.rv = old + new", "self.rv = old - new", ""),
        (LAYER, "        taken = var * m / (m - 1)\n", "        k = (m / (m - 1)) ** 2\n        taken = var * k\n", ""),
        (LAYER, "np.sqrt(self.rv + self.eps)\n        return", "np.sqrt(self.rv + e)\n        return", ""),
        (IN_PLACE, "self.rv += (1 - self.momentum) * taken", "self.rv += taken", None),
    ],
)  # fmt: skip
def test_the_line_of_a_fault_in_code_of_another_style(tmp_path, source, right, wrong, shown):
    """What is shown is the line that was changed, or what is expected there; at worst nothing, never another line."""
    assert source.count(right) == 1
    source = source.replace("        shifted = x - self.rm", "        e = self.eps ** 2\n        shifted = x - self.rm")
    path = tmp_path / "my_bn.py"
    path.write_text(source.replace(right, wrong))
    changed = wrong if shown is None else shown
    found = lines_of(path)
    assert found
    first = changed.partition("\n")[0].strip()
    line = next(line.strip() for line in path.read_text().splitlines() if first in line) if first else ""
    assert {text for _, text in found} == {line}


def test_a_right_layer_has_no_line(tmp_path):
    path = tmp_path / "my_bn.py"
    path.write_text(LAYER)
    assert lines_of(path) == []
