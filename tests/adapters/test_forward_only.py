"""Forwards without a backward: what is taken, what is not, what is verified, and that nobody takes it for more."""

from __future__ import annotations

import json

import pytest

from bncheck import pipeline
from bncheck.adapters import resolve
from bncheck.checks.catalogue import CHECKS
from bncheck.driver import NO_BACKWARD
from bncheck.errors import StubError, TargetError
from bncheck.executors.in_process import InProcess
from bncheck.model import Declared, Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.settings import Settings

BODY = """(x, gamma, beta, eps=1e-5):
    mu, var = x.mean(axis=0), x.var(axis=0)
    return gamma * (x - mu) / np.sqrt(var + eps) + beta

"""
FORWARD = f"def batchnorm{BODY}"
PAIR = """
def bn_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    xhat, std, gamma = cache
    g, dgamma, dbeta = dout * gamma, (dout * xhat).sum(axis=0), dout.sum(axis=0)
    return (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std, dgamma, dbeta

"""
ALONE = "forward only: no backward was found; gradients were not verified"


def card(spec):
    (found,) = resolve.cards(spec)
    return found


def report_of(spec, **settings):
    return pipeline.run([spec], Settings(**{"cases": 30, **settings}), executor=InProcess())


# ------------------------------------------------------------------------------------------------------- what is taken


def test_a_function_alone(write):
    found = card(write(FORWARD)).conventions
    assert (found.adapter, found.forward_only, found.returns) == ("forward-only", True, "no backward")
    assert (found.layouts, found.parameter_shape, found.eps_source) == (("NC",), "(C,)", "argument")
    assert found.notes == (ALONE,)


@pytest.mark.parametrize("name", ["forward", "normalize", "layer"])
def test_without_a_name_that_says_batch_norm_it_has_to_behave_like_it(write, name):
    assert card(write(f"def {name}{BODY}")).conventions.forward_only


CLASS = """
class {name}:
    def __init__(self, n, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
    def {method}(self, x):
        mu, var = self.moments(x)
        return self.whiten(x - mu, var)
    @staticmethod
    def moments(batch_of_data):
        return batch_of_data.mean(axis=0), batch_of_data.var(axis=0)
    def whiten(self, centred, var):
        return self.gamma * centred / np.sqrt(var + self.eps) + self.beta
    def get_config(self):
        return dict()
"""


@pytest.mark.parametrize("method", ["forward", "call", "__call__"])
def test_a_class_whose_other_methods_are_no_backward(write, method):
    assert card(write(CLASS.format(name="BatchNorm", method=method))).conventions.forward_only


def test_a_class_of_no_name_that_behaves_like_it(write):
    dense = "class Dense:\n    def __init__(self, n): self.weight, self.bias = np.ones(n), np.zeros(n)\n"
    dense += "    def forward(self, x): return x * self.weight + self.bias\n"
    assert card(write(dense + CLASS.format(name="Norm", method="forward"))).name == "my_bn.py::Norm"


def test_the_method_that_is_told_the_mode_is_the_forward(write):
    source = """
class BatchNormalization:
    def __init__(self, n, epsilon=1e-3, momentum=0.99):
        self.gamma, self.beta, self.epsilon, self.momentum = np.ones(n), np.zeros(n), epsilon, momentum
        self.moving_mean, self.moving_var = np.zeros(n), np.ones(n)
    def __call__(self, inputs, **kwargs):
        return self.call(inputs, **kwargs)
    def call(self, inputs, training=False):
        mean, var, k = self.moving_mean, self.moving_var, self.momentum
        if training:
            mean, var = inputs.mean(axis=0), inputs.var(axis=0)
            self.moving_mean = k * self.moving_mean + (1 - k) * mean
            self.moving_var = k * self.moving_var + (1 - k) * var
        return self.gamma * (inputs - mean) / np.sqrt(var + self.epsilon) + self.beta
"""
    found = card(write(source)).conventions
    assert (found.mode_switch, found.momentum_sense) == ("argument training", "kept")


def test_the_only_method_that_takes_data_is_the_forward(write):
    assert card(write(CLASS.format(name="BatchNorm", method="propagate"))).conventions.forward_only


