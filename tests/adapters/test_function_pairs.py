"""Shapes of function pairs that people write: each right one is resolved, and gives the reference's gradients."""

from __future__ import annotations

import textwrap

import pytest

from bncheck.adapters import resolve
from bncheck.errors import TargetError

# A right pair over the axis and the names that a test fills in; g and b are how gamma and beta are called.
PAIR = """
def {forward}({signature}):
    {before}
    mu = x.mean(axis=0); std = np.sqrt(x.var(axis=0) + {eps}); xhat = (x - mu) / std
    y = {g} * xhat + {b}
    return {returns}

def {backward}({arguments}):
    {unpack}
    n = len(dout)
    dgamma = (dout * xhat).sum(axis=0); dbeta = dout.sum(axis=0)
    dx = g / std * (dout - dbeta / n - xhat * dgamma / n)
    {after}
    return {results}
"""
DEFAULTS = {
    "forward": "bn_forward", "backward": "bn_backward", "signature": "x, gamma, beta, eps=1e-5", "before": "pass",
    "eps": "eps", "g": "gamma", "b": "beta", "returns": "y, (xhat, std, gamma)", "arguments": "dout, cache",
    "unpack": "xhat, std, g = cache", "after": "pass", "results": "dx, dgamma, dbeta",
}  # fmt: skip


def pair(**changes):
    return PAIR.format(**DEFAULTS | changes)


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        ("batchnorm_forward", "batchnorm_backward"),
        ("BatchNormForward", "BatchNormBackward"),
        ("bn_fwd", "bn_bwd"),
        ("fprop_bn", "bprop_bn"),
        ("batch_norm", "batch_norm_backward"),
        ("batchnorm", "dbatchnorm"),
        ("batch_norm", "grad_batch_norm"),
        ("batchnorm_forward", "bn_grad"),
        ("forward", "backward"),
        ("bnforward", "bnbackward"),
        ("forward_pass", "backprop"),
        ("normalize_forward", "normalize_gradient"),
        ("compute_bn", "compute_bn_gradients"),
        ("batch_normalization_forward_pass", "batch_normalisation_backward_pass"),
    ],
)
def test_names_of_the_two(write, right, forward, backward):
    conventions = right(write(pair(forward=forward, backward=backward)))
    assert conventions.adapter == "function-pair"
    assert conventions.layouts == ("NC",)


SIGNATURES = {
    "eps required": {"signature": "x, gamma, beta, eps"},
    "eps spelled out": {"signature": "x, gamma, beta, epsilon=1e-8", "eps": "epsilon"},
    "eps keyword only": {"signature": "x, gamma, beta, *, eps=1e-8"},
    "beta before gamma": {"signature": "x, beta, gamma, eps"},
    "parameters first": {"signature": "gamma, beta, x, eps"},
    "scale and shift": {"signature": "x, scale, shift, eps=1e-5", "g": "scale", "b": "shift"}
    | {"returns": "y, (xhat, std, scale)"},
    "weight and bias": {"signature": "x, weight, bias, eps=1e-5", "g": "weight", "b": "bias"}
    | {"returns": "y, (xhat, std, weight)"},
    "one letter": {"signature": "x, g, b, e", "g": "g", "b": "b", "eps": "e", "returns": "y, (xhat, std, g)"},
    "meaningless names": {"signature": "p, q, r, s", "before": "x, eps = p, s", "g": "q", "b": "r"}
    | {"returns": "y, (xhat, std, q)"},
    "training flag": {"signature": "x, gamma, beta, eps, training", "before": "assert training is True"},
    "is_train default false": {"signature": "x, gamma, beta, eps=1e-5, is_train=False", "before": "assert is_train"},
    "test_mode": {"signature": "x, gamma, beta, eps, test_mode=True", "before": "assert test_mode is False"},
    "inference required": {"signature": "x, gamma, beta, inference, eps", "before": "assert inference is False"},
    "mode text": {"signature": "x, gamma, beta, eps, mode='test'", "before": "assert mode == 'train'"},
    "mode text required": {"signature": "x, gamma, beta, mode, eps", "before": "assert mode == 'train'"},
    "phase in capitals": {"signature": "x, gamma, beta, eps, phase='TRAIN'", "before": "assert phase == 'TRAIN'"},
    "momentum": {"signature": "x, gamma, beta, momentum, eps", "before": "assert 0 < momentum < 1"},
    "running statistics": {
        "signature": "x, gamma, beta, running_mean, running_var, eps",
        "before": "assert running_mean.shape == gamma.shape and (running_mean == 0).all() and (running_var == 1).all()",
        "returns": "y, (xhat, std, gamma), running_mean, running_var",
    },
    "moving averages": {"signature": "x, gamma, beta, moving_avg, moving_std, eps"}
    | {"before": "assert not moving_avg.any()"},
    "rm and rv in a cache": {
        "signature": "x, gamma, beta, cache, momentum, train, eps",
        "before": "rm, rv = cache; assert train",
        "returns": "y, (xhat, std, gamma), rm, rv",
    },
    "option of unknown use": {"signature": "x, gamma, beta, eps=1e-5, verbose=0", "before": "assert verbose == 0"},
    "switches": {"signature": "x, gamma, beta, eps=1e-5, scale=True, center=True", "before": "assert scale is True"},
}  # fmt: skip


