"""What stands beside a Batch Normalization in its file and is another operator, or a helper: left alone, and told."""

from __future__ import annotations

import pytest

from bncheck.adapters import resolve
from bncheck.adapters.words import composite, words
from bncheck.errors import TargetError

PAIR = """
def batchnorm_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(0) + eps)
    xhat = (x - x.mean(0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)
def batchnorm_backward(dy, cache):
    xhat, std, gamma = cache
    dgamma, dbeta = (dy * xhat).sum(0), dy.sum(0)
    return gamma / std * (dy - dbeta / len(dy) - xhat * dgamma / len(dy)), dgamma, dbeta
"""
RELU = """
def {0}_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(0) + eps)
    xhat = (x - x.mean(0)) / std
    y = gamma * xhat + beta
    return np.maximum(y, 0), (xhat, std, gamma, y > 0)
def {0}_backward(dy, cache):
    xhat, std, gamma, mask = cache
    dy = dy * mask
    dgamma, dbeta = (dy * xhat).sum(0), dy.sum(0)
    return gamma / std * (dy - dbeta / len(dy) - xhat * dgamma / len(dy)), dgamma, dbeta
"""
LAYER = """
class {0}:
    def __init__(self, n): self.gamma, self.beta = np.ones(n), np.zeros(n)
    def forward(self, x):
        y, self.cache = batchnorm_forward(x, self.gamma, self.beta)
        return y * 2.0
    def backward(self, dy):
        dx, self.dgamma, self.dbeta = batchnorm_backward(2.0 * dy, self.cache)
        return dx
"""
LISTED = """
def {0}_forward({1}, gamma, beta, eps=1e-5):
    y, cache = batchnorm_forward(np.concatenate({1}), gamma, beta, eps)
    return np.split(y, 2), cache
"""
BESIDE = {
    "relu": ("bn_relu_forward", RELU.format("bn_relu")),
    "ghost": ("ghost_batchnorm_forward", RELU.format("ghost_batchnorm")),
    "residual": ("batchnorm_residual_forward", RELU.format("batchnorm_residual")),
    "masked": ("masked_batchnorm_forward", "def masked_batchnorm_forward(x, mask, gamma, beta): return x[mask]\n"),
    "conditional": (
        "conditional_batchnorm_forward",
        "def conditional_batchnorm_forward(x, labels, gammas, betas): return gammas[labels] * x + betas[labels]\n",
    ),
    "sync": ("sync_batchnorm_forward", LISTED.format("sync_batchnorm", "parts")),
    "dropout": ("BatchNormDropout", LAYER.format("BatchNormDropout")),
    "frozen": ("FrozenBatchNorm", LAYER.format("FrozenBatchNorm").replace("np.ones(n)", "n.scale")),
    "profile": ("profile_batchnorm_forward", "def profile_batchnorm_forward(x, repeats): return repeats\n"),
}


def told(cards):
    """Return the notes of cards as one text."""
    return " ".join(note for card in cards for note in card.conventions.notes)


@pytest.mark.parametrize("word", BESIDE)
def test_what_is_named_for_something_more_is_left_alone_beside_a_plain_pair(write, word):
    name, source = BESIDE[word]
    (card,) = resolve.cards(write(source + PAIR))
    assert card.name.endswith("::batchnorm_forward")
    note = f"left alone beside it: {name} (its name says {word}); verified where it is named: my_bn.py::{name}"
    assert note in card.conventions.notes
    assert note in card.trace


@pytest.mark.parametrize("name", ["BatchNormReLU", "BNReLU", "BatchNormRelu", "BatchNormPReLU", "BN_GELU"])
def test_activations_are_one_word_in_names_of_classes(write, name):
    (card,) = resolve.cards(write(PAIR + LAYER.format(name)))
    assert card.name.endswith("::batchnorm_forward")
    assert name in told([card])


def test_words_of_activations():
    assert words("BatchNormReLU") == ("batch", "norm", "relu")
    assert words("BNPReLULayer") == ("bn", "prelu", "layer")
    assert composite("BatchNormReLU")
    assert not composite("BatchNormRepeated")


@pytest.mark.parametrize("name", ["my_relu_bn", "ghost_batchnorm"])
def test_alone_in_a_file_it_is_verified(write, name):
    (card,) = resolve.cards(write(RELU.format(name)))
    assert card.name.endswith(f"::{name}_forward")
    assert card.conventions is not None
    assert "left alone" not in told([card])


def test_where_it_is_named_it_is_verified(write):
    (card,) = resolve.cards(write(RELU.format("bn_relu") + PAIR, "bn_relu_forward"))
    assert card.name.endswith("::bn_relu_forward")
    assert card.conventions is not None


@pytest.mark.parametrize("plain", ["return None", "raise ValueError('no')"])
def test_it_is_verified_where_the_plain_pair_cannot_be_run(write, plain):
    broken = PAIR.replace("std = np.sqrt(x.var(0) + eps)", plain)
    cards = resolve.cards(write(broken + RELU.format("bn_relu")))
    assert [(card.name.rpartition("::")[2], card.conventions is not None) for card in cards] == [
        ("batchnorm_forward", False),
        ("bn_relu_forward", True),
    ]


@pytest.mark.parametrize(
    "name", ["fused_batchnorm", "spatial_batchnorm", "batchnorm_affine", "batchnorm_conv", "fast_bn", "bn_v2"]
)
def test_what_may_be_said_of_a_plain_one_is_verified(write, name):
    cards = resolve.cards(write(PAIR + RELU.format(name)))
    assert [card.name.rpartition("::")[2] for card in cards] == ["batchnorm_forward", f"{name}_forward"]


