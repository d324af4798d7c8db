"""What ``bncheck init`` writes: an adapter that works where discovery understood the target, a skeleton elsewhere."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

from bncheck import pipeline
from bncheck.adapters import template
from bncheck.errors import TargetError
from bncheck.executors.in_process import InProcess
from bncheck.model import Declared, Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

FIXTURES = Path(__file__).parents[2] / "fixtures"
CORRECT = sorted(
    p for p in (FIXTURES / "correct").glob("*.py") if p.stem not in ("explicit_jacobian", "torch_functional")
)
FOUND = ("layouts", "parameter_shape", "eps", "momentum_sense", "running_var", "running_start")


def verify(target, adapter=None, cases=12):
    settings = Settings(cases=cases, adapter_file=adapter and str(adapter))
    return pipeline.run([TargetSpec(str(target))], settings, executor=InProcess()).targets[0]


@pytest.fixture
def written(tmp_path):
    """Write the adapter of a target; return its path."""

    def _written(target):
        path = tmp_path / "written.py"
        path.write_text(template.adapter_source(TargetSpec(str(target))))
        return path

    return _written


@pytest.fixture
def source_of(tmp_path):
    """Return what is written for a source, without the comments at its top."""

    def _source_of(source):
        path = tmp_path / "my_bn.py"
        path.write_text("import numpy as np\n" + textwrap.dedent(source))
        text = template.adapter_source(TargetSpec(str(path)))
        return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))

    return _source_of


@pytest.mark.parametrize("path", CORRECT, ids=lambda p: p.stem)
def test_what_is_written_for_a_right_implementation_passes_and_finds_the_same(path, written):
    adapter = written(path)
    assert "skeleton" not in adapter.read_text()
    report, plain = verify(path, adapter), verify(path)
    assert report.verdict is Verdict.PASS, [f for f in report.findings if f.outcome is Outcome.FAIL]
    assert [getattr(report.conventions, k) for k in FOUND] == [getattr(plain.conventions, k) for k in FOUND]


@pytest.mark.parametrize(
    "name", ["misprinted_dx", "dgamma_dbeta_swapped", "unbiased_variance", "negative_gamma_clipped"]
)
def test_what_is_written_for_a_wrong_implementation_fails_alike(name, written):
    path = FIXTURES / "buggy" / f"{name}.py"
    codes = [
        {f.code for f in report.findings if f.outcome is Outcome.FAIL}
        for report in (verify(path, written(path), cases=20), verify(path, cases=20))
    ]
    assert codes[0] == codes[1] != set()


def test_the_one_that_was_named_is_written(written):
    target = f"{FIXTURES / 'correct' / 'cs231n_alt_spatial.py'}::spatial_batchnorm_forward"
    adapter = written(target)
    assert "module.spatial_batchnorm_backward(" in adapter.read_text()
    report = verify(target, adapter)
    assert (report.verdict, report.conventions.layouts) == (Verdict.PASS, ("NCHW",))


PAIR = """
def bn_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    xhat, std, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""


def test_a_pair(source_of):
    assert source_of(PAIR) == textwrap.dedent(
        """
        layout = "NC"
        parameter_shape = "(C,)"


        def forward(module, x, gamma, beta, eps):
            result = module.bn_forward(x, gamma, beta, eps)
            return result[0], result


        def backward(module, state, dy):
            return module.bn_backward(dy, state[1])
        """
    )


