"""Adapter files: what they may define, how their functions are called, and what is said when one is wrong."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path

import pytest

from bncheck import pipeline
from bncheck.adapters import adapter_words, frameworks
from bncheck.executors.in_process import InProcess
from bncheck.executors.isolated import Isolated
from bncheck.model import UNDECLARED, Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
PACKED = FIXTURES / "adapters" / "packed.py"
STAGED = FIXTURES / "correct" / "cs231n_staged.py"
LAYER = FIXTURES / "correct" / "num_features_class.py"

PAIR = """
def forward(target, x, gamma, beta, eps):
    return target.batchnorm_forward(x, gamma, beta, {"eps": eps})
def backward(target, dy, state):
    return target.batchnorm_backward(dy, state)
"""


def verify(target, adapter, executor=None, cases=8, **options):
    settings = Settings(cases=cases, adapter_file=str(adapter), **options)
    (report,) = pipeline.run([TargetSpec(str(target))], settings, executor=executor or InProcess()).targets
    return report


@pytest.fixture
def write(tmp_path):
    """Write an adapter file and return its path."""

    def _write(source, name="my_adapter.py"):
        (tmp_path / name).write_text(textwrap.dedent(source))
        return tmp_path / name

    return _write


def failing(report):
    return {f.code: f for f in report.findings if f.outcome is Outcome.FAIL}


# ---------------------------------------------------------------------------------------------------- what they may do


@pytest.mark.parametrize("executor", [InProcess, lambda: Isolated(20.0)], ids=["in process", "isolated"])
def test_ten_lines_are_enough_for_something_strange(executor):
    adapter = FIXTURES / "adapters" / "packed_adapter.py"
    assert len(adapter.read_text().splitlines()) <= 10
    report = verify(PACKED, adapter, executor(), cases=40)
    assert report.verdict is Verdict.PASS, failing(report)
    assert report.conventions.layouts == ("CN",)
    assert report.conventions.eps_source == "argument"


def test_an_adapter_does_not_hide_a_bug(tmp_path):
    (tmp_path / "packed.py").write_text(PACKED.read_text().replace("+ slope[1][:, None]", ""))
    report = verify(tmp_path / "packed.py", FIXTURES / "adapters" / "packed_adapter.py")
    assert failing(report).keys() >= {"BN201", "BN211"}
    assert not failing(report).keys() & {"BN101", "BN202", "BN203"}


def test_a_pair_needs_two_functions_and_no_state_of_its_own(write):
    assert verify(STAGED, write(PAIR)).verdict is Verdict.PASS


def test_the_target_is_the_thing_that_was_named(write):
    adapter = """
        def open(target, gamma, beta, eps, channels):
            layer = target(channels, eps)
            layer.gamma, layer.beta = gamma, beta
            return layer
        def forward(state, x, train):
            state.training = train
            return state.forward(x)
        def backward(state, dy):
            return {"dx": state.backward(dy), "dgamma": state.dgamma, "dbeta": state.dbeta}
        def running_stats(state):
            return {"mean": state.running_mean, "var": state.running_var}
    """
    report = verify(f"{LAYER}::BatchNorm", write(adapter))
    assert report.verdict is Verdict.PASS, failing(report)
    assert report.name == "num_features_class.py::BatchNorm"
    assert report.conventions.returns == "dict (dx, dgamma, dbeta)"
    assert report.conventions.mode_switch == "argument train"
    assert report.conventions.running_var == "unbiased"


BY_NAMES = """
    running_stats = "running_mean, running_var"
    def open(target, gamma, beta, eps, channels):
        layer = target.BatchNorm(channels, eps)
        layer.gamma, layer.beta = gamma, beta
        return layer
    def forward(state, x, train):
        state.training = train
        return state.forward(x)
    def backward(state, dy):
        return state.backward(dy), state.dgamma, state.dbeta
"""


def test_running_statistics_are_said_by_the_names_of_where_they_are(write):
    report = verify(LAYER, write(BY_NAMES))
    assert report.verdict is Verdict.PASS, failing(report)
    assert report.conventions.running_var == "unbiased"
    inside = BY_NAMES.replace('"running_mean, running_var"', '"layer.running_mean, layer.running_var"')
    inside = inside.replace("return layer", 'return {"layer": layer}').replace("state.", 'state["layer"].')
    assert verify(LAYER, write(inside)).conventions.running_var == "unbiased"


def test_statistics_that_change_their_shape_are_no_fault_of_bncheck(write, tmp_path):
    """In some layout the code may keep other ones than in the first that was tried."""
    (tmp_path / "any_axes.py").write_text(
        """