def test_statistics_in_the_cache_are_handed_on(write):
    source = """
def batchnorm_forward(x, gamma, beta, running_mean, running_var, mode="train", eps=1e-5):
    mu, var = running_mean, running_var
    if mode == "train":
        mu, var = x.mean(axis=0), x.var(axis=0)
        running_mean, running_var = 0.9 * running_mean + 0.1 * mu, 0.9 * running_var + 0.1 * var
    cache = (gamma, mu, running_mean, running_var)
    return gamma * (x - mu) / np.sqrt(var + eps) + beta, cache
"""
    found = card(write(source)).conventions
    assert (found.momentum_sense, found.momentum, found.running_var) == ("fixed", pytest.approx(0.9), "biased")


def test_the_pair_of_another_layer_does_not_stand_in_the_way(write):
    layers = "def affine_forward(x, w, b): return x @ w + b, (x, w)\n"
    layers += "def affine_backward(dout, cache): return dout @ cache[1].T, cache[0].T @ dout, dout.sum(axis=0)\n"
    layers += "def sigmoid_grad(y): return y * (1 - y)\n"
    assert card(write(layers + FORWARD)).conventions.notes == (ALONE,)


def test_an_inference_beside_it_is_its_eval_mode(write):
    source = """
def batchnorm_forward(x, gamma, beta, running_mean, running_var, momentum=0.9, eps=1e-5):
    mu, var = x.mean(axis=0), x.var(axis=0)
    running_mean = momentum * running_mean + (1 - momentum) * mu
    running_var = momentum * running_var + (1 - momentum) * var
    return gamma * (x - mu) / np.sqrt(var + eps) + beta, running_mean, running_var

def batchnorm_inference(x, gamma, beta, running_mean, running_var, eps=1e-5):
    return gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta
"""
    found = card(write(source)).conventions
    assert (found.mode_switch, found.momentum_sense) == ("function batchnorm_inference", "kept")


def test_stubs_are_told_as_such(write):
    with pytest.raises(StubError, match="returns None"):
        resolve.cards(write("def batchnorm_forward(x, gamma, beta):\n    pass\n"))


# -------------------------------------------------------------------------------------- what has a backward comes first


def test_a_helper_beside_a_complete_pair_is_no_target_of_its_own(write):
    assert card(write(PAIR + FORWARD)).name == "my_bn.py::bn_forward"


def test_what_asks_for_an_upstream_gradient_is_no_forward(write):
    """bn_der(dout, x, gamma) is right as a backward; judged as a forward it would be wrong."""
    with pytest.raises(TargetError, match="bn_der reads as a backward"):
        resolve.cards(write(FORWARD + "def bn_der(dout, x, gamma): return dout * gamma\n"))


def test_it_is_one_when_it_is_asked_for(write):
    found = card(write(PAIR + FORWARD, "batchnorm"))
    assert found.name == "my_bn.py::batchnorm"
    assert found.conventions.notes == (ALONE,)


def test_the_only_pair_comes_first_whatever_it_is_called(write):
    found = card(write(PAIR.replace("bn_", "layer_") + FORWARD))
    assert (found.name, found.conventions.adapter) == ("my_bn.py::layer_forward", "function-pair")


def test_a_backward_that_is_not_written_yet_is_one(write):
    with pytest.raises(StubError):
        resolve.cards(write(FORWARD + "def batchnorm_backward(dout, cache):\n    raise NotImplementedError\n"))


# A thing beside a forward that may be its backward, and what is said of it.
SUSPICIOUS = {
    "a function": ("def grads(dout, cache): return dout\n", "grads reads as a backward"),
    "a network": (
        "class Net:\n    def forward(self, x): return batchnorm(x, 1, 0)\n"
        "    def backward(self, dout):\n        dgamma = dout.sum(axis=0)\n        return dout * dgamma\n",
        "Net speaks of dgamma",
    ),
    "an engine": ("class Value:\n    def backward(self): pass\n", "Value.backward reads as a backward"),
    # Nothing but an argument says it of these.
    "an argument": ("def compute_dx(dout, cache): return dout\n", "compute_dx reads as a backward"),
    "a letter": ("def bnb(dout, x, gamma): return dout\n", "bnb reads as a backward"),
    "a method": ("class Trainer:\n    def fit(self, bn, dout): return dout\n", "Trainer.fit reads as a backward"),
    "a helper": ("def learn(x, step):\n    d_beta = step.sum(axis=0)\n    return d_beta\n", "learn speaks of d_beta"),
}


