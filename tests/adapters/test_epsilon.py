"""How eps is found: settable, or hard-coded with this value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bncheck import pipeline
from bncheck.adapters import resolve
from bncheck.executors.in_process import InProcess
from bncheck.model import Declared, Outcome
from bncheck.reporters.wording import conventions_in_words
from bncheck.settings import Settings

PAIR = """
EPS = {eps}
def bn_forward(x, gamma, beta{more}):
    var = x.var(axis=0{ddof}); std = {std}; xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    xhat, std, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""
INSIDE = "np.sqrt(var + EPS)"


def conventions(write, eps="1e-5", std=INSIDE, more="", ddof=""):
    (card,) = resolve.cards(write(PAIR.format(eps=eps, std=std, more=more, ddof=ddof)))
    return card.conventions


@pytest.mark.parametrize(
    "eps", ["1e-5", "1e-7", "10e-7", "1e-2", "1e-3", "2e-5", "1.5e-4", "1e-8", "1e-12", "1e-32", "0.1", "1.0"]
)
def test_a_fixed_eps_is_measured(write, eps):
    found = conventions(write, eps)
    assert (found.eps_source, found.eps, found.notes) == ("fixed", float(eps), ())


def test_a_declared_eps_is_neither_measured_nor_called_hard_coded(write):
    spec = replace(write(PAIR.format(eps="1e-3", std=INSIDE, more="", ddof="")), declared=Declared(eps=0.1))
    found = resolve.cards(spec)[0].conventions
    assert (found.eps_source, found.eps) == ("declared", 0.1)
    assert "eps 0.1: as declared" in conventions_in_words(found)


def test_no_eps_at_all(write):
    found = conventions(write, "0")
    assert (found.eps_source, found.eps) == ("fixed", 0.0)
    assert "no eps at all" in found.notes[0]


@pytest.mark.parametrize("eps", ["1e-5", "1e-3", "1e-8"])
def test_eps_outside_the_root(write, eps):
    found = conventions(write, eps, "np.sqrt(var) + EPS")
    assert (found.eps_source, found.eps) == ("fixed", float(eps))
    assert "eps seems to sit outside the root" in found.notes[0]


def test_variance_in_place_of_its_root(write):
    found = conventions(write, "1e-4", "var + EPS")
    assert found.eps == 1e-4
    assert "without the root" in found.notes[0]


def test_unbiased_variance_does_not_hide_eps(write):
    found = conventions(write, "1e-6", ddof=", ddof=1")
    assert found.eps == 1e-6
    assert "unbiased" in found.notes[0]


def test_float32_inside(write):
    found = conventions(write, "1e-5", "np.sqrt(var.astype('f4') + np.float32(EPS))")
    assert found.eps == 1e-5


def test_nothing_consistent(write):
    found = conventions(write, "1e-5", "np.sqrt(var + EPS) * (1 + var)")
    assert (found.eps_source, found.eps) == ("fixed", 1e-5)
    assert "could not be inferred" in found.notes[0]


def test_an_argument_that_is_ignored(write):
    found = conventions(write, "1e-3", more=", eps=1e-5")
    assert (found.eps_source, found.eps) == ("ignored", 1e-3)


def test_an_argument_of_a_forward_that_has_no_eps_at_all_stays_one(write):
    found = conventions(write, std="1 + 0 * var", more=", eps=1e-5")  # wrong, but not for its eps
    assert (found.eps_source, found.eps) == ("argument", None)


def test_a_rate_beside_is_no_eps(write):
    found = conventions(write, "1e-3", more=", eta=0.01")
    assert (found.eps_source, found.eps) == ("fixed", 1e-3)


def test_a_dict_of_options_counts_only_if_it_is_read(write):
    read = conventions(write, std="np.sqrt(var + bn_param.get('eps', EPS))", more=", bn_param")
    assert (read.eps_source, read.eps) == ("argument", None)


def test_a_dict_of_options_that_is_not_read(write):
    found = conventions(write, "1e-3", more=", bn_param")
    assert (found.eps_source, found.eps) == ("fixed", 1e-3)