@pytest.mark.parametrize("case", SIGNATURES)
def test_signatures(write, right, case):
    conventions = right(write(pair(**SIGNATURES[case])))
    assert conventions.eps_source == "argument"
    assert conventions.layouts == ("NC",)


DICTS = {
    "cs231n": "eps = bn_param.get('eps', 1e-5); mode = bn_param['mode']; assert mode == 'train'",
    "epsilon": "eps = bn_param['epsilon']",
    "running statistics required": "eps = bn_param['eps']; bn_param['running_mean'] *= bn_param['running_var']",
    "fresh each time": "eps = bn_param['eps']; assert 'seen' not in bn_param; bn_param['seen'] = 1",
}


@pytest.mark.parametrize("case", DICTS)
def test_dicts_of_options(write, right, case):
    conventions = right(write(pair(signature="x, gamma, beta, bn_param", before=DICTS[case])))
    assert conventions.eps_source == "argument"


def test_a_dict_of_options_under_any_name(write, right):
    assert right(write(pair(signature="x, gamma, beta, q", before="eps = q['eps']"))).eps_source == "argument"


CACHES = {
    "dict": {"returns": "y, {'xhat': xhat, 'std': std, 'g': gamma}", "unpack": "xhat, std, g = cache.values()"},
    "flat": {"returns": "y, xhat, std, gamma"},
    "spread by name": {"returns": "y, gamma, std, xhat", "arguments": "dout, xhat, std, gamma", "unpack": "g = gamma"},
    "spread by position": {"returns": "y, xhat, std", "arguments": "dout, a, b, gamma"}
    | {"unpack": "xhat, std, g = a, b, gamma"},
    "cache first": {"arguments": "cache, dout"},
    "meaningless names": {"arguments": "p, q", "unpack": "dout = p; xhat, std, g = q"},
    "meaningless, swapped": {"arguments": "p, q", "unpack": "dout = q; xhat, std, g = p"},
    "cache before y": {"returns": "(xhat, std, gamma), y"},
    "list": {"returns": "[y, [xhat, std, gamma]]"},
    "named among others": {"before": "cache = []", "returns": "y, cache, mu, std"}
    | {"before": "cache = []", "unpack": "xhat, std, g = cache"},
    "recomputed": {"arguments": "dout, x, gamma, beta, eps", "returns": "y"}
    | {"unpack": "std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std; g = gamma"},
    "with options": {"arguments": "dout, cache, eps", "unpack": "xhat, std, g = cache; assert eps < 0.01"},
    "module state": {"before": "global CACHE", "returns": "(CACHE := (xhat, std, gamma)) and y", "arguments": "dout"}
    | {"unpack": "xhat, std, g = CACHE"},
}  # fmt: skip


@pytest.mark.parametrize("case", CACHES)
def test_caches(write, right, case):
    source = pair(**CACHES[case])
    if case == "named among others":
        source = source.replace("return y, cache", "cache += [xhat, std, gamma]; return y, cache")
    right(write(source))


