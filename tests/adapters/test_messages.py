"""Every way in which a target cannot be loaded or understood: one message that says what was found and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bncheck import pipeline
from bncheck.adapters import resolve
from bncheck.adapters.plans import UnfilledError
from bncheck.adapters.trials import Log
from bncheck.errors import TargetError
from bncheck.executors.in_process import InProcess
from bncheck.model import Declared, TargetSpec
from bncheck.reporters import REPORTERS, Style
from bncheck.settings import Settings

RIGHT = """
def bn_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    xhat, std, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""


def message(spec):
    with pytest.raises(TargetError) as caught:
        resolve.cards(spec)
    assert type(caught.value) is TargetError
    assert caught.value.__cause__ is None
    text = str(caught.value)
    assert "Traceback" not in text
    assert "\n" not in text
    return text


def says(text, *fragments):
    for fragment in fragments:
        assert fragment in text


def test_no_such_file(tmp_path):
    (tmp_path / "batchnorm.py").write_text("")
    says(message(TargetSpec(str(tmp_path / "nothing.py"))), "nothing.py: no such file", "batchnorm.py")


def test_a_folder(tmp_path):
    says(message(TargetSpec(str(tmp_path))), "is a folder. It holds no Python file and no notebook")
    for name in ("layers.py", "hw.ipynb", "notes.txt"):
        (tmp_path / name).write_text("")
    assert message(TargetSpec(str(tmp_path))).endswith(f"Name a file in it: {tmp_path}/hw.ipynb, {tmp_path}/layers.py.")
    for i in range(9):
        (tmp_path / f"a{i}.py").write_text("")
    says(message(TargetSpec(str(tmp_path))), f"{tmp_path}/a7.py and 3 more.")


def test_a_file_without_its_ending(tmp_path):
    (tmp_path / "my_bn.py").write_text("")
    says(message(TargetSpec(f"{tmp_path}/my_bn::f")), f"my_bn is not there. Did you mean {tmp_path}/my_bn.py?")


def test_a_slip_in_the_name_of_something_else(tmp_path):
    (tmp_path / "my_bn.py").write_text("def softmax(x): return x\n\n\ndef bn_forward(x, gamma, beta): return x, x\n")
    says(message(TargetSpec(f"{tmp_path}/my_bn.py::softmx")), "has no 'softmx'. Did you mean softmax?")


def test_not_a_python_file(tmp_path):
    (tmp_path / "notes.txt").write_text("{}")
    says(message(TargetSpec(str(tmp_path / "notes.txt"))), "is not a Python file", "package.module:name")


@pytest.mark.parametrize(
    ("name", "executable", "said"),
    [
        ("bn", True, "bn is not a Python file. A program is verified with --exec: bncheck verify --exec {folder}bn"),
        (
            "bn.c",
            False,
            "bn.c is not a Python file. Compile it first, and verify the program: bncheck verify --exec {folder}bn",
        ),
        ("bn.jl", False, "bncheck verify --exec 'julia {folder}bn.jl'"),
        ("bn", False, "A target is file.py, file.py::name, notebook.ipynb, or package.module:name."),
    ],
)
@pytest.mark.parametrize("here", [True, False])
def test_a_program_or_its_source(tmp_path, monkeypatch, name, executable, said, here):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("")
    (tmp_path / name).chmod(0o755 if executable else 0o644)
    text = message(TargetSpec(f"./{name}" if here else str(tmp_path / name)))
    folder = f"{tmp_path}/" if not here else "" if name == "bn.jl" else "./"
    assert text.endswith(said.format(folder=folder))


def test_neither_file_nor_module():
    says(message(TargetSpec("whatever")), "whatever is not there", "file.py::name")


def test_syntax_error(write):
    says(message(write("def f(:\n    pass\n")), "my_bn.py, line 2", "not valid Python", "def f(:")


