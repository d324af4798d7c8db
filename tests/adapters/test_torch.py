"""PyTorch: its tensors, autograd functions, modules, plain functions, static methods; layers of the library itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dtypes import EVERY_DTYPE, needs_bfloat16
from layers import TORCH_LAYER

from bncheck import api, pipeline
from bncheck.adapters import resolve, template
from bncheck.adapters.layouts import in_memory
from bncheck.case import MEMORY
from bncheck.core import reference
from bncheck.core.precision import dtype_of
from bncheck.errors import TargetError
from bncheck.executors.in_process import InProcess
from bncheck.model import Declared, Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.session import Setup
from bncheck.settings import Settings

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing of it is tested")

from bncheck.adapters.torch_code import Torch  # noqa: E402 (only a test that runs has a use for it)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "torch"
nn = torch.nn
# What a sweep of few cases is made of: the small recipes.
CASES = 24
GRADIENT_CHECKS = {"BN201", "BN202", "BN203"}


def verified(source, cases=CASES, **settings):
    """Return the reports on a file, verified in this process."""
    spec = TargetSpec(str(source))
    return pipeline.run([spec], Settings(cases=cases, **settings), executor=InProcess()).targets


def one(source, **settings):
    (report,) = verified(source, **settings)
    return report


def live(thing, cases=CASES, **settings):
    (report,) = api.verify(thing, cases=cases, **settings).targets
    return report


def outcomes(report, outcome=Outcome.FAIL):
    return {finding.code for finding in report.findings if finding.outcome is outcome}


def variant(tmp_path, fixture, *changes):
    """Write a fixture with some of its text replaced to a file of its own."""
    text = (FIXTURES / fixture).read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / fixture
    path.write_text(text)
    return path


def resolved(thing, **declared):
    spec = TargetSpec("target", live=(thing,), declared=Declared(**declared))
    (card,) = resolve.cards(spec)
    return resolve.target(spec, card.name)


# -------------------------------------------------------------------------------------------------------------- tensors


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
@pytest.mark.parametrize("memory", [kind for kind in MEMORY if kind != "readonly"])
def test_a_tensor_shares_the_memory_of_its_array_and_its_strides(memory, dtype):
    array = in_memory(np.arange(120.0).reshape(2, 3, 4, 5).astype(dtype_of(dtype)), memory)
    tensor = Torch("cpu").give(array)
    assert str(tensor.dtype) == f"torch.{dtype}"
    assert tensor.stride() == tuple(stride // array.itemsize for stride in array.strides)
    tensor[1, 2, 3, 4] = -1
    assert array[1, 2, 3, 4] == -1
    back = Torch("cpu").take(tensor)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back.astype(float), array.astype(float))


def test_channels_last_is_what_torch_calls_by_that_name():
    tensor = Torch("cpu").give(in_memory(np.zeros((2, 3, 4, 5)), "channels_last"))
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert not tensor.is_contiguous()


@pytest.mark.parametrize("array", [in_memory(np.ones((3, 4)), "readonly"), np.arange(12.0).reshape(3, 4)[::-1]])
def test_memory_that_cannot_be_shared_is_copied_without_a_warning(array):
    tensor = Torch("cpu").give(array)
    tensor += 1
    np.testing.assert_array_equal(tensor.numpy(), np.asarray(array) + 1)


def test_what_is_no_tensor_comes_back_as_it_came():
    library = Torch("cpu")
    for thing in (None, 1.5, "y", np.ones(2)):
        assert library.take(thing) is thing
        assert thing is None or isinstance(thing, np.ndarray) or library.give(thing) is thing


def test_values_are_written_into_a_leaf_unseen_by_autograd():
    leaf = nn.Parameter(torch.ones(3))
    Torch("cpu").assign(leaf, torch.tensor([1.0, 2.0, 3.0]))
    assert leaf.is_leaf
    assert leaf.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("device", "said"),
    [("mps", "float64"), ("tpu", "Known: cpu, cuda"), ("cuda:x", "Known: cpu, cuda"), ("cuda:4096", "not available")],
)
def test_a_device_that_is_not_there_is_refused(device, said):
    with pytest.raises(TargetError, match=said):
        Torch(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_whole_target_is_refused():
    with pytest.raises(TargetError, match="device 'cuda' is not available"):
        api.verify(nn.BatchNorm1d, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
@pytest.mark.parametrize("layer", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_layers_pass_on_a_gpu(layer):
    assert live(layer, device="cuda").verdict is Verdict.PASS


def test_numpy_code_is_verified_without_importing_a_framework():
    code = (
        "import sys; from bncheck import pipeline; from bncheck.executors.in_process import InProcess; "
        "from bncheck.model import TargetSpec; from bncheck.settings import Settings; "
        f"r = pipeline.run([TargetSpec({str(FIXTURES.parent / 'correct' / 'nchw_pair.py')!r})], Settings(cases=3), "
        "executor=InProcess()); "
        "print(r.verdict, sorted({'torch', 'jax', 'flax', 'keras', 'tensorflow', 'ml_dtypes'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "pass []", done.stderr


# ---------------------------------------------------------------------------------------------------- the library's own


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("layer", "layouts"),
    [(nn.BatchNorm1d, {"NC"}), (nn.BatchNorm2d, {"NCHW"}), (nn.BatchNorm3d, {"NCDHW"})],
)
def test_layers_of_torch_pass(layer, layouts, dtype):
    report = live(layer, dtype=dtype, profile="pytorch")
    assert report.verdict is Verdict.PASS, outcomes(report)
    found = report.conventions
    assert layouts <= set(found.layouts)
    assert (found.framework, found.returns, found.mode_switch, found.profile) == (
        "torch",
        "autograd of torch",
        "methods train() and eval()",
        "pytorch",
    )
    # Running statistics, eval mode and profile were all judged.
    assert outcomes(report, Outcome.PASS) >= {"BN101", "BN201", "BN211", "BN301", "BN302", "BN303"}


@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=needs_bfloat16)])
@pytest.mark.parametrize("layer", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_nothing_is_held_against_a_right_layer_in_half_precision(layer, dtype):
    """What rounding hides is inconclusive; nothing fails, and nothing warns."""
    report = live(layer, dtype=dtype, cases=40)
    assert report.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE)
    assert not outcomes(report) | outcomes(report, Outcome.WARN)
    assert {"BN501", "BN502", "BN503", "BN506"} <= outcomes(report, Outcome.PASS)


@pytest.mark.parametrize("dtype", ["float32", "float16", pytest.param("bfloat16", marks=needs_bfloat16)])
def test_a_gross_error_is_seen_in_every_precision(tmp_path, dtype):
    wrong = variant(
        tmp_path, "autograd_function.py", ("grad_beta = grad_y.sum(dim=0)", "grad_beta = -grad_y.sum(dim=0)")
    )
    assert "BN213" in outcomes(one(wrong, dtype=dtype))


@needs_bfloat16
def test_numpy_code_works_in_bfloat16():
    report = one(FIXTURES.parent / "correct" / "nchw_pair.py", dtype="bfloat16", cases=40)
    assert report.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE)
    assert not outcomes(report)
    assert outcomes(report, Outcome.WARN) <= {"BN404"}  # NumPy sums in bfloat16


@pytest.mark.parametrize(
    ("made", "layouts", "shape"),
    [
        (nn.BatchNorm2d(3), {"NCHW"}, "(C,)"),
        (nn.BatchNorm1d(4, affine=False, eps=1e-3), {"NC"}, "none"),
        (nn.BatchNorm1d(4, track_running_stats=False), {"NC"}, "(C,)"),
        (nn.BatchNorm1d(5, momentum=None), {"NC"}, "(C,)"),
    ],
    ids=["2d", "without affine", "without statistics", "cumulative"],
)
def test_a_live_layer_passes_with_what_it_was_made_with(made, layouts, shape):
    before = {name: value.clone() for name, value in made.state_dict().items()}
    report = live(made)
    assert report.verdict is Verdict.PASS, outcomes(report)
    assert layouts <= set(report.conventions.layouts)
    assert report.conventions.parameter_shape == shape
    tracked = "running_mean" in before
    assert ("BN302" in outcomes(report, Outcome.PASS)) is tracked
    for name, value in made.state_dict().items():  # the layer itself was not touched
        assert torch.equal(value, before[name])


def test_a_trained_layer_is_verified_like_a_fresh_one():
    layer = nn.BatchNorm1d(3)
    for _ in range(3):
        layer(5 + torch.randn(8, 3))
    with torch.no_grad():
        layer.weight *= 3
    mean = layer.running_mean.clone()
    assert live(layer).conventions.profile == "pytorch"
    assert torch.equal(layer.running_mean, mean)


class NoWay(nn.Module):
    """Its constructor's argument is not kept, so that no layer of another size can be made."""

    def __init__(self, table):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(len(table))), nn.Parameter(torch.zeros(len(table)))

    def forward(self, x):
        return nn.functional.batch_norm(x, None, None, self.weight, self.bias, True)