LAYER = """
class BatchNorm:
    def __init__(self, num_features):
        self.gamma, self.beta, self.epsilon = np.ones(num_features), np.zeros(num_features), 1e-3

    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + {eps}); self.xhat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        self.dgamma, self.dbeta = (dout * self.xhat).sum(axis=0), dout.sum(axis=0)
        n = len(dout)
        return self.gamma / self.std * (dout - self.dbeta / n - self.xhat * self.dgamma / n)
"""


def test_an_attribute_is_set(write, right):
    assert right(write(LAYER.format(eps="self.epsilon"))).eps_source == "attribute"


def test_an_attribute_that_nothing_reads(write, right):
    found = right(write(LAYER.format(eps="1e-6")))
    assert (found.eps_source, found.eps) == ("fixed", 1e-6)


@pytest.mark.parametrize("kept", ["eps", "1e-3"])
def test_an_argument_of_a_constructor_that_is_ignored(write, right, kept):
    source = LAYER.format(eps="1e-6").replace("num_features):", "num_features, eps=1e-3):", 1)
    found = right(write(source.replace("1e-3\n", f"{kept}\n")))
    assert (found.eps_source, found.eps) == ("ignored", 1e-6)


def test_channels_first_and_maps(write, right):
    source = """
    def bn_forward(x, gamma, beta):
        ax = (0, 2, 3); s = (1, -1, 1, 1)
        std = np.sqrt(x.var(axis=ax, keepdims=True) + 1e-4); xhat = (x - x.mean(axis=ax, keepdims=True)) / std
        return gamma.reshape(s) * xhat + beta.reshape(s), (xhat, std, gamma.reshape(s))

    def bn_backward(dout, cache):
        xhat, std, g = cache
        ax = (0, 2, 3); d = dout * g
        dx = (d - d.mean(axis=ax, keepdims=True) - xhat * (d * xhat).mean(axis=ax, keepdims=True)) / std
        return dx, (dout * xhat).sum(axis=ax), dout.sum(axis=ax)
    """
    assert right(write(source)).eps == 1e-4


@pytest.mark.parametrize("guard", ["1 / (eps < 0.5)", "np.log(1.0 * (eps < 0.5)) + 1"], ids=["raises", "not finite"])
def test_code_that_cannot_stand_another_eps_reads_it(write, guard):
    found = conventions(write, std=f"np.sqrt(var + EPS) * ({guard})", more=", eps")
    assert (found.eps_source, found.notes) == ("argument", ())


def test_an_eps_that_cannot_be_measured_is_assumed_and_that_is_said(write):
    found = conventions(write, std=f"{INSIDE} / (var.min() > 1e-3 and 1 or [][0])")
    assert (found.eps_source, found.eps) == ("fixed", 1e-5)
    assert "eps could not be measured; 1e-05 is assumed" in found.notes