import numpy as np
class Norm:
    def __init__(self): self.mean, self.var = np.zeros(1), np.ones(1)
    def batch_norm(self, x, gamma, beta, eps, train):
        axes = tuple(range(x.ndim - 1))
        if train:
            mu, var = x.mean(axis=axes), x.var(axis=axes)
            self.mean, self.var = 0.9 * self.mean + 0.1 * mu, 0.9 * self.var + 0.1 * var
            if x.ndim > 2: self.mean, self.var = self.mean[:1], self.var[:1]
        else: mu, var = self.mean, self.var
        std = np.sqrt(var + eps)
        xhat = (x - mu) / std
        self.cache = xhat, std, gamma, axes
        return gamma * xhat + beta
    def batch_norm_back(self, dy):
        xhat, std, gamma, axes = self.cache
        d = dy * gamma
        dx = (d - d.mean(axis=axes) - xhat * (d * xhat).mean(axis=axes)) / std
        return dx, (dy * xhat).sum(axis=axes), dy.sum(axis=axes)
"""
    )
    adapter = """
        running_stats = "mean, var"
        def open(module): return module.Norm()
        def forward(state, x, gamma, beta, eps, train): return state.batch_norm(x, gamma, beta, eps, train)
        def backward(state, dy): return state.batch_norm_back(dy)
    """
    report = verify(tmp_path / "any_axes.py", write(adapter), cases=40)
    assert report.conventions.layouts == ("NC", "NLC", "NHWC", "NDHWC")
    assert report.verdict is not Verdict.ERROR, report.error


def test_every_argument_is_what_it_is_called(write):
    adapter = write(
        """
        import sys, types
        import numpy as np
        layout = "NC"
        def open(target, module, gamma, beta, eps, momentum, channels, dtype):
            assert target is module is sys.modules[target.__name__] and isinstance(module, types.ModuleType)
            assert gamma.shape == beta.shape == (channels,)
            assert gamma.dtype == dtype
            assert isinstance(eps, float) and isinstance(momentum, float)
            return {"eps": eps}
        def forward(state, x, gamma, beta, train, mode, dtype, target, eps):
            assert state["eps"] == eps and x.dtype == dtype
            assert mode == ("train" if train else "eval")
            y, cache = target.batchnorm_forward(x, gamma, beta, {"eps": eps})
            return y, {"eps": eps, "cache": cache}
        def backward(state, x, dy, gamma, beta, target):
            assert x.shape == dy.shape
            return target.batchnorm_backward(dy, state["cache"])
        """
    )
    report = verify(STAGED, adapter)
    assert report.verdict is Verdict.PASS, failing(report)


def test_arguments_with_defaults_and_further_functions_are_left_alone(write):
    source = PAIR.replace("beta, eps)", "beta, eps, scale=1, *more, **options)") + "def of_no_use(a, b): pass\n"
    assert verify(STAGED, write(source)).verdict is Verdict.PASS


def test_what_an_adapter_asks_of_a_module_is_there(write, tmp_path):
    """Of a target only that is run which batch norm seems to need, and an adapter may want more."""
    source = (
        STAGED.read_text() + "\n\nfloor = np.float64(1e-3)\n\ndef shaped(x, like):\n    return x.reshape(like.shape)\n"
    )
    (tmp_path / "more.py").write_text(source)
    adapter = PAIR.replace("eps):", "eps, module):").replace(
        '{"eps": eps}', '{"eps": module.shaped(module.floor, eps * module.floor)}'
    )
    report = verify(tmp_path / "more.py", write(adapter))
    assert report.verdict is Verdict.PASS, report.error
    assert report.conventions.eps == 1e-3


def test_an_adapter_joins_what_lies_in_two_files(write, tmp_path):
    text = STAGED.read_text()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "there.py").write_text(text.replace("batchnorm_backward", "of_no_use"))
    (tmp_path / "code" / "back_again.py").write_text(text.replace("batchnorm_forward", "of_no_use"))
    source = "from back_again import batchnorm_backward\n" + PAIR.replace(
        "target.batchnorm_backward", "batchnorm_backward"
    )
    report = verify(tmp_path / "code" / "there.py", write(source), Isolated(20.0))
    assert report.verdict is Verdict.PASS, report.error


def test_code_that_is_given_no_gamma_and_beta_does_without(write):
    adapter = """
        def forward(target, x, eps):
            one = target.np.ones(x.shape[1], x.dtype)
            return target.batchnorm_forward(x, one, 0 * one, {"eps": eps})
        def backward(target, dy, state):
            return target.batchnorm_backward(dy, state)[0]
    """
    report = verify(STAGED, write(adapter))
    assert report.verdict is Verdict.PASS, failing(report)
    assert report.conventions.parameter_shape == "none"


def test_what_is_stated_is_not_tried_otherwise(write):
    adapter = FIXTURES / "correct" / "features_first.py"
    stated = 'layout = "CN"\nparameter_shape = "(C, 1)"\n' + PAIR.replace("batchnorm", "batch_norm").replace(
        '{"eps": eps}', "eps"
    )
    seen = "def seen(x, gamma):\n    assert gamma.shape == (x.shape[0], 1)\n" + stated.replace(
        "    return target.batch_norm_forward", "    seen(x, gamma)\n    return target.batch_norm_forward"
    )
    report = verify(adapter, write(seen))
    assert report.verdict is Verdict.PASS, failing(report)
    assert (report.conventions.layouts, report.conventions.parameter_shape) == (("CN",), "(C, 1)")


def test_the_user_has_the_last_word_on_what_is_stated(write):
    report = verify(STAGED, write('layout = "NCHW"\n' + PAIR), layout="NC")
    assert report.conventions.layouts == ("NC",)


def test_a_hard_coded_eps_may_be_stated(write):
    source = "eps = 1e-3\n" + PAIR.replace(", eps)", ")").replace('"eps": eps', '"eps": 1e-3')
    report = verify(STAGED, write(source))
    assert report.verdict is Verdict.PASS, failing(report)
    assert (report.conventions.eps_source, report.conventions.eps) == ("fixed", 1e-3)


class Wrapped:
    """An array of a library that NumPy knows nothing about."""

    def __init__(self, array):
        self.array = array


class Library:
    name = "wrapped"

    def give(self, array):
        return Wrapped(array)

    def take(self, value):
        return value.array if isinstance(value, Wrapped) else value


def test_arrays_of_a_stated_framework(write, monkeypatch):
    monkeypatch.setitem(frameworks.FRAMEWORKS._items, "wrapped", lambda device: Library())
    adapter = """
        framework = "wrapped"
        def forward(target, x, gamma, beta, eps):
            y, cache = target.batchnorm_forward(x.array, gamma.array, beta.array, {"eps": eps})
            return type(x)(y), cache
        def backward(target, dy, state):
            return tuple(type(dy)(a) for a in target.batchnorm_backward(dy.array, state))
    """
    report = verify(STAGED, write(adapter))
    assert report.verdict is Verdict.PASS, failing(report)
    assert report.conventions.framework == "wrapped"


def test_what_an_adapter_changes_in_place_is_seen(write):
    source = PAIR.replace("eps):\n", "eps):\n    gamma *= 2\n", 1)
    assert "BN504" in failing(verify(STAGED, write(source)))


# --------------------------------------------------------------------------------------------------- what may be wrong

BACKWARD = PAIR[PAIR.index("def backward") :]
WRONG = {
    "no function": ("x = 1", "my_adapter.py: the adapter has no function forward. It defines no other function."),
    "no forward": (PAIR.replace("def forward", "def fwd"), "the adapter has no function forward. "),
    "no backward": (
        PAIR.replace("def backward", "def bacward"),
        "my_adapter.py: the adapter has no function backward. Did you mean bacward?",
    ),
    "syntax": ("def forward(x:\n    pass", "my_adapter.py, line 1: not valid Python"),
    "import": (
        "import no_such_thing_here\n" + PAIR,
        "importing the adapter raised ModuleNotFoundError: No module named 'no_such_thing_here' (my_adapter.py:1)",
    ),
    "unknown argument": (
        PAIR.replace("x, gamma, beta, eps", "x, gama, beta, eps"),
        "my_adapter.py:2: forward asks for 'gama', which it cannot be given. Did you mean gamma",
    ),
    "dy in forward": (PAIR.replace("x, gamma", "x, dy, gamma"), "forward asks for 'dy', which it cannot be given."),
    "no layout": ('layout = "NXHW"\n' + PAIR, "my_adapter.py: no layout is called 'NXHW'. Did you mean N"),
    "a number as layout": ("layout = 3\n" + PAIR, "my_adapter.py: layout should be a str, not 3"),
    "parameter shape": ('parameter_shape = "(N, C)"\n' + PAIR, "my_adapter.py: parameter_shape should be like"),
    "eps": ('eps = "small"\n' + PAIR, "my_adapter.py: eps should be a float, not 'small'"),
    "negative eps": ("eps = -1\n" + PAIR, "my_adapter.py: eps must be a number from 0 on, not -1"),
    "framework": ('framework = "numpi"\n' + PAIR, "my_adapter.py: no framework is called 'numpi'"),
    "three things": (
        PAIR.replace("return target.batchnorm_forward", "return 1, 2, 3\n    return target.batchnorm_forward"),
        "forward (my_adapter.py:2) returned 3 things, and should return y or y, state",
    ),
    "nothing": (
        "def forward(x):\n    pass\n" + BACKWARD,
        "not implemented yet: forward (my_adapter.py:1) returns None",
    ),
    "raises": (
        "def forward(x):\n    return x.no_such_thing\n" + BACKWARD,
        "my_adapter.py:2: forward of the adapter raised AttributeError: 'numpy.ndarray' object has no attribute",
    ),
    "running statistics by one name": (
        'running_stats = "stats"\n' + PAIR,
        "my_adapter.py: running_stats should be a function, or two names like 'running_mean, running_var'",
    ),
    "running statistics that are not there": (
        textwrap.dedent(BY_NAMES).replace("running_mean,", "runing_mean,"),
        "my_adapter.py: the state has no runing_mean, running_var: 'BatchNorm' object has no attribute 'runing_mean'",
    ),
    "open that raises": (
        "def open(module):\n    return module.Nrom()\n" + PAIR,
        "my_adapter.py:2: open of the adapter raised AttributeError: module ",
    ),
    "layouts that are not tried": (
        'layout = "CNHW, HWNC"\n' + PAIR,
        "forward (my_adapter.py:3): the layout stated, CNHW or HWNC, is none of those that are tried: give it",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_adapter_that_never_worked_is_refused_with_one_line(write, case):
    source, says = WRONG[case]
    report = verify(LAYER if "BatchNorm" in source else STAGED, write(source))
    assert report.verdict is Verdict.ERROR
    assert says in report.error
    assert "\n" not in report.error


@pytest.mark.parametrize(
    ("name", "says"),
    [("adapter.txt", "an adapter is a Python file, and this is none"), ("none.py", "there is no such adapter file")],
)
def test_a_file_that_is_no_adapter(tmp_path, name, says):
    (tmp_path / "adapter.txt").write_text(PAIR)
    assert says in verify(STAGED, tmp_path / name).error


def test_a_name_that_the_target_does_not_have(write):
    report = verify(f"{LAYER}::BatchNrom", write(PAIR))
    assert report.error == "num_features_class.py has no 'BatchNrom'. Did you mean BatchNorm?"


RESULTS = {
    "two things": ("return dx, dgamma", "returned 2 things, and should return dx, dgamma, dbeta"),
    "one array": ("return dx", "returned one ndarray, and should return dx, dgamma, dbeta"),
    "other names": (
        'return {"dx": dx, "dg": dgamma, "db": dbeta}',
        "returned a dict of dx, dg, db, and should return dx, dgamma, dbeta",
    ),
    "a name too many": (
        'return {"dx": dx, "dgamma": dgamma, "dbeta": dbeta, "dw": dx}',
        "returned a dict of dx, dgamma, dbeta, dw, and should",
    ),
}


@pytest.mark.parametrize("case", RESULTS)
def test_a_backward_of_the_wrong_results_is_refused_with_its_place(write, case):
    line, says = RESULTS[case]
    source = PAIR.replace("return target.batchnorm_backward", "dx, dgamma, dbeta = target.batchnorm_backward")
    refused = verify(STAGED, write(source + f"    {line}\n"))
    assert refused.verdict is Verdict.ERROR
    assert f"backward raised TypeError: backward (my_adapter.py:4) {says}" in refused.error


def test_a_backward_of_the_wrong_shape_is_judged_like_any_code(write):
    source = PAIR.replace("return target.batchnorm_backward", "dx, dgamma, dbeta = target.batchnorm_backward")
    report = verify(STAGED, write(source + "    return dx, dgamma.sum(), dbeta\n"))
    assert "dgamma has shape ()" in failing(report)["BN501"].message


IN_BACKWARD = "def backward(target, dy, state):\n"
STATS = "\ndef running_stats(state):\n    return {'mean': None}['var']\n"
SLIPS = {
    "in every case": (PAIR.replace(IN_BACKWARD, f"{IN_BACKWARD}    1 / 0\n"), "ZeroDivisionError: division by zero", 5),
    "in a few cases": (
        PAIR.replace(IN_BACKWARD, f"{IN_BACKWARD}    1 / (len(dy) - 1)\n"),
        "ZeroDivisionError: division by zero",
        5,
    ),
    "in numpy": (
        PAIR.replace(IN_BACKWARD, f"{IN_BACKWARD}    target.np.stack([dy, 1])\n"),
        "ValueError: all input arrays must have the same shape",
        5,
    ),
    "in inference": (PAIR.replace("eps):\n", "eps, train):\n    {True: 1}[train]\n"), "KeyError: False", 3),
    "a call that does not fit": (PAIR.replace("(dy, state)", "(dy)"), "TypeError: batchnorm_backward() missing 1", 5),
    "its running statistics": (PAIR + STATS, "KeyError: 'var'", 8),
}


@pytest.mark.parametrize("executor", [InProcess, lambda: Isolated(20.0)], ids=["in process", "isolated"])
@pytest.mark.parametrize("case", SLIPS)
def test_what_the_own_code_of_an_adapter_raises_is_no_finding_of_the_target(write, case, executor):
    source, says, line = SLIPS[case]
    report = verify(STAGED, write(source), executor())
    assert report.verdict is Verdict.ERROR, failing(report)
    assert says in report.error
    assert f"my_adapter.py:{line}" in report.error
    assert "adapter" in report.error.replace("my_adapter", "")
    assert "\n" not in report.error


def test_what_the_target_raises_stays_a_finding(write, tmp_path):
    """The lines of the target are its own, whoever calls them; and an adapter may speak for a status of its target."""
    text = STAGED.read_text().replace("(dout, cache):\n", "(dout, cache):\n    1 / (len(dout) - 1)\n")
    (tmp_path / "raising.py").write_text(text)
    found = failing(verify(tmp_path / "raising.py", write(PAIR)))["BN506"]
    assert "ZeroDivisionError: division by zero (raising.py:" in found.message
    meant = PAIR.replace(IN_BACKWARD, f"{IN_BACKWARD}    if len(dy) == 1:\n        raise RuntimeError('status 3')\n")
    assert "status 3 (my_adapter.py:6)" in failing(verify(STAGED, write(meant)))["BN506"].message


@pytest.mark.parametrize("word", adapter_words.ARGUMENTS)
def test_the_docs_name_every_word_and_argument(word):
    text = (ROOT / "docs" / "adapters.md").read_text()
    assert f"`{word}" in text
    for name in adapter_words.ARGUMENTS[word]:
        assert f"`{name}`" in text


def test_the_adapters_in_the_docs_are_adapters(tmp_path):
    """Each is read as one: its functions and arguments are those that there are."""
    blocks = (ROOT / "docs" / "adapters.md").read_text().split("```python\n")[1:]
    assert len(blocks) >= 3
    runnable = [block for block in blocks if "import torch" not in block or importlib.util.find_spec("torch")]
    for number, block in enumerate(runnable):
        path = tmp_path / f"adapter_{number}.py"
        path.write_text(block.split("```")[0])
        assert {"forward", "backward"} <= adapter_words.read(str(path), UNDECLARED).words.keys()


def test_arrays_of_the_documented_examples_are_right(tmp_path):
    first = (ROOT / "docs" / "adapters.md").read_text().split("```python\n")[1].split("```")[0]
    path = tmp_path / "adapter.py"
    path.write_text(first)
    assert verify(STAGED, path).verdict is Verdict.PASS