def test_methods_of_a_class_that_is_no_batch_norm_speak_for_themselves(write):
    net = (
        LAYER.format("ResidualNet").replace("def forward", "def bn_forward").replace("def backward", "def bn_backward")
    )
    cards = resolve.cards(write(PAIR + net))
    assert [card.name.rpartition("::")[2] for card in cards] == ["batchnorm_forward", "ResidualNet"]


def test_a_forward_beside_forwards_without_a_backward(write):
    forward = PAIR.partition("def batchnorm_backward")[0]
    (card,) = resolve.cards(write(forward + forward.replace("batchnorm_", "ghost_batchnorm_")))
    assert card.name.endswith("::batchnorm_forward")
    assert "its name says ghost" in told([card])


# --------------------------------------------------------------------------------------------------- by the arguments


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def time_batchnorm_forward(repeats=100): return repeats", "it takes no data"),
        ("def time_batchnorm_forward(repeats): return repeats", "it takes no data"),
        ("def run_batchnorm_forward(batch=32, features=4, seed=0): return seed", "it takes no data"),
        ("def run_batchnorm_backward(seed=0): return seed", "run_batchnorm_backward takes no data"),
        (LISTED.format("merged_batchnorm", "shards"), "it takes several batches, shards"),
        ("def batchnorm_forward_into(out, x, gamma, beta): out[...] = gamma * x + beta", "it writes into out"),
    ],
)
def test_helpers_are_left_alone_for_what_they_take(write, source, why):
    (card,) = resolve.cards(write(f"{PAIR}\n{source}\n"))
    assert card.name.endswith("::batchnorm_forward")
    assert f"({why})" in told([card])


@pytest.mark.parametrize(
    "source",
    [
        "def bn_forward(x=None, gamma=None, beta=None): raise ValueError",
        "def bn_forward(u, v, w, q): raise ValueError",
        "def bn_forward(out, x, gamma, beta): return x.nothing",
        "def bn_forward(*args): raise ValueError",
    ],
)
def test_a_forward_that_may_take_data_and_fails_is_told(write, source):
    cards = resolve.cards(write(f"{PAIR}\n{source}\n"))
    assert [card.conventions is not None for card in cards] == [True, False]


# --------------------------------------------------------------------------------------------------- by who calls it

KERNEL = """
def bn_forward(x, gamma, beta, eps, place):
    place["std"] = np.sqrt(x.var(0) + eps)
    place["xhat"] = (x - x.mean(0)) / place["std"]
    place["all"] = gamma * place["xhat"] + beta
def bn_backward(dy, gamma, place): raise NotImplementedError
def batchnorm_forward(x, gamma, beta, eps=1e-5):
    {0}
    return place["all"], (place["xhat"], place["std"], gamma)
"""
KERNEL += PAIR[PAIR.index("def batchnorm_backward") :]


def test_what_fails_and_is_called_by_what_runs_is_a_helper(write):
    (card,) = resolve.cards(write(KERNEL.format("place = {}; bn_forward(x, gamma, beta, eps, place)")))
    assert card.name.endswith("::batchnorm_forward")
    assert "left alone beside it: bn_forward (batchnorm_forward calls it)" in told([card])


def test_what_fails_and_is_called_by_nothing_is_told(write):
    std = "place = {'std': np.sqrt(x.var(0) + eps)}; place['xhat'] = (x - x.mean(0)) / place['std']"
    cards = resolve.cards(write(KERNEL.format(f"{std}; place['all'] = gamma * place['xhat'] + beta")))
    assert [card.conventions is not None for card in cards] == [False, True]


def test_a_stub_that_is_called_by_what_runs_is_told(write):
    stub = PAIR[: PAIR.index("    xhat, std, gamma = cache")] + "    raise NotImplementedError\n"
    layer = LAYER.format("BatchNorm").replace(
        "dx, self.dgamma, self.dbeta = batchnorm_backward(2.0 * dy, self.cache)",
        "xhat, std, gamma = self.cache; self.dgamma, self.dbeta = (dy * xhat).sum(0), dy.sum(0); dx = dy",
    )
    cards = resolve.cards(write(stub + layer))
    assert [(card.name.rpartition("::")[2], bool(card.stub)) for card in cards] == [
        ("batchnorm_forward", True),
        ("BatchNorm", False),
    ]


def test_a_backward_that_lacks_its_return_is_told_whoever_calls_the_forward(write):
    unfinished = PAIR[: PAIR.rindex("    return ")] + "    dx = gamma / std * (dy - dbeta / len(dy))\n"
    spatial = """
def spatial_batchnorm_forward(x, gamma, beta, eps=1e-5):
    return batchnorm_forward(x, gamma, beta, eps)
def spatial_batchnorm_backward(dy, cache):
"""
    cards = resolve.cards(write(unfinished + spatial + PAIR[PAIR.index("    xhat, std, gamma = cache") :]))
    assert [(card.name.rpartition("::")[2], card.conventions is not None) for card in cards] == [
        ("batchnorm_forward", False),
        ("spatial_batchnorm_forward", True),
    ]


def test_a_helper_that_is_named_is_told_of(write):
    with pytest.raises(TargetError, match="bn_forward"):
        resolve.cards(write(KERNEL.format("place = {}; bn_forward(x, gamma, beta, eps, place)"), "bn_forward"))