def test_a_live_layer_of_which_no_other_size_can_be_made_says_so():
    with pytest.raises(TargetError, match=r"this NoWay has 2 channels.*Give the class instead"):
        api.verify(NoWay("ab"))


def test_layers_of_torch_are_found_by_name():
    spec = TargetSpec("torch.nn:BatchNorm2d")
    (card,) = resolve.cards(spec)
    assert card.name == "torch.nn:BatchNorm2d"
    assert card.conventions.adapter == "torch-module"


def test_the_function_of_the_library_passes_with_its_running_statistics():
    report = live(nn.functional.batch_norm)
    assert report.verdict is Verdict.PASS, outcomes(report)
    assert report.conventions.profile == "pytorch"
    assert {"BN301", "BN302"} <= outcomes(report, Outcome.PASS)


def test_a_layer_norm_does_not_pass():
    assert "BN101" in outcomes(live(nn.LayerNorm))


def test_one_value_per_channel_is_refused_and_that_is_fine():
    spec = "v1:one-value:seed=0,n=1,c=4"
    report = pipeline.replay([TargetSpec("torch.nn:BatchNorm1d")], spec, Settings(), InProcess()).targets[0]
    (survives,) = [finding for finding in report.findings if finding.code == "BN506"]
    assert survives.outcome is Outcome.PASS
    assert "Expected more than 1 value per channel" in survives.message