RESULTS = {
    "dbeta first": ({"results": "dx, dbeta, dgamma"}, "tuple (dx, dbeta, dgamma)"),
    "dx last": ({"results": "dbeta, dgamma, dx"}, "tuple (dbeta, dgamma, dx)"),
    "short names": ({"after": "dw, db = dgamma, dbeta", "results": "dx, db, dw"}, "tuple (dx, dbeta, dgamma)"),
    "mark behind": ({"after": "x_grad, bias_grad, weight_grad = dx, dbeta, dgamma"}
                    | {"results": "x_grad, bias_grad, weight_grad"}, "tuple (dx, dbeta, dgamma)"),
    "camel": ({"after": "gradInput, gradBeta, gradGamma = dx, dbeta, dgamma"}
              | {"results": "gradInput, gradBeta, gradGamma"}, "tuple (dx, dbeta, dgamma)"),
    "one unreadable": ({"results": "dx * 1, dbeta, dgamma"}, "tuple (dx, dbeta, dgamma)"),
    "reshaped": ({"results": "dx.reshape(dout.shape), dbeta.ravel(), np.reshape(dgamma, -1)"},
                 "tuple (dx, dbeta, dgamma)"),
    "nothing readable": ({"results": "dx * 1, dgamma * 1, dbeta * 1"}, "tuple (dx, dgamma, dbeta)"),
    "nothing readable, dx last": ({"results": "dgamma * 1, dbeta * 1, dx * 1"}, "tuple (dgamma, dbeta, dx)"),
    "through a variable": ({"after": "out = (dx, dbeta, dgamma)", "results": "out"}, "tuple (dx, dbeta, dgamma)"),
    "dict": ({"results": "{'dgamma': dgamma, 'dX': dx, 'dbeta': dbeta}"}, "dict (dgamma, dX, dbeta)"),
    "plain keys": ({"results": "dict(x=dx, gamma=dgamma, beta=dbeta)"}, "dict (x, gamma, beta)"),
    "list": ({"results": "[dx, dbeta, dgamma]"}, "tuple (dx, dbeta, dgamma)"),
    "more than three": ({"results": "dx, dbeta, dgamma, n"}, None),
    "rows": ({"results": "dx, dgamma[None], dbeta[None, :]"}, "tuple (dx, dgamma, dbeta)"),
    "columns": ({"results": "dx, dgamma[:, None], dbeta[:, None]"}, "tuple (dx, dgamma, dbeta)"),
    "nested lists": ({"results": "dx.tolist(), dgamma.tolist(), dbeta.tolist()"}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", RESULTS)
def test_results(write, right, case):
    changes, words = RESULTS[case]
    returns = right(write(pair(**changes))).returns
    assert words is None or returns == words


def test_the_order_is_read_through_a_function_that_is_only_called(write, right):
    source = pair(backward="_grads", results="dx, dbeta, dgamma")
    right(write(source + "\ndef bn_backward(dout, cache):\n    return _grads(dout, cache)\n", "bn_forward"))


def test_a_named_tuple_of_gradients(write, right):
    source = pair(results="Grads(dbeta, dx, dgamma)")
    right(write("from collections import namedtuple\nGrads = namedtuple('Grads', 'dbeta dx dgamma')\n" + source))


def test_names_that_lie_are_not_put_right(write, only, agrees):
    target = only(write(pair(after="dgamma, dbeta = dbeta, dgamma")))
    assert target.conventions.returns == "tuple (dx, dgamma, dbeta)"
    with pytest.raises(AssertionError, match="dgamma"):
        agrees(target, 2)


def test_a_decorated_function(write, right):
    source = """
    import functools
    def logged(f):
        @functools.wraps(f)
        def inner(*args, **kwargs):
            return f(*args, **kwargs)
        return inner
    """
    decorated = pair().replace("def bn_", "@logged\ndef bn_")
    right(write(textwrap.dedent(source) + decorated))


def test_partial_and_lambda_at_module_level(write, right):
    source = pair(forward="_f", backward="_b").replace("return y,", "return y ,")
    more = "\nfrom functools import partial\nbn_forward = partial(_f, eps=1e-4)\nbn_backward = lambda d, c: _b(d, c)\n"
    right(write(source + more, "bn_forward"))


def test_anything_may_be_passed_to_star_arguments(write, right):
    source = pair(signature="*args", before="x, gamma, beta = args; eps = 1e-4", arguments="*args")
    conventions = right(write(source.replace("xhat, std, g = cache", "dout, (xhat, std, g) = args")))
    assert (conventions.eps_source, conventions.eps) == ("fixed", 1e-4)


def test_one_forward_with_two_backwards_makes_two_targets(write):
    spec = write(pair() + pair(backward="bn_backward_v2", results="dx, dbeta, dgamma").split("\n\n")[-1])
    assert [card.name for card in resolve.cards(spec)] == ["my_bn.py::bn_forward", "my_bn.py::bn_backward_v2"]
    returns = {card.name: card.conventions.returns for card in resolve.cards(spec)}
    assert returns["my_bn.py::bn_backward_v2"] == "tuple (dx, dbeta, dgamma)"


PARAMETER_DICTS = {
    "gamma and beta": ("'gamma'", "'beta'", "return dx, {'dgamma': dgamma, 'dbeta': dbeta}"),
    "numbered": ("'gamma1'", "'beta1'", "return {'dx': dx, 'dgamma1': dgamma, 'dbeta1': dbeta}"),
    "a tuple back": ("'gamma'", "'beta'", "return dbeta, dx, dgamma"),
}


@pytest.mark.parametrize("case", PARAMETER_DICTS)
def test_parameters_in_a_dict(write, right, case):
    gamma, beta, results = PARAMETER_DICTS[case]
    source = pair(
        signature="x, parameters, eps=1e-5", g=f"parameters[{gamma}]", b=f"parameters[{beta}]",
        returns=f"y, (xhat, std, parameters[{gamma}])",
    ).replace("return dx, dgamma, dbeta", results)  # fmt: skip
    assert right(write(source)).layouts == ("NC",)


def test_gamma_that_is_nowhere_to_be_given_is_not_understood(write):
    source = pair(signature="x, eps=1e-5", before="gamma, beta = np.ones(x.shape[1]), np.zeros(x.shape[1])")
    with pytest.raises(TargetError, match="with a place for x, gamma and beta"):
        resolve.cards(write(source))


def test_a_backward_without_the_parameters_gradients_is_not_understood(write):
    with pytest.raises(TargetError, match="the gradients of gamma and beta were not found: it hands over dx"):
        resolve.cards(write(pair(results="dx")))
