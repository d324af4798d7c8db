"""What a session hands over and takes back: memory, dtype, copies, in-place changes, misshapen results."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.adapters.layouts import in_memory
from bncheck.case import MEMORY
from bncheck.model import TargetSpec
from bncheck.session import Setup

EPS = 1e-5


def pair(forward=None, backward=None):
    """Return a live right pair, with a piece of misbehaviour before its work."""

    def bn_forward(x, gamma, beta, eps=1e-5):
        if forward is not None:
            forward(x, gamma, beta)
        std = np.sqrt(x.var(axis=0) + eps)
        xhat = (x - x.mean(axis=0)) / std
        return gamma * xhat + beta, (xhat, std, gamma)

    def bn_backward(dout, cache):
        if backward is not None:
            backward(dout, cache)
        xhat, std, gamma = cache
        g = dout * gamma
        dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
        return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)

    return bn_forward, bn_backward


def resolved(*live):
    spec = TargetSpec("live", live)
    return resolve.target(spec, resolve.cards(spec)[0].name)


def numbers(shape=(5, 3), dtype="float64"):
    random = np.random.default_rng(5)
    x, dy = random.normal(size=(2, *shape)).astype(dtype)
    gamma, beta = random.uniform(0.5, 2, size=(2, shape[1])).astype(dtype)
    return x, gamma, beta, dy


def session(target, gamma, beta, memory="C"):
    return target.open(Setup(gamma, beta, EPS, 0.9, memory))


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("fixture", ["features_first", "channels_last", "nchw_pair", "layer_class_train_flag"])
def test_memory_does_not_change_the_answer(memory, fixture):
    from pathlib import Path

    spec = TargetSpec(str(Path(__file__).parents[2] / "fixtures/correct" / f"{fixture}.py"))
    target = resolve.target(spec, resolve.cards(spec)[0].name)
    x, gamma, beta, dy = numbers((4, 3, 2, 5) if len(target.conventions.layouts[0]) == 4 else (4, 3))
    plain, other = (session(target, gamma, beta, m) for m in ("C", memory))
    np.testing.assert_allclose(other.forward(x), plain.forward(x), rtol=1e-12, atol=1e-12)
    for got, wanted in zip(other.backward(dy)[:3], plain.backward(dy)[:3], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("memory", MEMORY)
def test_the_memory_asked_for_is_what_user_code_gets(memory):
    seen = []
    target = resolved(*pair(lambda x, g, b: seen.append((x, g, b)), lambda d, c: seen.append((d,))))
    x, gamma, beta, dy = numbers()
    seen.clear()
    opened = session(target, gamma, beta, memory)
    opened.forward(x)
    opened.backward(dy)
    (x_given, *parameters), (dy_given,) = seen
    for given, original in ((x_given, x), (dy_given, dy)):
        np.testing.assert_array_equal(given, original)
        assert not np.shares_memory(given, original)
        assert given.flags.c_contiguous is (memory in ("C", "readonly", "channels_last"))  # the last has two axes here
        assert given.flags.f_contiguous is (memory == "F")
        assert given.flags.writeable is (memory != "readonly")
        assert all(stride > 0 for stride in given.strides)
    assert [a.flags.writeable for a in parameters] == [memory != "readonly"] * 2


def test_memory_is_applied_last_on_the_users_layout():
    given = in_memory(np.zeros((2, 4, 5, 3)), "F")
    assert given.strides[0] < given.strides[-1]


@pytest.mark.parametrize(
    ("shape", "strides"), [((2, 3, 4, 5), (60, 1, 15, 3)), ((2, 3, 4), (12, 1, 3)), ((2, 3), (3, 1))]
)
def test_channels_last_is_an_order_of_memory_not_of_axes(shape, strides):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    given = in_memory(x, "channels_last")
    np.testing.assert_array_equal(given, x)
    assert given.strides == tuple(4 * stride for stride in strides)
    assert not np.shares_memory(given, x)


def test_the_gaps_of_a_strided_array_hold_nan():
    strided = in_memory(np.ones((3, 4)), "strided")
    assert strided.strides == (64, 16)
    assert np.isnan(strided.base).sum() == 12


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_dtype_of_what_is_handed_over(dtype):
    seen = []
    target = resolved(*pair(lambda x, g, b: seen.append((x.dtype, g.dtype, b.dtype))))
    x, gamma, beta, _ = numbers(dtype=dtype)
    assert session(target, gamma, beta).forward(x).dtype == dtype
    assert seen[-1] == (np.dtype(dtype),) * 3


def test_nothing_is_changed_by_right_code():
    opened = session(resolved(*pair()), *numbers()[1:3])
    opened.forward(numbers()[0])
    opened.backward(numbers()[3])
    handed = opened.handed_over()
    assert set(handed) == {"x", "gamma", "beta", "dy"}
    for before, now in handed.values():
        np.testing.assert_array_equal(before, now)


def scale(array):
    array *= 2


@pytest.mark.parametrize(
    ("name", "live"),
    [
        ("x", pair(lambda x, g, b: scale(x))),
        ("gamma", pair(lambda x, g, b: scale(g))),
        ("beta", pair(lambda x, g, b: scale(b))),
        ("dy", pair(None, lambda d, c: scale(d))),
        ("gamma", pair(None, lambda d, c: scale(c[2]))),
    ],
)
def test_in_place_changes_are_seen_and_reach_nobody_else(name, live):
    x, gamma, beta, dy = numbers()
    copies = {"x": x.copy(), "gamma": gamma.copy(), "beta": beta.copy(), "dy": dy.copy()}
    opened = session(resolved(*live), gamma, beta)
    opened.forward(x)
    opened.backward(dy)
    changed = [key for key, (before, now) in opened.handed_over().items() if not np.array_equal(before, now)]
    assert changed == [name]
    for key, array in (("x", x), ("gamma", gamma), ("beta", beta), ("dy", dy)):
        np.testing.assert_array_equal(array, copies[key])


def test_in_place_changes_are_seen_through_another_layout_and_parameter_shape():
    def bn_forward(z, gamma, beta, eps=1e-5):
        std = np.sqrt(z.var(axis=1, keepdims=True) + eps)
        z -= z.mean(axis=1, keepdims=True)
        out = gamma * z / std + beta
        beta += 1
        return out, (z / std, std, gamma)

    def bn_backward(dout, cache):
        return dout, (dout * cache[0]).sum(axis=1, keepdims=True), dout.sum(axis=1, keepdims=True)

    target = resolved(bn_forward, bn_backward)
    assert target.conventions.layouts == ("CN",)
    x, gamma, beta, _ = numbers()
    opened = session(target, gamma, beta)
    opened.forward(x)
    handed = opened.handed_over()
    np.testing.assert_allclose(handed["x"][1], x - x.mean(axis=0))
    np.testing.assert_allclose(handed["beta"][1], beta + 1)
    np.testing.assert_array_equal(handed["gamma"][1], gamma)


def test_results_are_copies():
    buffer = np.zeros((5, 3))

    def bn_forward(x, gamma, beta, eps=1e-5):
        out = buffer if x.shape == buffer.shape else np.zeros(x.shape)
        out[...] = gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps) + beta
        return out, x

    x, gamma, beta, _ = numbers()
    opened = session(resolved(bn_forward, lambda dout, cache: (dout, dout.sum(axis=0), dout.sum(axis=0))), gamma, beta)
    y = opened.forward(x)
    kept = y.copy()
    opened.forward(x + np.arange(15).reshape(5, 3) ** 2)
    np.testing.assert_array_equal(y, kept)


RAW = {
    "dgamma unsummed": (lambda d: (d, d, d.sum(axis=0)), "dgamma", (5, 3)),
    "dgamma a number": (lambda d: (d, d.sum(), d.sum(axis=0)), "dgamma", ()),
    "dbeta too short": (lambda d: (d, d.sum(axis=0), d.sum(axis=0)[1:]), "dbeta", (2,)),
    "dx transposed": (lambda d: (d.T, d.sum(axis=0), d.sum(axis=0)), "dx", (3, 5)),
    "dx a row": (lambda d: (d[:1], d.sum(axis=0), d.sum(axis=0)), "dx", (1, 3)),
}


@pytest.mark.parametrize("case", RAW)
def test_what_does_not_fit_is_handed_on_as_it_came(case):
    backward, name, shape = RAW[case]
    x, gamma, beta, dy = numbers()
    opened = session(resolved(pair()[0], lambda dout, cache: backward(dout)), gamma, beta)
    opened.forward(x)
    assert np.shape(getattr(opened.backward(dy), name)) == shape


@pytest.mark.parametrize(
    ("backward", "missing"),
    [(lambda d: (d, d.sum(axis=0)), "dbeta"), (lambda d: {"dx": d, "dbeta": d.sum(axis=0)}, "dgamma")],
)
def test_what_is_missing_is_none(backward, missing):
    x, gamma, beta, dy = numbers()
    opened = session(resolved(pair()[0], lambda dout, cache: backward(dout)), gamma, beta)
    opened.forward(x)
    grads = opened.backward(dy)
    assert getattr(grads, missing) is None
    assert grads.dx is not None


def test_one_channel_may_come_as_a_number():
    def backward(dout, cache):
        dgamma, dbeta = (dout * cache[0]).sum(axis=0), dout.sum(axis=0)
        return (dout, float(dgamma[0]), float(dbeta[0])) if dout.shape[1] == 1 else (dout, dgamma, dbeta)

    x, gamma, beta, dy = numbers((5, 1))
    opened = session(resolved(pair()[0], backward), gamma, beta)
    opened.forward(x)
    assert opened.backward(dy).dbeta.shape == (1,)


def columns(keep_gamma, keep_beta):
    """Return a right pair for (C, N) with parameters of shape (C, 1), whose gradients keep that shape or not."""

    def bn_forward(z, gamma, beta, eps=1e-5):
        std = np.sqrt(z.var(axis=1, keepdims=True) + eps)
        xhat = (z - z.mean(axis=1, keepdims=True)) / std
        return gamma * xhat + beta, (xhat, std, gamma)

    def bn_backward(dout, cache):
        xhat, std, gamma = cache
        g = dout * gamma
        dx = (g - g.mean(axis=1, keepdims=True) - xhat * (g * xhat).mean(axis=1, keepdims=True)) / std
        return dx, (dout * xhat).sum(axis=1, keepdims=keep_gamma), dout.sum(axis=1, keepdims=keep_beta)

    return bn_forward, bn_backward


@pytest.mark.parametrize(
    ("keep", "misfit"),
    [
        ((True, True), ""),
        ((True, False), "dbeta has shape (3,) where beta has (3, 1): an update would grow beta to (3, 3)"),
        ((False, True), "dgamma has shape (3,) where gamma has (3, 1): an update would grow gamma to (3, 3)"),
    ],
)
def test_a_gradient_that_would_grow_its_parameter_is_a_misfit(keep, misfit):
    target = resolved(*columns(*keep))
    assert target.conventions.layouts == ("CN",)
    x, gamma, beta, dy = numbers()
    opened = session(target, gamma, beta)
    opened.forward(x)
    grads = opened.backward(dy)
    assert grads.misfit == misfit
    np.testing.assert_allclose(grads.dbeta, dy.sum(axis=0))


def test_a_gradient_of_a_row_beside_a_flat_parameter_fits():
    x, gamma, beta, dy = numbers()
    opened = session(resolved(pair()[0], lambda d, cache: (d, d.sum(axis=0)[None], d.sum(axis=0)[None])), gamma, beta)
    opened.forward(x)
    assert opened.backward(dy).misfit == ""


def test_exceptions_pass_through_untouched():
    boom = ZeroDivisionError("boom")

    def explode(array):
        if len(array) == 5:
            raise boom

    x, gamma, beta, dy = numbers()
    forward = session(resolved(*pair(lambda x, g, b: explode(x))), gamma, beta)
    with pytest.raises(ZeroDivisionError) as caught:
        forward.forward(x)
    assert caught.value is boom
    backward = session(resolved(*pair(None, lambda d, c: explode(d))), gamma, beta)
    backward.forward(x)
    with pytest.raises(ZeroDivisionError):
        backward.backward(dy)


def test_eval_mode_reaches_the_code():
    modes = []

    def bn_forward(x, gamma, beta, bn_param):
        modes.append(bn_param["mode"])
        std = np.sqrt(x.var(axis=0) + bn_param["eps"])
        return gamma * (x - x.mean(axis=0)) / std + beta, (x, std)

    target = resolved(bn_forward, lambda dout, cache: (dout, dout.sum(axis=0), dout.sum(axis=0)))
    x, gamma, beta, _ = numbers()
    opened = session(target, gamma, beta)
    opened.forward(x)
    opened.forward(x, "eval")
    opened.forward(x)
    assert modes[-3:] == ["train", "test", "train"]


def test_no_signature_is_looked_at_when_a_session_runs(monkeypatch):
    import inspect

    target = resolved(*pair())
    x, gamma, beta, dy = numbers()
    monkeypatch.setattr(inspect, "signature", None)
    opened = session(target, gamma, beta)
    opened.forward(x)
    assert opened.backward(dy).dx.shape == x.shape