@pytest.mark.parametrize("what", SUSPICIOUS)
def test_what_may_be_its_backward_is_not_passed_over(write, what):
    beside, said = SUSPICIOUS[what]
    with pytest.raises(TargetError) as caught:
        resolve.cards(write(FORWARD + beside))
    assert "batchnorm reads as a forward of batch normalization, and no backward was bound to it" in str(caught.value)
    assert said in str(caught.value)
    assert "name it: my_bn.py::batchnorm" in str(caught.value)
    (note,) = card(write(FORWARD + beside, "batchnorm")).conventions.notes
    assert note == f"forward only: {said}, and was not bound; gradients were not verified"


@pytest.mark.parametrize(
    "method",
    [
        "def tell(self, grad_y): self.g = grad_y",
        "def compute_dx(layer, dout): return dout",
        "def _grad(self, g): return g",
        "def step(self): self.dgamma = 0",
    ],
)
def test_a_method_that_may_be_its_backward_is_not_passed_over(write, method):
    with pytest.raises(
        TargetError, match=r"no backward was bound to it; but BatchNorm|not implemented yet: BatchNorm.tell"
    ):
        resolve.cards(write(CLASS.format(name="BatchNorm", method="forward") + f"    {method}\n"))


# --------------------------------------------------------------------------------------------------- what is not taken

NO_BATCH_NORM = {
    "standardiser": "def normalize(x, eps=1e-8):\n    return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)\n",
    "scaler": "class StandardScaler:\n    def fit(self, x):\n        self.mean_, self.scale_ = x.mean(0), x.std(0)\n"
    "    def transform(self, x):\n        return (x - self.mean_) / self.scale_\n",
    "normalizer": "class Normalizer:\n    def __call__(self, x):\n        return (x - x.mean(0)) / x.std(0)\n",
    "pixels": "def normalize_batch(x):\n    return x / 255.0\n",
    "min and max": "def normalize_batch(x):\n    return (x - x.min()) / (x.max() - x.min())\n",
    "affine": "def affine(x, gamma, beta):\n    return gamma * x + beta\n",
    "layer norm": "def layer_norm(x, gamma, beta, eps=1e-5):\n    mu, var = x.mean(-1, keepdims=True), "
    "x.var(-1, keepdims=True)\n    return gamma * (x - mu) / np.sqrt(var + eps) + beta\n",
    "instance norm": "def norm(x, gamma, beta, eps=1e-5):\n    mu, var = x.mean((2, 3), keepdims=True), "
    "x.var((2, 3), keepdims=True)\n    gamma, beta = gamma.reshape(1, -1, 1, 1), beta.reshape(1, -1, 1, 1)\n"
    "    return gamma * (x - mu) / np.sqrt(var + eps) + beta\n",
    "group of rows": "class Norm:\n    def __init__(self, n): self.gamma, self.beta = np.ones(n), np.zeros(n)\n"
    "    def forward(self, x):\n        return self.gamma * (x - x.mean()) / x.std() + self.beta\n",
    "a loss": "def batchnorm_loss(x, gamma, beta):\n    return x.sum()\n",
    "inference": "def batchnorm_inference(x, gamma, beta, running_mean, running_var, eps=1e-5):\n"
    "    return gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta\n",
}
NO_BATCH_NORM["a layer norm of no name"] = NO_BATCH_NORM["layer norm"].replace("layer_norm", "norm")


@pytest.mark.parametrize("what", NO_BATCH_NORM)
def test_other_normalizations_are_not_taken(write, what):
    with pytest.raises(TargetError, match=r"nothing in it|does not behave like batch norm"):
        resolve.cards(write(NO_BATCH_NORM[what]))


@pytest.mark.parametrize("what", ["standardiser", "layer norm", "a layer norm of no name", "instance norm", "affine"])
def test_nor_when_they_are_named(write, what):
    name = NO_BATCH_NORM[what].split("(")[0].removeprefix("def ")
    with pytest.raises(TargetError, match=r"neither gamma nor beta|normalizes along the second axis|does not"):
        resolve.cards(write(NO_BATCH_NORM[what], name))