def test_null_bytes(tmp_path):
    (tmp_path / "zero.py").write_bytes(b"x = 1\0\n")
    says(message(TargetSpec(str(tmp_path / "zero.py"))), "zero.py", "not valid Python")


def strictly(spec):
    """Return a reference that takes no stand-ins."""
    return replace(spec, declared=replace(spec.declared, stand_ins=False))


def test_an_import_that_is_not_installed(write):
    text = message(strictly(write("import cupy_of_my_own\n" + RIGHT)))
    says(text, "my_bn.py imports 'cupy_of_my_own' (line 2)", "not installed here", "Install it")


def test_an_import_that_fails_in_a_neighbour(write, tmp_path):
    (tmp_path / "neighbour_of_bn.py").write_text("import not_there_either\n")
    says(message(strictly(write("import neighbour_of_bn\n"))), "'not_there_either'")


def test_a_syntax_error_in_a_neighbour(write, tmp_path):
    (tmp_path / "broken_neighbour.py").write_text("\ndef f(:\n")
    says(message(write("import broken_neighbour\n")), "broken_neighbour.py", "syntax error in line 2")


def test_a_name_that_is_gone(write):
    says(message(strictly(write("from collections import ByteStrings\n"))), "ByteStrings")


@pytest.mark.parametrize(
    "last", ["open('cifar-10-of-mine/data_batch_1')", "raise SystemExit(1)", "import sys; sys.exit()", "exit()"]
)
def test_what_a_script_does_besides_is_left_out_and_said(write, last):
    (card,) = resolve.cards(write(RIGHT + "\n" + last + "\n"))
    (note,) = card.conventions.notes
    assert "only the definitions of my_bn.py were run" in note
    assert "(line 13)" in note


def test_ctrl_c_on_import_is_not_swallowed(write):
    with pytest.raises(KeyboardInterrupt):
        resolve.cards(write("raise KeyboardInterrupt\n"))


def test_nothing_in_it(write):
    says(
        message(write("X = 1\n")), "my_bn.py: nothing in it looks like batch normalization", "no function and no class"
    )


def test_nothing_that_looks_like_it(write):
    source = "def softmax(x): return x\nclass Dense:\n    def forward(self, x): return x\n"
    text = message(write(source))
    says(text, "nothing in it looks like batch normalization", "Found: softmax, Dense", "batchnorm_forward")


SOMETHING_ELSE = """
def softmax(x): return x

class Relu:
    def forward(self, x): return x * (x > 0)
    def backward(self, d): return d
"""


def test_something_else_is_said_to_be_no_batch_norm(write):
    spec = write(SOMETHING_ELSE)
    text = message(spec)
    says(text, "my_bn.py: nothing in it looks like batch normalization. Found: softmax, Relu. ")
    says(text, "Relu.forward does not respond to gamma or beta", f"bncheck verify {spec.source}::Relu.")
    says(message(write(SOMETHING_ELSE, "Relu")), "Relu.forward does not respond to gamma or beta: is it batch norm?")


def test_what_was_tried_of_something_else_is_shown_where_all_is(write):
    report = pipeline.run([write(SOMETHING_ELSE)], Settings(), executor=InProcess())
    shown = REPORTERS.get("plain")(report, Style(300))  # however long the path of the file is
    assert shown.count("\n") < 8
    assert "-v shows what was looked at" in shown
    assert "adapter" not in shown
    assert "Relu as layer-class" in REPORTERS.get("plain")(report, Style(verbose=True))


def test_what_the_code_raised_is_told_before_what_bncheck_had_not_to_give():
    raised, lacking = TypeError("two of zz"), UnfilledError("bncheck found nothing to give it as zz")
    assert Log(errors=[lacking, raised]).telling() is raised
    assert Log(errors=[lacking]).telling() is lacking