# ------------------------------------------------------------------------------------------------------------- sessions


def numbers(shape, dtype="float64"):
    random = np.random.default_rng(3)
    x, dy = (random.normal(0.5, 2.0, shape).astype(dtype) for _ in range(2))
    gamma, beta = (random.uniform(0.5, 2.0, shape[1]).astype(dtype) for _ in range(2))
    return x, gamma, beta, dy


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("made", [nn.BatchNorm2d, nn.functional.batch_norm, "autograd_setup_context.py"])
def test_memory_does_not_change_the_answer(made, memory):
    if isinstance(made, str):
        spec = TargetSpec(str(FIXTURES / made))
        target = resolve.target(spec, resolve.cards(spec)[0].name)
    else:
        target = resolved(made)
    x, gamma, beta, dy = numbers((3, 4, 2, 5))
    session = target.open(Setup(gamma, beta, 1e-3, 0.1, memory))
    y = session.forward(x)
    wanted = reference.forward(x, gamma, beta, 1e-3, (0, 2, 3))
    np.testing.assert_allclose(y, wanted.y, rtol=1e-12, atol=1e-12)
    for got, want in zip(session.backward(dy)[:3], reference.backward(dy, wanted, gamma, (0, 2, 3)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    for before, now in session.handed_over().values():
        np.testing.assert_array_equal(before, now)


class Watching(nn.BatchNorm2d):
    """Notes how the tensors lie in memory that it is given, forward and backward."""

    seen: list = []  # noqa: RUF012 (shared by all that are made)

    def forward(self, x):
        y = super().forward(x)
        if x.shape[0] == 6:
            self.seen.append(x.stride())
            y.register_hook(lambda dy: self.seen.append(dy.stride()))
        return y


def test_the_memory_asked_for_is_what_modules_get():
    target = resolved(Watching)
    x, gamma, beta, dy = numbers((6, 4, 2, 5))
    Watching.seen.clear()
    session = target.open(Setup(gamma, beta, 1e-3, 0.1, "channels_last"))
    session.forward(x)
    session.backward(dy)
    assert Watching.seen == [(40, 1, 20, 4)] * 2


@pytest.mark.parametrize("made", [nn.BatchNorm1d, nn.BatchNorm2d, nn.functional.batch_norm])
def test_running_statistics_after_some_batches_are_the_ones_told_by_the_documentation(made):
    shape = (5, 3, 2, 4) if made is nn.BatchNorm2d else (5, 3)
    axes = (0, *range(2, len(shape)))
    session = resolved(made).open(Setup(np.ones(3), np.zeros(3), 1e-5, 0.3))
    mean, var = np.zeros(3), np.ones(3)
    random = np.random.default_rng(5)
    for batch in range(4):
        x = random.normal(batch, 1 + batch, shape)
        session.forward(x)
        mean = 0.7 * mean + 0.3 * x.mean(axis=axes)
        var = 0.7 * var + 0.3 * x.var(axis=axes, ddof=1)
        got = session.running_stats()
        np.testing.assert_allclose(got[0], mean, rtol=1e-13)
        np.testing.assert_allclose(got[1], var, rtol=1e-13)


@pytest.mark.parametrize("made", [nn.BatchNorm1d, nn.functional.batch_norm, nn.BatchNorm1d(3)])
def test_eval_mode_is_an_affine_map_by_the_running_statistics_both_ways(made):
    x, gamma, beta, dy = numbers((5, 3))
    session = resolved(made).open(Setup(gamma, beta, 1e-3, 0.3))
    session.forward(2 * x + 1)
    mean, var = session.running_stats()
    inv_std = 1 / np.sqrt(var + 1e-3)
    np.testing.assert_allclose(session.forward(x, "eval"), gamma * (x - mean) * inv_std + beta, rtol=1e-12)
    dx, dgamma, dbeta, *_ = session.backward(dy)
    np.testing.assert_allclose(dx, dy * gamma * inv_std, rtol=1e-12)
    np.testing.assert_allclose(dgamma, (dy * (x - mean) * inv_std).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(dbeta, dy.sum(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(session.running_stats()[0], mean)  # which eval mode leaves alone


def test_gradients_do_not_pile_up_from_one_backward_to_the_next():
    x, gamma, beta, dy = numbers((5, 3))
    session = resolved(nn.BatchNorm1d).open(Setup(gamma, beta, 1e-3, 0.3))
    session.forward(x)
    first, second = session.backward(dy), session.backward(dy)
    for one_, other in zip(first[:3], second[:3], strict=True):
        np.testing.assert_array_equal(one_, other)


# --------------------------------------------------------------------------------------------------- autograd functions


@pytest.mark.parametrize(
    ("fixture", "layouts", "backward"),
    [
        ("autograd_function.py", ("NC",), "BatchNormFunction.backward"),
        ("autograd_setup_context.py", ("NCHW",), "SpatialBatchNorm.backward"),
    ],
)
def test_right_autograd_functions_pass(fixture, layouts, backward):
    report = one(FIXTURES / fixture, cases=40)
    assert report.verdict is Verdict.PASS, outcomes(report)
    assert (report.conventions.layouts, report.conventions.returns) == (layouts, backward)
    assert (report.conventions.adapter, report.conventions.eps_source) == ("torch-function", "argument")


BUGS = {
    "gamma lost in dx": ("grad_xhat = grad_y * gamma", "grad_xhat = grad_y", {"BN201"}),
    "mean path dropped": (" + grad_mean / m", "", {"BN201"}),
    "variance path dropped": (" + grad_var * 2 * xc / m", "", {"BN201"}),
    "sign of dmu": ("grad_mean = -(", "grad_mean = (", {"BN201"}),
    "factor 2 lost": ("grad_var * 2 * xc", "grad_var * xc", {"BN201"}),
    "power of inv_std": ("inv_std**3", "inv_std**2", {"BN201"}),
    "eps outside the root": ("1 / torch.sqrt(var + ctx.eps)", "1 / (torch.sqrt(var) + ctx.eps)", {"BN201", "BN202"}),
    "ddof 1 in the backward": ("m = x.shape[0]", "m = x.shape[0] - 1", {"BN201"}),
    "x in the place of xhat": ("(grad_y * xhat).sum", "(grad_y * x).sum", {"BN202"}),
    "dgamma averaged": ("(grad_y * xhat).sum(dim=0)", "(grad_y * xhat).mean(dim=0)", {"BN202"}),
    "dbeta averaged": ("grad_y.sum(dim=0)", "grad_y.mean(dim=0)", {"BN203"}),
    "dgamma and dbeta swapped": ("grad_x, grad_gamma, grad_beta", "grad_x, grad_beta, grad_gamma", {"BN202", "BN203"}),
    "dgamma forgotten": ("return grad_x, grad_gamma", "return grad_x, None", {"BN202"}),
}


@pytest.mark.parametrize("bug", BUGS)
def test_every_bug_of_a_backward_is_found_in_the_gradient_that_it_spoils(tmp_path, bug):
    old, new, wrong = BUGS[bug]
    report = one(variant(tmp_path, "autograd_function.py", (old, new)))
    assert report.verdict is Verdict.FAIL
    assert outcomes(report) & GRADIENT_CHECKS == wrong
    assert "BN101" not in outcomes(report)  # the forward is right


ASKED = "if ctx.needs_input_grad"
ALONE = {
    "each where it is wanted": ("[1]", "[2]", None),
    "dgamma and dbeta exchanged": ("[2]", "[1]", "dgamma"),
    "dgamma beside dx alone": ("[0]", "[2]", "dgamma"),
    "dbeta beside dx alone": ("[1]", "[0]", "dbeta"),
}


@pytest.mark.parametrize("how", ALONE)
def test_gradients_that_are_lost_where_the_others_are_not_wanted_are_found(tmp_path, how):
    of_gamma, of_beta, lost = ALONE[how]
    text = "grad_{} = {}"
    lines = {"gamma": "(grad_y * xhat).sum(dim=0)", "beta": "grad_y.sum(dim=0)"}
    places = {"gamma": of_gamma, "beta": of_beta}
    changes = [
        (text.format(name, line), f"{text.format(name, line)} {ASKED}{places[name]} else None")
        for name, line in lines.items()
    ]
    report = one(variant(tmp_path, "autograd_function.py", *changes))
    found = next(finding for finding in report.findings if finding.code == "BN223")
    assert (found.outcome, found.tensor) == ((Outcome.PASS, None) if lost is None else (Outcome.FAIL, lost))
    assert outcomes(report) == (set() if lost is None else {"BN223"})


def test_a_backward_that_does_without_one_gradient_and_raises_then_is_warned_of(tmp_path):
    """dx is made of dgamma, which is None where gamma is frozen."""
    change = (
        "grad_gamma = (grad_y * xhat).sum(dim=0)",
        f"grad_gamma = (grad_y * xhat).sum(dim=0) {ASKED}[1] else None\n        grad_gamma + 0",
    )
    report = one(variant(tmp_path, "autograd_function.py", change))
    assert (report.verdict, "BN223" in outcomes(report, Outcome.WARN)) == (Verdict.PASS, True)


def test_a_dy_that_is_changed_in_place_accuses_no_gradient_alone(tmp_path):
    line = "grad_beta = grad_y.sum(dim=0)"
    report = one(variant(tmp_path, "autograd_function.py", (line, f"{line}\n        grad_y *= 1.5")))
    found = {finding.code: finding for finding in report.findings}
    assert found["BN504"].outcome is Outcome.FAIL
    assert found["BN223"].outcome is not Outcome.FAIL or found["BN223"].follows_from


def test_a_wrong_number_of_gradients_is_a_finding():
    report = one(FIXTURES / "gradient_forgotten.py")
    assert report.verdict is Verdict.FAIL
    (finding,) = [finding for finding in report.findings if finding.outcome is Outcome.FAIL]
    assert finding.code == "BN506"
    assert "incorrect number of gradients (expected 4, got 3)" in finding.message


def test_a_live_autograd_function_passes(tmp_path):
    path = variant(tmp_path, "autograd_function.py", ("staged backward", "live one"))
    module_spec = importlib.util.spec_from_file_location("live_autograd_function", path)
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    assert live(module.BatchNormFunction).verdict is Verdict.PASS


# -------------------------------------------------------------------------------------------- modules, functions, pairs


def test_a_module_of_ones_own_passes_in_every_layout():
    report = one(FIXTURES / "module.py", cases=40)  # the network beside it is no target
    assert report.name == "module.py::BatchNorm"
    assert report.verdict is Verdict.PASS, outcomes(report)
    assert report.conventions.layouts == ("NC", "NCL", "NCHW", "NCDHW")
    assert report.conventions.profile == "pytorch"


@pytest.mark.parametrize(
    ("old", "new", "wrong", "right"),
    [
        ("var = x.var(axes, unbiased=False)", "var = x.var(axes)", "BN101", "BN201"),
        ("torch.sqrt(var.view(shape) + self.eps)", "(torch.sqrt(var.view(shape)) + self.eps)", "BN101", "BN201"),
        ("mean = x.mean(axes)\n", "mean = x.mean(axes).detach()\n", "BN201", "BN101"),
        ("self.gamma.view(shape) *", "self.gamma.data.view(shape) *", "BN202", "BN101"),
        ("(mean - self.running_mean)", "(mean + self.running_mean)", "BN301", "BN101"),
        ("        if self.training:", "        if True:", "BN302", "BN101"),
    ],
    ids=["unbiased", "eps outside", "mean detached", "gamma detached", "statistics", "mode ignored"],
)
def test_a_wrong_module_fails_where_it_is_wrong(tmp_path, old, new, wrong, right):
    report = one(variant(tmp_path, "module.py", (old, new)))
    assert report.verdict is Verdict.FAIL
    assert wrong in outcomes(report)
    assert right in outcomes(report, Outcome.PASS)


def test_statistics_of_unusual_names_and_without_gamma_are_asked_for_their_graphs(tmp_path):
    text = """
import torch
class BatchNorm(torch.nn.Module):
    def __init__(self, c, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.register_buffer("centre", torch.zeros(c))
        self.register_buffer("width", torch.ones(c))
        self.new_running_mean = None
    def forward(self, x):
        if not self.training:
            return (x - self.centre) / torch.sqrt(self.width + self.eps)
        mean, var = x.mean(0), x.var(0, unbiased=False)
        self.new_running_mean = mean
        self.centre = (1 - self.momentum) * self.centre + self.momentum * {}
        self.width = (1 - self.momentum) * self.width + self.momentum * var.detach()
        return (x - mean) / torch.sqrt(var + self.eps)
"""
    for mean, hangs in (("mean", True), ("mean.detach()", False)):
        path = tmp_path / f"hangs_{hangs}.py"
        path.write_text(text.replace("{}", mean))
        found = next(finding for finding in one(path, cases=40).findings if finding.code == "BN311")
        assert found.outcome is (Outcome.WARN if hangs else Outcome.PASS), found.message
        assert ("hangs on centre:" in found.message) == hangs


@pytest.mark.parametrize(("lost", "keeps"), [("mean", ["running_mean"]), ("both", ["running_mean", "running_var"])])
def test_statistics_that_keep_the_graphs_of_all_batches_are_warned_of(tmp_path, lost, keeps):
    var = "var" if lost == "both" else "var.detach()"
    rule = "self.running_mean += self.momentum * (mean - self.running_mean)"
    changes = [
        ("with torch.no_grad():", "if True:"),
        (rule, rule.replace("+=", "= self.running_mean +")),
        (
            "self.running_var += self.momentum * (var *",
            f"self.running_var = self.running_var + self.momentum * ({var} *",
        ),
    ]
    report = one(variant(tmp_path, "module.py", *changes), cases=40)
    found = next(finding for finding in report.findings if finding.code == "BN311")
    assert (report.verdict, found.outcome) == (Verdict.PASS, Outcome.WARN)
    assert [name for name in ("running_mean", "running_var") if name in found.message] == keeps


HELD_IN_A_DICT = """
import torch
class BatchNorm(torch.nn.Module):
    def __init__(self, c, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma, self.beta = torch.nn.Parameter(torch.ones(c)), torch.nn.Parameter(torch.zeros(c))
        self.stats = MADE
    def forward(self, x):
        mean, var = x.mean(0), x.var(0, unbiased=False)
        if self.training:
            for key, value in ((FIRST, mean), (SECOND, var)):
                self.stats[key].mul_(1 - self.momentum).add_(self.momentum * value.detach())
        else:
            mean, var = self.stats[FIRST], self.stats[SECOND]
        return (x - mean) / (var + self.eps).sqrt() * self.gamma + self.beta
"""
OF_TWO = {
    "a dict": ('{"mean": torch.zeros(c), "var": torch.ones(c)}', '"mean"', '"var"'),
    "a dict of plain names": (
        '{"running_mean": torch.zeros(c), "running_var": torch.ones(c)}', '"running_mean"', '"running_var"'
    ),
    "a list": ("[torch.zeros(c), torch.ones(c)]", "0", "1"),
}  # fmt: skip


@pytest.mark.parametrize("kept", OF_TWO)
def test_running_statistics_in_a_dict_or_a_list_of_a_module_are_found(tmp_path, kept):
    made, first, second = OF_TWO[kept]
    text = HELD_IN_A_DICT.replace("MADE", made).replace("FIRST", first).replace("SECOND", second)
    changes = [
        ("", "", set()),
        (f"({second}, var)", f"({second}, mean)", {"BN301"}),
        ("        else:", "        elif False:", {"BN302"}),
        (".detach()", "", set()),
    ]
    for place, (old, new, failing) in enumerate(changes):
        path = tmp_path / f"held_{place}.py"
        path.write_text(text.replace(old, new) if old else text)
        report = one(path)
        assert {f.code for f in report.findings if f.outcome is Outcome.FAIL and not f.follows_from} == failing
        assert report.conventions.momentum_sense == "new"
        assert ("BN311" in outcomes(report, Outcome.WARN)) == (old == ".detach()")


def test_running_statistics_that_are_parameters_are_warned_of(tmp_path):
    text = (FIXTURES / "module.py").read_text()
    old = [line for line in text.splitlines() if "register_buffer" in line and "running" in line]
    assert len(old) == 2
    for asked in (True, False):
        new = text
        for line, name, made in zip(old, ("running_mean", "running_var"), ("zeros", "ones"), strict=True):
            of = f"self.{name} = torch.nn.Parameter(torch.{made}(num_features), requires_grad={asked})"
            new = new.replace(line, f"        {of}")
        path = tmp_path / f"asked_{asked}.py"
        path.write_text(new)
        found = next(finding for finding in one(path).findings if finding.code == "BN311")
        assert found.outcome is (Outcome.WARN if asked else Outcome.PASS), found.message
        assert found.message.startswith("gradients are asked for running_mean and running_var") == asked


def test_running_statistics_of_unusual_names_are_found_by_what_they_do(tmp_path):
    text = (FIXTURES / "module.py").read_text().replace("running_mean", "centre").replace("running_var", "width")
    (tmp_path / "unusual.py").write_text(text)
    report = one(tmp_path / "unusual.py")
    assert report.conventions.profile == "pytorch"
    assert {"BN301", "BN302"} <= outcomes(report, Outcome.PASS)


def test_a_plain_function_is_differentiated_by_autograd():
    report = one(FIXTURES / "function_plain.py", cases=40)
    assert report.name == "function_plain.py::batch_norm"
    assert report.verdict is Verdict.PASS, outcomes(report)
    assert (report.conventions.layouts, report.conventions.returns) == (("NC",), "autograd of torch")


def test_a_wrong_plain_function_fails(tmp_path):
    wrong = variant(tmp_path, "function_plain.py", ("(x - mean) ** 2", "(x - mean.detach()) ** 2 * 1.01"))
    assert "BN101" in outcomes(one(wrong))


def test_a_mode_told_by_whether_gradients_are_recorded_is_understood():
    function, module = verified(FIXTURES / "function_and_module.py", cases=40)
    assert (function.verdict, module.verdict) == (Verdict.PASS, Verdict.PASS), outcomes(function) | outcomes(module)
    assert function.conventions.mode_switch == module.conventions.mode_switch == "torch.no_grad()"
    # Its constructor asks for the number of axes of x.
    assert module.conventions.layouts == ("NC", "NCHW")
    assert {"BN301", "BN302"} <= outcomes(module, Outcome.PASS)


def test_a_plain_class_of_tensors_is_a_layer_too():
    report = one(FIXTURES / "plain_class.py", cases=40)
    assert report.verdict is Verdict.PASS, outcomes(report)
    assert report.conventions.mode_switch == "attribute training"
    assert {"BN301", "BN302"} <= outcomes(report, Outcome.PASS)


def test_static_methods_on_tensors_are_a_pair():
    report = one(FIXTURES / "static_methods.py", cases=40)
    assert report.verdict is Verdict.PASS, outcomes(report)
    assert (report.conventions.framework, report.conventions.profile) == ("torch", "cs231n")
    assert report.conventions.returns == "tuple (dx, dgamma, dbeta)"


def test_wrong_static_methods_fail(tmp_path):
    wrong = variant(tmp_path, "static_methods.py", (" - xhat * (dout * xhat).mean(dim=0)", ""))
    assert outcomes(one(wrong)) & GRADIENT_CHECKS == {"BN201"}


HELPERS = """
import numpy as np
import torch
import torch.nn.functional as F


def batchnorm_forward(x, gamma, beta, eps):
    inv_std = 1 / np.sqrt(x.var(0) + eps)
    xhat = (x - x.mean(0)) * inv_std
    return gamma * xhat + beta, (xhat, gamma, inv_std)


def batchnorm_backward(dout, cache):
    xhat, gamma, inv_std = cache
    dx = gamma * inv_std * (dout - dout.mean(0) - xhat * (dout * xhat).mean(0))
    return dx, (dout * xhat).sum(0), dout.sum(0)


def bn_torch(x, gamma, beta, eps):
    tensors = map(torch.tensor, (gamma, beta))
    return F.batch_norm(torch.tensor(x), None, None, *tensors, True, 0.1, eps).numpy()


def bn_apply(x, mean, var, gamma, beta, eps):
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta


def bn_parameters(n):
    return torch.ones(n), torch.zeros(n)


class BNModel(torch.nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(a, b), torch.nn.BatchNorm1d(b))

    def forward(self, x):
        return self.layers(x)
"""


def test_helpers_beside_a_pair_are_not_taken_for_batch_norm(tmp_path):
    path = tmp_path / "helpers.py"
    path.write_text(HELPERS)
    assert [card.name for card in resolve.cards(TargetSpec(str(path)))] == ["helpers.py::batchnorm_forward"]


class BuiltOnTorchs(nn.BatchNorm1d):
    """A layer with its own forward; `factor` of the batch's biased variance goes into the running one."""

    def factor(self, m):
        """PyTorch's: m / (m - 1)."""
        return m / max(m - 1, 1)

    def forward(self, x):
        """(N, C)."""
        mu, var = self.running_mean, self.running_var
        if self.training:
            mu, var = x.mean(0), x.var(0, unbiased=False)
            with torch.no_grad():
                self.running_mean.lerp_(mu, self.momentum)
                self.running_var.lerp_(var * self.factor(len(x)), self.momentum)
        return (x - mu) / torch.sqrt(var + self.eps) * self.weight + self.bias


class WithBiasedVariance(BuiltOnTorchs):
    """Keras' convention in PyTorch's clothes."""

    def factor(self, m):
        """Return 1: the biased variance."""
        return 1.0


def test_a_layer_built_on_torchs_own_is_held_to_its_convention():
    assert api.verify(BuiltOnTorchs, cases=CASES)
    report = api.verify(WithBiasedVariance, cases=CASES)
    failed = [f for f in report.targets[0].findings if f.outcome is Outcome.FAIL]
    assert [f.code for f in failed] == ["BN303"]
    assert "on whose BatchNorm it is built" in failed[0].message


def test_another_profile_may_be_asked_for():
    assert not api.verify(WithBiasedVariance, cases=CASES, profile="pytorch")
    assert not api.verify(BuiltOnTorchs, cases=CASES, profile="keras")


def test_the_adapter_written_for_an_autograd_function_passes(tmp_path):
    path = Path(__file__).parent / "conformance" / "autograd_function.py"
    adapter = tmp_path / "written.py"
    adapter.write_text(template.adapter_source(TargetSpec(str(path))))
    assert "TODO" not in adapter.read_text()
    settings = Settings(cases=12, adapter_file=str(adapter))
    (report,) = pipeline.run([TargetSpec(str(path))], settings, executor=InProcess()).targets
    assert report.verdict is Verdict.PASS, report
    assert report.conventions.framework == "torch"


PARTS = """
import torch
from torch import nn

class Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, mean, var, eps, training):
        inv_std = torch.rsqrt(var + eps)
        x_hat = (x - mean) * inv_std
        ctx.save_for_backward(x_hat, weight, inv_std)
        ctx.training = training
        return x_hat * weight + bias

    @staticmethod
    def backward(ctx, dy):
        x_hat, weight, inv_std = ctx.saved_tensors
        g = dy * weight * inv_std
        dx = g - g.mean(0) - x_hat * (g * x_hat).mean(0) if ctx.training else g
        return dx, (dy * x_hat).sum(0), dy.sum(0), None, None, None, None

class MyBatchNorm(nn.Module):
    def __init__(self, n, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(n)), nn.Parameter(torch.zeros(n))
        self.register_buffer("running_mean", torch.zeros(n))
        self.register_buffer("running_var", torch.ones(n))

    def forward(self, x):
        mean, var = self.running_mean, self.running_var
        if self.training:
            with torch.no_grad():
                mean, var = x.mean(0), x.var(0, unbiased=False)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var, self.momentum)
        return Normalize.apply(x, self.weight, self.bias, mean, var, self.eps, self.training)
"""


def test_a_function_that_its_layer_gives_the_statistics_is_verified_in_the_layer(tmp_path):
    path = tmp_path / "layers.py"
    path.write_text(PARTS.replace("Normalize", "BatchNormFunction"))
    report = one(path, cases=40)
    assert (report.name.rpartition("::")[2], report.verdict) == ("MyBatchNorm", Verdict.PASS)


@pytest.mark.parametrize(("told", "outcome"), [("if ctx.training else g", Outcome.PASS), ("", Outcome.WARN)])
def test_the_backward_of_training_that_autograd_calls_in_eval_mode_is_warned_of(tmp_path, told, outcome):
    path = tmp_path / "layers.py"
    path.write_text(PARTS.replace("if ctx.training else g", told))
    found = next(finding for finding in one(path, cases=40).findings if finding.code == "BN306")
    assert found.outcome is outcome, found.message


def test_a_dgamma_that_autograd_does_not_make_says_nothing_of_dx_in_eval_mode(tmp_path):
    path = tmp_path / "layers.py"
    path.write_text(TORCH_LAYER.replace("self.weight +", "self.weight.data +"))
    outcomes = {finding.code: finding.outcome for finding in one(path, cases=60).findings}
    assert outcomes["BN202"] is Outcome.FAIL
    assert outcomes["BN306"] not in (Outcome.FAIL, Outcome.WARN)


def test_a_layer_beside_a_pair_of_functions_is_verified_where_it_is_named(tmp_path):
    pair = (FIXTURES.parent / "correct" / "cs231n_staged.py").read_text()
    path = tmp_path / "both.py"
    path.write_text(pair + PARTS.replace("MyBatchNorm", "Norm"))
    assert [report.name.rpartition("::")[2] for report in verified(path)] == ["batchnorm_forward"]
    assert one(f"{path}::Norm", cases=40).verdict is Verdict.PASS