def test_a_standardiser_is_taken_at_its_users_word(write):
    spec = write(NO_BATCH_NORM["standardiser"], "normalize")
    with pytest.raises(TargetError, match="--as forward-only"):
        resolve.cards(spec)
    assert card(type(spec)(spec.source, declared=Declared(kind="forward-only"))).conventions.parameter_shape == "none"


ROWS = NO_BATCH_NORM["layer norm"].replace("layer_norm", "batchnorm")


def test_no_layout_is_guessed_where_nothing_tells_it(write):
    with pytest.raises(TargetError, match="--layout CN or --layout NC"):
        resolve.cards(write(ROWS))


@pytest.mark.parametrize(("layout", "verdict"), [("CN", Verdict.PASS), ("NC", Verdict.FAIL)])
def test_the_layout_that_is_said_decides(write, layout, verdict):
    assert report_of(write(ROWS), layout=layout).verdict is verdict


def test_two_functions_of_no_name_are_not_chosen_between(write):
    with pytest.raises(TargetError, match="nothing in it looks like batch normalization"):
        resolve.cards(write(f"def one{BODY}def other{BODY}"))


# ----------------------------------------------------------------------------------------------- what is verified, said


def test_checks_of_the_backward_do_not_apply_and_all_others_do(write):
    (target,) = report_of(write(FORWARD)).targets
    skipped = {f.code for f in target.findings if f.outcome is Outcome.SKIP and f.message == NO_BACKWARD}
    assert skipped == {code for code, check in CHECKS.items() if check.of_backward}
    assert skipped > {"BN201", "BN202", "BN203", "BN211", "BN212", "BN213"}
    passed = {f.code for f in target.findings if f.outcome is Outcome.PASS}
    assert passed >= {"BN101", "BN402", "BN501", "BN503", "BN505", "BN508", "BN602", "BN605", "BN607", "BN608", "BN802"}


def test_the_report_says_that_gradients_were_not_verified(write):
    report = report_of(write(FORWARD))
    assert report.verdict is Verdict.PASS
    said = REPORTERS.get("plain")(report, Style(width=200))
    assert "The forward is right in training mode. Gradients were not verified." in said
    assert f"note: {ALONE}" in said
    assert "forward only" in REPORTERS.get("short")(report, Style())
    (target,) = json.loads(REPORTERS.get("json")(report, Style()))["targets"]
    assert target["conventions"]["forward_only"] is True
    assert target["conventions"]["notes"] == [ALONE]
    assert target["oracles"]["backward_is_own_derivative"] == target["oracles"]["backward_is_reference"] == "none"


# A wrong forward, and the name of its bug.
WRONG = {
    "BUG101": ("x.var(axis=0)", "x.var(axis=0, ddof=1)"),
    "BUG111": ("np.sqrt(var + eps)", "(np.sqrt(var) + eps)"),
    "BUG123": ("(x - mu)", "x"),
}


@pytest.mark.parametrize("bug", WRONG)
def test_bugs_of_a_forward_have_their_names(write, bug):
    report = report_of(write(FORWARD.replace(*WRONG[bug])))
    (target,) = report.targets
    assert [diagnosis.code for diagnosis in target.diagnoses] == [bug]
    said = REPORTERS.get("plain")(report, Style(width=200))
    assert "The forward is wrong. Gradients were not verified." in said
    assert "derivative of your forward" not in said
    assert "dy = " not in said


def test_what_is_wrong_outside_of_the_formula_is_said_with_it(write):
    (target,) = report_of(write(FORWARD.replace("return", "y =") + "    x[...] = 0\n    return y\n")).targets
    assert target.verdict is Verdict.FAIL
    assert "BN504 inputs-untouched" in target.oracles.conclusion
    assert "Gradients were not verified" in target.oracles.conclusion


def test_a_forward_that_raises_on_some_batches(write):
    (target,) = report_of(write(FORWARD.replace("mu,", "assert len(x) % 2 == 0 or len(x) < 5\n    mu,"))).targets
    assert [f.code for f in target.findings if f.outcome is Outcome.FAIL and f.follows_from is None] == ["BN506"]


def test_gradients_that_are_asked_for_are_not_there(write):
    report = report_of(write(FORWARD), select=("BN2",))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert {f.message for t in report.targets for f in t.findings} == {NO_BACKWARD}


def test_single_precision_is_decided_too(write):
    assert report_of(write(FORWARD), dtype="float32").verdict is Verdict.PASS