def test_a_class_that_is_not_there_because_its_base_is_not(write):
    tools = "class BatchNormTools:\n    def dbeta(self, dout): return dout.sum(axis=0)\n"
    source = f"from json import Layer\n{tools}class BatchNorm(Layer):\n    def forward(self, x): return x\n"
    story = "BatchNorm: reads as batch norm; it is not there: Layer should be set in line "
    says(message(write(source)), story, "which raises ImportError (cannot import name 'Layer' from 'json'")
    says(message(write(source, "BatchNorm")), "my_bn.py: BatchNorm is not there: Layer should be set in line ")


def test_several_pairs_of_which_none_reads_as_batch_norm(write):
    source = RIGHT.replace("bn_", "whiten_") + RIGHT.replace("bn_", "centre_")
    says(
        message(write(source)),
        "Found: whiten_forward",
        "Say which one to verify: bncheck verify my_bn.py::whiten_forward",
    )


def test_a_name_that_is_not_there(write):
    says(message(write(RIGHT, "bn_forwrad")), "my_bn.py has no 'bn_forwrad'", "Did you mean bn_forward?")


@pytest.mark.parametrize(
    ("source", "name", "needed"),
    [
        ("def bn_backward(dout, cache): return dout\n", "bn_backward", "no forward is named like it"),
        ("class BN:\n    def backward(self, dout): return dout\n", "BN", "no method that reads as a forward"),
        ("class Box: pass\n", "Box", "methods forward and backward"),
        ("def halve(x): return x / 2\n", "halve", "does not respond to gamma or beta"),
    ],
)
def test_a_name_without_its_other_half(write, source, name, needed):
    says(message(write(source, name)), name, needed)


@pytest.mark.parametrize(
    ("source", "found", "expected"),
    [
        (RIGHT.replace("x, gamma, beta, eps=1e-5", "x"), "bn_forward(x)", "bn_forward(x, gamma, beta, eps)"),
        (RIGHT.replace("x, gamma, beta, eps=1e-5", ""), "bn_forward()", "(x, gamma, beta, bn_param)"),
        (RIGHT.replace("x, gamma", "x, gamma, p, q, r, s").replace("std = np", "p + q + r + s; std = np"),
         "bn_forward(x, gamma, p, q, r, s, beta, eps)", "eps"),
        (RIGHT.replace("dout, cache", ""), "bn_backward()", "bn_backward(dout, cache)"),
        ("class BN:\n def __init__(self, p, q, r): pass\n def forward(self, x): pass\n def backward(self, d): pass\n",
         "BN(p, q, r)", "BN(num_features, eps, momentum)"),
        ("class BN:\n    def forward(self): pass\n    def backward(self, d): pass\n", "BN.forward()", "BN.forward(x)"),
        ("class BN:\n  def forward(self, x): pass\n  def backward(self): pass\n", "BN.backward()", "BN.backward(dout)"),
    ],
)  # fmt: skip
def test_wrong_arity(write, source, found, expected):
    says(message(write(source)), found, "expected", expected)


def test_a_forward_that_raises_whatever_it_gets(write):
    text = message(write(RIGHT.replace("eps=1e-5):", "eps=1e-5):\n    x = np.prodigal(x)")))
    says(text, "bn_forward raised in every way it was tried: AttributeError", "prodigal", "(my_bn.py:4)")


@pytest.mark.parametrize("start", ["", "    N, D = x.shape\n"], ids=["any shape", "two axes"])
def test_a_keyword_that_nothing_takes_is_told_with_its_line_and_without_advice(write, start):
    with pytest.raises(TargetError) as caught:
        resolve.cards(write(RIGHT.replace("eps=1e-5):", f"eps=1e-5):\n{start}    x - np.mean(x, axes=0)")))
    text = str(caught.value)
    says(text, "TypeError", "unexpected keyword argument 'axes'", f"(my_bn.py:{4 + bool(start)}).")
    assert text.endswith(").")
    assert caught.value.trace == ()


