"""Identifiers are judged by their words, not looked up whole."""

from __future__ import annotations

import pytest

from bncheck.adapters.words import Kind, Role, argument_role, composite, gradient_name, kind, stem, train_is_true, words


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("dgammaOut_2", ("dgamma", "out", "2")),
        ("BatchNorm2d", ("batch", "norm", "2", "d")),
        ("dLdBW", ("d", "ld", "bw")),
        ("_x_hat", ("x", "hat")),
        ("CNNLayer", ("cnn", "layer")),
    ],
)
def test_words(name, split):
    assert words(name) == split


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("X", Role.X), ("input_data", Role.X), ("Z", Role.X), ("gamma", Role.GAMMA), ("bn_gamma", Role.GAMMA),
        ("Weight", Role.GAMMA), ("shift", Role.BETA), ("b", Role.BETA), ("bn_epsilon", Role.EPS), ("eps", Role.EPS),
        ("momentum", Role.MOMENTUM), ("decay_rate", Role.MOMENTUM), ("is_train", Role.MODE), ("train_flg", Role.MODE),
        ("mode", Role.MODE), ("use_test_mode", Role.MODE), ("running_mean", Role.RUNNING_MEAN),
        ("rm", Role.RUNNING_MEAN),
        ("movingVariance", Role.RUNNING_VAR), ("pop_var", Role.RUNNING_VAR), ("bn_param", Role.PARAMS),
        ("config", Role.PARAMS), ("cache", Role.CACHE), ("ctx", Role.CACHE), ("gamma_init", None), ("verbose", None),
        ("learning_rate", None), ("average", None),
    ],
)  # fmt: skip
def test_roles_of_arguments(name, role):
    assert argument_role(name) is role


@pytest.mark.parametrize("name", ["training", "is_train", "train_flg", "phase_train"])
def test_flags_that_are_true_in_training(name):
    assert train_is_true(name)


@pytest.mark.parametrize("name", ["test_mode", "inference", "is_test", "eval", "testing_phase"])
def test_flags_that_are_false_in_training(name):
    assert not train_is_true(name)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("dx", "dx"), ("dX", "dx"), ("d_a", "dx"), ("dinputs", "dx"), ("grad_input", "dx"), ("x_grad", "dx"),
        ("dgamma", "dgamma"), ("d_gamma", "dgamma"), ("gradGamma", "dgamma"), ("gamma_grad", "dgamma"),
        ("dW", "dgamma"),
        ("dscale", "dgamma"), ("dLdBW", "dgamma"), ("dbeta", "dbeta"), ("db", "dbeta"), ("dLdBb", "dbeta"),
        ("gradient_bias", "dbeta"), ("dxhat", None), ("dvar", None), ("gamma", None), ("dmu", None), ("std", None),
    ],
)  # fmt: skip
def test_whose_gradient(name, of):
    read = gradient_name(name)
    assert (read and read.of) == of


@pytest.mark.parametrize(
    ("name", "direction", "rest"),
    [
        ("batchnorm_forward", "forward", ("bn",)),
        ("spatial_batch_norm_fwd", "forward", ("spatial", "bn")),
        ("BatchNormBackward2", "backward", ("bn", "2")),
        ("grad_bn", "backward", ("bn",)),
        ("dbatchnorm", "backward", ("bn",)),
        ("forward_pass", "forward", ()),
        ("background", "", ("background",)),
    ],
)
def test_stems(name, direction, rest):
    assert stem(name) == (direction, rest)


@pytest.mark.parametrize(
    "name",
    ["BatchNorm1d", "bn", "my_bn_layer", "batch_normalization", "BN2", "normalize_batch", "SpatialBatchNormalisation"],
)
def test_names_that_read_as_batch_norm(name):
    assert kind(name) is Kind.BN


@pytest.mark.parametrize("name", ["LayerNorm", "group_norm", "InstanceNormalization", "ln_forward", "RMSNorm"])
def test_names_that_read_as_another_norm(name):
    assert kind(name, "Like batch normalization.") is Kind.OTHER_NORM


@pytest.mark.parametrize("name", ["Dense", "relu", "abnormal", "subnet", "normalize"])
def test_names_that_say_nothing(name):
    assert kind(name) is Kind.UNKNOWN


def test_the_docstring_speaks_where_the_name_does_not():
    assert kind("Normalizer", "A batch normalization layer.") is Kind.BN


def test_composites():
    assert composite("affine_bn_relu_forward")
    assert not composite("spatial_bn_forward")
    assert not composite("BatchNormLayer")