def test_a_function_from_python_alone_is_refused_still(write):
    def batchnorm(x, gamma, beta):
        return gamma * x + beta

    spec = write("")
    with pytest.raises(TargetError, match="needs the backward function too"):
        resolve.cards(type(spec)("mine", (batchnorm,)))


# ------------------------------------------------------------------------------------- whose backward is not written yet

# The body of a backward, and what it does.
STUBS = {
    "pass": "it returns None",
    "return None": "it returns None",
    "dx, dgamma, dbeta = None, None, None; return dx, dgamma, dbeta": "it returns None",
    "raise NotImplementedError('exercise 3')": "it raises NotImplementedError",
}
HALF = PAIR.partition("def bn_backward")[0] + "def bn_backward(dout, cache):\n    {}\n"


@pytest.mark.parametrize("body", STUBS)
def test_the_forward_of_a_stub_is_verified_where_it_is_named(write, body):
    report = report_of(write(HALF.format(body), "bn_forward"))
    (target,) = report.targets
    note = f"forward only: bn_backward is not written yet ({STUBS[body]}); gradients were not verified"
    assert (report.verdict, target.conventions.notes) == (Verdict.PASS, (note,))
    said = REPORTERS.get("plain")(report, Style(width=200))
    assert "Gradients were not verified." in said
    assert note in said
    assert "no backward was found" not in said


def test_a_wrong_forward_of_a_stub_fails_where_it_is_named(write):
    source = HALF.format("pass").replace("x.var(axis=0)", "x.var(axis=0, ddof=1)")
    report = report_of(write(source, "bn_forward"))
    assert report.verdict is Verdict.FAIL
    assert "::bn_forward" in report.targets[0].replay


@pytest.mark.parametrize("name", ["", "bn_backward"])
def test_a_stub_says_how_its_forward_is_verified_alone(write, name):
    with pytest.raises(StubError) as caught:
        resolve.cards(write(HALF.format("pass"), name))
    place = next(word for word in str(caught.value).split() if word.endswith("/my_bn.py::bn_forward"))
    assert str(caught.value) == (
        "my_bn.py::bn_forward: not implemented yet: bn_backward returns None; the forward alone is verified where it is "
        f"named:\n  bncheck verify {place}"
    )


LAYER = """
class BatchNorm:
    def __init__(self, dim):
        self.gamma, self.beta = np.ones(dim), np.zeros(dim)

    def forward(self, x):
        return self.gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) + self.beta

    def backward(self, dout):
        raise NotImplementedError
"""


def test_a_class_is_named_with_its_forward(write):
    found = card(write(LAYER, "BatchNorm.forward")).conventions
    note = "BatchNorm.backward is not written yet (it raises NotImplementedError)"
    assert (found.forward_only, found.notes) == (True, (f"forward only: {note}; gradients were not verified",))
    with pytest.raises(StubError, match=r"where it is named:\n  bncheck verify .*/my_bn.py::BatchNorm.forward$"):
        resolve.cards(write(LAYER, "BatchNorm"))  # its name is that of both halves


@pytest.mark.parametrize(("source", "name"), [(LAYER, "BatchNorm.forward"), (HALF.format("pass"), "bn_forward")])
def test_a_failing_forward_of_a_stub_is_replayed_alone(write, source, name):
    spec = write(source.replace("x.var(axis=0)", "x.var(axis=0, ddof=1)"), name)
    _, _, case, place = report_of(spec).targets[0].replay.split()
    assert place == spec.source
    (target,) = pipeline.replay([TargetSpec(place)], case, Settings(), executor=InProcess()).targets
    assert (target.verdict, target.conventions.forward_only) == (Verdict.FAIL, True)


def test_a_filled_backward_beside_a_stub_is_verified_where_the_forward_is_named(write):
    source = PAIR + "def bn_backward_alt(dout, cache):\n    pass\n"
    found = {c.name: c for c in resolve.cards(write(source, "bn_forward"))}
    assert found["my_bn.py::bn_forward"].conventions.forward_only is False


def test_a_forward_that_is_a_stub_itself(write):
    source = "def bn_forward(x, gamma, beta): pass\ndef bn_backward(dout, cache): pass\n"
    with pytest.raises(StubError, match=r"bn_forward returns None$"):
        resolve.cards(write(source, "bn_forward"))