def test_a_keyword_that_the_call_was_given_is_no_slip_of_the_code(write):
    source = RIGHT.replace("eps=1e-5):", "eps=1e-5, **more):\n    np.mean(x, **{'ax' + 'es': 0})")
    with pytest.raises(TargetError) as caught:
        resolve.cards(write(source))
    assert caught.value.trace


def test_what_is_raised_behind_the_unpacking_of_a_shape_is_not_a_matter_of_layouts(write):
    text = message(write(RIGHT.replace("eps=1e-5):", "eps=1e-5):\n    N, D = x.shape\n    float('a')")))
    says(text, "ValueError: could not convert string to float: 'a' (my_bn.py:5).")
    assert "layout" not in text


def test_a_forward_for_a_layout_of_its_own(write):
    text = message(write(RIGHT.replace("eps=1e-5):", "eps=1e-5):\n    a, b, c, d, e, f = x.shape")))
    says(text, "ValueError: not enough values to unpack", "NC, CN, NCHW, NHWC", "--layout")


def test_a_forward_that_exits(write):
    text = message(write(RIGHT.replace("eps=1e-5):", "eps=1e-5):\n    raise SystemExit('bye')")))
    says(text, "raised in every way it was tried: SystemExit: bye (my_bn.py:4)")


@pytest.mark.parametrize(
    ("returned", "said"),
    [("np.sum(x)", "does not return an array of the shape of x"), ("x, x", "does not respond to gamma or beta")],
)
def test_a_pair_that_is_something_else(write, returned, said):
    source = f"def relu_forward(x, a, b): return {returned}\ndef relu_backward(dout, cache): return dout, dout, dout\n"
    says(message(write(source)), f"relu_forward {said}")


def test_a_module_that_is_not_there():
    says(message(TargetSpec("no_such_package_of_mine.layers:bn")), "no module 'no_such_package_of_mine'", "folder")


def test_a_name_that_is_not_in_its_module():
    says(message(TargetSpec("bncheck.errors:batchnorm")), "bncheck.errors has no 'batchnorm'")


def test_no_such_file_of_a_near_name(tmp_path):
    (tmp_path / "batchnorm.py").write_text("")
    (tmp_path / "other.py").write_text("")
    text = message(TargetSpec(str(tmp_path / "batch_norm.py")))
    says(text, "batch_norm.py: no such file. Did you mean", "batchnorm.py?")
    assert "other.py" not in text


FACTORY = """
def make_batchnorm(n, schedule):
    rate = schedule.rate_for("bn")
    return (lambda x: x), (lambda dy: dy)

def halve(x):
    return x / 2

class Box:
    pass
"""


def test_a_factory_that_raises_is_named_with_what_it_raised(write):
    called = "make_batchnorm(n=C, schedule=C) it raised AttributeError: 'int' object has no attribute 'rate_for'"
    says(message(write(FACTORY)), "nothing in it could be called", called, "my_bn.py:")
    says(message(write(FACTORY, "make_batchnorm")), "is there, and cannot be verified", called)


def test_a_function_of_another_name_is_told_to_be_named(write):
    says(message(write("def normalise(images, scale, offset): return images\n")), "my_bn.py::normalise")


def test_a_forward_that_raises_is_shown_as_a_forward(write):
    source = "def batch_norm(x, gamma, beta, momentum):\n    return momentum['rate'] * x\n"
    with pytest.raises(TargetError, match=r"batch_norm raised in every way .*TypeError: 'float' object") as caught:
        resolve.cards(write(source))
    assert "--layout" not in str(caught.value)  # what is the same in all of them is not for want of one
    says("\n".join(caught.value.trace), "1. batch_norm(x, gamma, beta, momentum); no backward")


def test_the_trace_says_of_each_thing_why_it_is_no_candidate(write):
    with pytest.raises(TargetError) as caught:
        resolve.cards(write(FACTORY))
    said = dict(line.split(": ", 1) for line in caught.value.trace)
    assert list(said) == ["make_batchnorm", "halve", "Box"]
    says(said["halve"], "reads as unknown", "no other half")
    says(said["Box"], "reads as unknown", "no method that reads as a forward")