def test_a_layer(source_of):
    layer = """
    class BatchNorm:
        def __init__(self, n):
            self.params, self.eps, self.training = {"gamma": np.ones(n), "beta": np.zeros(n)}, 1e-5, True
            self.rm, self.rv, self.grads = np.zeros(n), np.ones(n), {}

        def forward(self, x):
            if not self.training:
                xhat = (x - self.rm) / np.sqrt(self.rv + self.eps)
                return self.params["gamma"] * xhat + self.params["beta"]
            self.rm, self.rv = 0.9 * self.rm + 0.1 * x.mean(axis=0), 0.9 * self.rv + 0.1 * x.var(axis=0)
            y, self.cache = bn_forward(x, self.params["gamma"], self.params["beta"], self.eps)
            return y

        def backward(self, dout):
            dx, self.grads["gamma"], self.grads["beta"] = bn_backward(dout, self.cache)
            return dx
    """
    text = source_of(textwrap.dedent(layer) + PAIR.replace("def bn_", "def _bn_").replace("def _", "def "))
    wanted = """
        def open(module, gamma, beta, eps, channels):
            layer = module.BatchNorm(channels)
            layer.params['gamma'] = gamma
            layer.params['beta'] = beta
            layer.eps = eps
            return layer


        def forward(state, x, train):
            state.training = train
            return state.forward(x)


        def backward(state, dy):
            dx = state.backward(dy)
            return dx, state.grads['gamma'], state.grads['beta']


        def running_stats(state):
            return state.rm, state.rv
        """
    assert textwrap.dedent(wanted) in text


def test_statistics_that_are_passed_on(source_of):
    update = "    {0} = 0.9 * {0} + 0.1 * x.{1}(axis=0)\n"
    inside = "eps=1e-5):\n" + update.format("running_mean", "mean") + update.format("running_var", "var")
    source = PAIR.replace("eps=1e-5):\n", "running_mean, running_var, " + inside)
    text = source_of(source.replace("(xhat, std, gamma)\n", "(xhat, std, gamma), running_mean, running_var\n"))
    assert 'return {"running_mean": 0 * gamma, "running_var": 0 * gamma + 1}' in text
    assert '    state["running_mean"] = result[2]\n    state["running_var"] = result[3]\n' in text
    assert 'return state["running_mean"], state["running_var"]' in text


def test_a_mode_in_words(source_of):
    source = PAIR.replace("eps=1e-5):\n", 'eps=1e-5, mode="TRAIN"):\n    if mode == "TEST": return x, None\n')
    assert 'module.bn_forward(x, gamma, beta, eps, "TRAIN" if train else "TEST")' in source_of(source)


LATE = """
class BatchNorm:
    gamma = None

    def forward(self, x):
        if self.gamma is None:
            self.gamma, self.beta = np.ones(x.shape[1]), np.zeros(x.shape[1])
        y, self.cache = forward_(x, self.gamma, self.beta)
        return y

    def backward(self, dout):
        dx, self.dgamma, self.dbeta = backward_(dout, self.cache)
        return dx

"""
SKELETONS = {
    "a stub": (PAIR.split("\n\n")[0] + "\n\ndef bn_backward(dout, cache):\n    pass\n", "not implemented yet"),
    "nothing": ("def halve(x):\n    return x / 2\n", "nothing in it looks like batch normalization"),
    "parameters made late": (
        LATE + PAIR.replace("bn_forward", "forward_").replace("bn_backward", "backward_"),
        "its parameters are there only after a first forward",
    ),
}


@pytest.mark.parametrize("case", SKELETONS)
def test_a_skeleton_says_why_and_what_there_is(tmp_path, case):
    source, why = SKELETONS[case]
    path = tmp_path / "my_bn.py"
    path.write_text("import numpy as np\n" + source)
    text = template.adapter_source(TargetSpec(str(path)))
    head = text[: text.index("\n\n\ndef ")]
    assert f"# This is {'a skeleton only' if case == 'nothing' else 'a draft, by the names in the code'}: " in head
    assert why in head
    assert {"open", "forward", "backward"} >= {n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}
    for function in (n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)):
        assert f"#   {function.name}(" in head


def test_a_skeleton_says_why_in_one_short_line(tmp_path):
    path = tmp_path / "my_bn.py"
    source = PAIR.replace("def bn_forward(", "def bn_forward(axes, ", 1)
    path.write_text(
        "import numpy as np\n" + source.replace("\n    ", f"\n    x + np.ones((9, len(x), 9, {'7, ' * 40}))\n    ", 1)
    )
    text = template.adapter_source(TargetSpec(str(path)))
    (line,) = (line for line in text.splitlines() if line.startswith("# This is "))
    assert "bn_forward" in line
    assert str(path) not in line
    assert "Tried:" not in text
    assert len(line) <= 120