TWICE = """
def bn_forward(x, gamma, beta{forward}):
    {options}
    mu, var = x.mean(axis=0), x.var(axis=0)
    return gamma * (x - mu) / np.sqrt(var + eps) + beta, (x, mu, var, gamma)

def bn_backward(dout, cache{backward}):
    x, mu, var, gamma = cache
    s = np.sqrt(var + {used})
    xhat, g = (x - mu) / s, dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / s{spoilt}
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""
AGREEING = {"forward": ", eps=1e-5", "options": "", "backward": ", eps=1e-5", "used": "eps", "spoilt": ""}
OPTIONS = {"forward": ", bn_param", "options": "eps = bn_param.get('eps', 1e-3)", "backward": ", eps=1e-5"}


@pytest.mark.parametrize(
    ("parts", "taken"),
    [
        ({}, ""),
        ({"backward": ", eps=1e-8"}, "1e-05"),
        ({"forward": ", eps=1e-3"}, "0.001"),
        ({"backward": ", eps=1.1e-5"}, "1e-05"),
        ({"backward": ", eps=0.0"}, "1e-05"),
        (OPTIONS, "0.001"),
        (OPTIONS | {"backward": ", eps=1e-3"}, ""),
        ({"backward": ", eps=1e-8", "spoilt": " * 2"}, "1e-05"),  # what else is wrong is another matter
        ({"spoilt": " * 2"}, ""),
        ({"backward": ", eps=1e-8", "spoilt": " * 0"}, ""),  # 0 shows no eps
        ({"backward": ", eps"}, ""),  # nobody can leave it out
        ({"forward": ", eps"}, ""),
        ({"backward": ", eps=None", "used": "(eps or 1e-5)"}, ""),
        ({"backward": ", eps=None", "used": "(eps or 1e-8)"}, "1e-05"),
        ({"backward": ", eps=None"}, ""),  # it raises, and says so
        ({"backward": "", "used": "1e-5"}, ""),  # a number in the code is what other checks see
    ],
)
def test_a_backward_that_is_told_no_eps_takes_that_of_its_forward(write, parts, taken):
    (card,) = resolve.cards(write(TWICE.format(**AGREEING | parts)))
    said = f"told no eps, the forward takes {taken}, and the backward does not"
    assert card.conventions.eps_untold == (said if taken else "")


def test_of_an_eps_that_the_backward_ignores_nothing_is_said(write):
    text = TWICE.format(**AGREEING | {"backward": ", eps=1e-8"})
    kept = text.replace("(x, mu, var, gamma)", "(x, mu, var + eps, gamma)").replace(
        "np.sqrt(var + eps)\n", "np.sqrt(var)\n"
    )
    assert kept.count("np.sqrt(var)") == 1
    (card,) = resolve.cards(write(kept))
    assert card.conventions.eps_untold == ""


def test_defaults_of_eps_that_differ_fail(write):
    spec = write(TWICE.format(**AGREEING | {"backward": ", eps=1e-8"}))
    (target,) = pipeline.run([spec], Settings(cases=4), executor=InProcess()).targets
    failed = [f for f in target.findings if f.outcome is Outcome.FAIL]
    assert [f.code for f in failed] == ["BN510"]
    assert failed[0].message == "told no eps, the forward takes 1e-05, and the backward does not"


def test_of_an_eps_that_is_squared_in_both_nothing_is_said(write):
    """What is measured is the square; told that, the forward has another y."""
    told = AGREEING | {"forward": ", eps=1e-3", "backward": ", eps=1e-3", "used": "eps * eps"}
    (card,) = resolve.cards(write(TWICE.format(**told).replace("np.sqrt(var + eps)", "np.sqrt(var + eps * eps)")))
    assert card.conventions.eps_untold == ""


TOLD_LAYER = """
class BatchNorm:
    def __init__(self, n, eps=1e-3):
        self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps

    def forward(self, x):
        self.x, self.mu, self.var = x, x.mean(axis=0), x.var(axis=0)
        return self.gamma * (x - self.mu) / np.sqrt(self.var + self.eps) + self.beta

    def backward(self, dy, eps=1e-3):
        s = np.sqrt(self.var + eps)
        xhat, g = (self.x - self.mu) / s, dy * self.gamma
        self.dgamma, self.dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
        return (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / s
"""
CLOSURE = """
def make_batchnorm(eps=1e-3):
    def forward(x, gamma, beta):
        mu, var = x.mean(axis=0), x.var(axis=0)
        return gamma * (x - mu) / np.sqrt(var + eps) + beta, (x, mu, var, gamma)

    def backward(dy, cache, eps=1e-3):
        x, mu, var, gamma = cache
        s = np.sqrt(var + eps)
        xhat, g = (x - mu) / s, dy * gamma
        return (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / s, (dy * xhat).sum(axis=0), dy.sum(axis=0)

    return forward, backward
"""


@pytest.mark.parametrize("text", [TOLD_LAYER, CLOSURE])
def test_an_eps_that_the_forward_has_from_its_maker_is_not_compared(write, text):
    (card,) = resolve.cards(write(text))
    assert card.conventions.eps_untold == ""