def test_a_constructor_that_raises_is_told_before_what_an_unmade_object_lacks(write):
    source = """
class Layer:
    def __init__(self, n, schedule):
        self.rate = schedule.rate
        self.gamma, self.beta = np.ones(n), np.zeros(n)
    def forward(self, x):
        return self.gamma * x + self.beta
    def backward(self, dy):
        return dy
"""
    text = message(write(source))
    says(text, "'int' object has no attribute 'rate'")
    assert "has no attribute 'gamma'" not in text


def test_a_signature_that_is_refused_tells_what_each_argument_was_taken_for(write):
    source = (
        "GAMMA = 1.0\ndef bn_forward(x, eps=1e-5):\n    return GAMMA * x\ndef bn_backward(dout):\n    return dout\n"
    )
    with pytest.raises(TargetError, match="with a place for x, gamma and beta") as caught:
        resolve.cards(write(source))
    trace = "\n".join(caught.value.trace)
    says(trace, "x: reads as x; is required", "eps: reads as eps; may be left out", "dropped")


@pytest.mark.parametrize("wrong", ["x = Function(x)", "x = np.prodigal(x)", "raise SystemExit"])
def test_what_no_call_mends_is_told_alone(write, wrong):
    with pytest.raises(TargetError) as caught:
        resolve.cards(write(RIGHT.replace("eps=1e-5):", f"eps=1e-5):\n    {wrong}")))
    says(str(caught.value), "raised in every way it was tried", "(my_bn.py:4)")
    assert "--layout" not in str(caught.value)
    assert caught.value.trace == ()  # neither what was tried, nor that an adapter tells more


def test_what_is_the_same_in_every_layout_is_told_once(write):
    with pytest.raises(TargetError) as caught:
        resolve.cards(write(RIGHT.replace("eps=1e-5):", "eps=1e-5):\n    x = {}['phase']")))
    assert "--layout" not in str(caught.value)
    _, _, reading, tried, _ = caught.value.trace
    assert tried == "  in every layout: forward raised KeyError: 'phase'"
    says(reading, "1. bn_forward(x, gamma, beta, eps)")


def test_one_layout_that_was_declared_is_not_every_layout(write):
    with pytest.raises(TargetError) as caught:
        resolve.cards(write(RIGHT.replace("eps=1e-5):", "eps=1e-5):\n    x = {}['phase']"), layout="NC"))
    says("\n".join(caught.value.trace), "  NC with gamma (C,)")


@pytest.mark.parametrize(
    ("layout", "ends"),
    [
        ("NCHW", "in the layout NCHW, gamma and beta of shape (C,), (1, C), (C, 1) and with more ones."),
        ("NHCW", "and with more ones. Did you mean NHWC or NCHW?"),
        (None, "Is the layout another one? Then give it (--layout)."),
    ],
)
def test_a_layout_is_advised_where_none_was_given_and_set_right_where_it_is_a_slip(tmp_path, layout, ends):
    path = tmp_path / "my_bn.py"
    path.write_text("import numpy as np\n" + RIGHT.replace("    std", "    np.ones(7) + x[0]; std", 1))
    assert message(TargetSpec(str(path), declared=Declared(layout=layout))).endswith(ends)


def test_the_one_parameter_shape_that_was_tried_is_told(tmp_path):
    path = tmp_path / "my_bn.py"
    path.write_text("import numpy as np\n" + RIGHT.replace("    std", "    np.ones(7) + x[0]; std", 1))
    declared = Declared(layout="NCHW", parameter_shape="(1, C, 1, 1)")
    assert message(TargetSpec(str(path), declared=declared)).endswith("gamma and beta of shape (1, C, 1, 1).")