def test_a_skeleton_is_an_adapter_that_is_not_written_yet(tmp_path, written):
    path = tmp_path / "my_bn.py"
    path.write_text(SKELETONS["nothing"][0])
    report = verify(path, written(path))
    assert report.stub
    assert "raises NotImplementedError" in report.error


def drafted(tmp_path, source):
    path = tmp_path / "my_bn.py"
    path.write_text("import numpy as np\n" + textwrap.dedent(source))
    text = template.adapter_source(TargetSpec(str(path)))
    assert "# This is a draft, by the names in the code: " in text
    (tmp_path / "written.py").write_text(text)
    return path, "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#")).strip() + "\n"


NETWORK = """
class Net:
    def __init__(self, sizes, depth=3, momentum=0.9, eps=1e-5):
        self.params, self.grads, self.training = {"gamma": [None], "beta": [None]}, {}, True
        self.running_mean, self.running_var = np.zeros(sizes[depth]), np.ones(sizes[depth])

    def batch_norm_forward(self, h, layer):
        self.bn_cache = h[layer]
        return self.params["gamma"][layer] * h + self.params["beta"][layer]

    def batch_norm_backward(self, dout, layer, cache):
        self.grads["gamma"], self.grads["beta"] = dout[layer], dout[layer]
        return dout
"""


def test_a_draft_of_methods_fills_in_what_names_say(tmp_path):
    _, text = drafted(tmp_path, NETWORK)
    assert text == textwrap.dedent(
        """
        running_stats = "running_mean, running_var"


        def open(module, gamma, beta, eps, momentum, channels):
            layer = module.Net(channels, momentum=momentum, eps=eps)
            layer.params["gamma"] = gamma
            layer.params["beta"] = beta
            return layer


        def forward(state, x, train):
            state.training = train
            return state.batch_norm_forward(x, TODO)


        def backward(state, dy):
            dx = state.batch_norm_backward(dy, TODO, state.bn_cache)
            return dx, state.grads["gamma"], state.grads["beta"]
        """
    ).lstrip("\n")


def test_a_draft_that_is_run_as_it_stands_names_the_line_to_be_written(tmp_path):
    path, _ = drafted(tmp_path, NETWORK.replace("sizes[depth]", "1"))
    lines = (tmp_path / "written.py").read_text().splitlines()
    line = next(number for number, line in enumerate(lines, 1) if line.endswith("TODO)"))
    report = verify(path, tmp_path / "written.py")
    assert f"written.py:{line}: forward of the adapter raised NameError: name 'TODO' is not defined" in report.error


def test_a_draft_of_functions(tmp_path):
    source = """
    def batch_norm(inputs, gamma, beta, table, epsilon=1e-5, training=True):
        return inputs[table]

    def batch_back(d_out, cache, gamma):
        return cache[3]
    """
    _, text = drafted(tmp_path, source)
    assert text == textwrap.dedent(
        """
        def forward(module, x, gamma, beta, eps, train):
            result = module.batch_norm(x, gamma, beta, TODO, eps, train)
            return result  # y alone, or: y, and what backward needs (the state)


        def backward(module, state, dy, gamma):
            result = module.batch_back(dy, state, gamma)
            return result  # dx, dgamma, dbeta
        """
    ).lstrip("\n")


def test_user_code_that_prints_is_silent(tmp_path, capsys):
    path = tmp_path / "my_bn.py"
    path.write_text("import numpy as np\n" + PAIR.replace("eps=1e-5):\n", "eps=1e-5):\n    print('loud')\n"))
    template.adapter_source(TargetSpec(str(path)))
    assert capsys.readouterr() == ("", "")


def test_an_adapter_that_was_declared_is_not_asked(written, tmp_path):
    path = FIXTURES / "correct" / "eps_argument.py"
    spec = TargetSpec(str(path), declared=Declared(adapter_file=str(tmp_path / "none.py")))
    assert template.adapter_source(spec) == template.adapter_source(TargetSpec(str(path)))


def test_a_target_that_cannot_be_loaded(tmp_path):
    with pytest.raises(TargetError, match="no such file"):
        template.adapter_source(TargetSpec(str(tmp_path / "none.py")))
