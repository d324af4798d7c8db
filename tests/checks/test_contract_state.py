"""BN511 to BN514 on targets that spoil their cache, spread a NaN, make up an empty batch or draw random numbers."""

import random
from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import SPEC, complaints, judged, roots

from bncheck.adapters import resolve
from bncheck.model import Outcome, TargetSpec

CODES = ["BN511", "BN512", "BN513", "BN514"]


def spoiling(dy, cache):
    """Backward that works in its cache."""
    found = targets.backward(dy, cache)
    xhat = cache[0]
    xhat *= 0.5
    return found


def once_only(dy, cache):
    """Backward whose cache serves once."""
    if cache[-1]:
        raise RuntimeError("backward through the graph a second time")
    cache[-1].append(True)
    return targets.backward(dy, cache[:-1])


def serving_once(x, gamma, beta, eps):
    y, cache = targets.forward(x, gamma, beta, eps)
    return y, (*cache, [])


class Adding(targets.Pair):
    """dgamma and dbeta add up over backwards of one forward, and start anew with the next; dx too, if that is asked."""

    def __init__(self, dx=False):
        super().__init__()
        self.dx = dx

    def open(self, setup):
        session, total = super().open(setup), []
        forward, backward = session.forward, session.backward

        def fresh(x, mode="train"):
            total.clear()
            return forward(x)

        def added(dy):
            found = backward(dy)
            total.append(found)
            added = found._replace(dgamma=sum(t.dgamma for t in total), dbeta=sum(t.dbeta for t in total))
            return added._replace(dx=sum(t.dx for t in total)) if self.dx else added

        session.forward, session.backward = fresh, added
        return session


def test_a_cache_that_backward_spoils_warns_alone():
    target = targets.Pair(backward=spoiling)
    judgement = judged("BN511", target)
    assert (judgement.outcome, judgement.tensor) == (Outcome.WARN, "dx")
    assert complaints(target)[0] == {"BN511"}


def test_a_second_backward_that_is_refused_is_skipped_with_the_reason():
    target = targets.Pair(serving_once, once_only)
    judgement = judged("BN511", target)
    assert judgement.outcome is Outcome.SKIP
    assert "a second time" in judgement.message
    assert complaints(target)[0] == set()


def test_gradients_of_parameters_that_add_up_are_said_and_pass():
    judgement = judged("BN511", Adding())
    assert judgement.outcome is Outcome.PASS
    assert judgement.message == "dgamma and dbeta of a second backward add up"


def test_a_graph_whose_gradients_all_add_up_is_not_accused():
    judgement = judged("BN511", Adding(dx=True))
    assert judgement.outcome is Outcome.SKIP
    assert judgement.message.endswith("and dx with them")
    assert complaints(Adding(dx=True))[0] == set()


def adding(*names):
    """Return a layer whose named gradients add up until the next forward, and which clears nothing."""

    class Some(Adding):
        def open(self, setup):
            session = super().open(setup)
            plain = targets.Pair().open(setup)
            forward, backward = session.forward, session.backward

            def fresh(x, mode="train"):
                plain.forward(x)
                return forward(x)

            def some(dy):
                added, once = backward(dy), plain.backward(dy)
                return once._replace(**{name: getattr(added, name) for name in names})

            session.forward, session.backward = fresh, some
            return session

    return Some()


@pytest.mark.parametrize(("names", "replaced"), [(("dgamma",), "dbeta"), (("dbeta",), "dgamma")])
def test_one_gradient_that_adds_up_beside_one_that_is_replaced_fails_alone(names, replaced):
    judgement = judged("BN516", adding(*names))
    assert (judgement.outcome, judgement.tensor) == (Outcome.FAIL, replaced)
    assert complaints(adding(*names))[0] == {"BN516"}


@pytest.mark.parametrize("names", [(), ("dgamma", "dbeta")])
def test_gradients_that_both_add_up_or_both_do_not_pass(names):
    assert judged("BN516", adding(*names)).outcome is Outcome.PASS


class Cleared(targets.Pair):
    """Clears its gradients before every backward but where it is asked not to."""

    def __init__(self, *adding):
        super().__init__()
        self.adding = adding

    def open(self, setup):
        session = super().open(setup)

        def added(dy):
            once = session.backward(dy)
            return once._replace(**{name: 2 * getattr(once, name) for name in self.adding})

        session.added = added
        return session


def test_what_is_cleared_between_steps_is_asked_without():
    assert judged("BN516", Cleared("dgamma", "dbeta")).message == "in a second backward each adds up"
    assert judged("BN516", Cleared()).message == "in a second backward each is replaced"
    assert judged("BN516", Cleared("dgamma")).outcome is Outcome.FAIL
    assert judged("BN511", Cleared("dgamma")).message == "backward gives the same twice"


def test_gradients_of_which_nothing_can_be_told_are_skipped():
    class Odd(Cleared):
        def open(self, setup):
            session = super().open(setup)
            session.added = lambda dy: session.backward(dy)._replace(dgamma=None, dbeta=np.zeros(3))
            return session

    assert judged("BN516", Odd()).outcome is Outcome.SKIP


def test_a_dx_that_adds_up_by_itself_warns():
    def backward(dy, cache):
        cache[-1].append(targets.backward(dy, cache[:-1]))
        return cache[-1][-1]._replace(dx=sum(found.dx for found in cache[-1]))

    assert complaints(targets.Pair(serving_once, backward))[0] == {"BN511"}


# --------------------------------------------------------------------------------------------------------------- memory


def one_term_is_no_sum(dy, cache):
    found = targets.backward(dy, cache)
    return found._replace(dbeta=dy[0] if len(dy) == 1 and dy.ndim == 2 else found.dbeta)


def test_a_result_in_the_memory_of_what_was_handed_over_fails_alone():
    target, one = targets.Pair(backward=one_term_is_no_sum), replace(SPEC, n=1)
    judgement = judged("BN504", target, one)
    assert (judgement.outcome, judgement.tensor) == (Outcome.FAIL, "dbeta")
    assert judgement.message == "dbeta lies in the memory of dy: who changes one changes both"
    assert roots(target, one) == {"BN504"}
    assert judged("BN504", target).outcome is Outcome.PASS


VIEW = """
import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mu, var = x.mean(0), x.var(0)
    xhat = (x - mu) / np.sqrt(var + eps)
    return gamma * xhat + beta, (xhat, gamma, var, eps)


def batchnorm_backward(dout, cache):
    xhat, gamma, var, eps = cache
    dxhat = dout * gamma
    dx = (dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0)) / np.sqrt(var + eps)
    return dx, (dout * xhat).sum(0), dout[0] if len(dout) == 1 else dout.sum(0)
"""


def test_the_memory_of_results_is_looked_at_before_they_are_copied(tmp_path):
    path = tmp_path / "view.py"
    path.write_text(VIEW, encoding="utf-8")
    spec = TargetSpec(str(path))
    target = resolve.target(spec, resolve.cards(spec)[0].name)
    judgement = judged("BN504", target, replace(SPEC, n=1))
    assert judgement.message == "dbeta lies in the memory of dy: who changes one changes both"
    assert judged("BN504", target).outcome is Outcome.PASS


# --------------------------------------------------------------------------------------------------------------- poison


def masked_by_products(x, gamma, beta, eps):
    """Picks channels by a product with the unit matrix: 0 times NaN is NaN."""
    y, cache = targets.forward(x, gamma, beta, eps)
    return y @ np.eye(y.shape[1]), cache


def summed_up(dy, cache):
    """Adds 0 times everything to dgamma."""
    found = targets.backward(dy, cache)
    return found._replace(dgamma=found.dgamma + 0 * cache[0].sum())


def silent(x, gamma, beta, eps):
    """All channels are 0 where something is not finite."""
    y, cache = targets.forward(x, gamma, beta, eps)
    return (y if np.isfinite(x).all() else np.zeros_like(y)), cache


@pytest.mark.parametrize(
    ("target", "tensor", "verb"),
    [
        (targets.Pair(masked_by_products), "y", "reaches"),
        (targets.Pair(backward=summed_up), "dgamma", "reaches"),
        (targets.Pair(silent), "y", "changes"),
    ],
)
def test_a_nan_that_leaves_its_channel_warns_alone(target, tensor, verb):
    judgement = judged("BN512", target)
    assert (judgement.outcome, judgement.tensor) == (Outcome.WARN, tensor)
    assert f"{verb} {tensor} of other channels" in judgement.message
    assert roots(target) == {"BN512"}


def test_a_channel_that_depends_on_others_is_not_called_poisoned_too():
    def layer_norm(x, gamma, beta, eps):
        xhat = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps)
        return gamma * xhat + beta, (xhat, 1.0, gamma, (0,))

    assert judged("BN512", targets.Pair(layer_norm)).outcome is Outcome.WARN
    assert "BN512" not in roots(targets.Pair(layer_norm))


def test_a_layer_that_refuses_what_is_not_finite_passes():
    def forward(x, gamma, beta, eps):
        if not np.isfinite(x).all():
            raise ValueError("x is not finite")
        return targets.forward(x, gamma, beta, eps)

    judgement = judged("BN512", targets.Pair(forward))
    assert (judgement.outcome, "x is not finite" in judgement.message) == (Outcome.PASS, True)


def test_one_channel_has_no_others_to_poison():
    assert judged("BN512", targets.Pair(masked_by_products), replace(SPEC, c=1)).outcome is Outcome.SKIP


# ---------------------------------------------------------------------------------------------------------- empty batch


class Buffered(targets.Pair):
    """Writes into a buffer of its own, which an empty batch leaves as it was."""

    def __init__(self, rows):
        buffer = np.zeros((rows, 3))

        def forward(x, gamma, beta, eps):
            if not len(x):
                return buffer, None
            return targets.forward(x, gamma, beta, eps)

        super().__init__(forward)


def test_a_buffer_of_an_earlier_batch_warns_alone():
    judgement = judged("BN513", Buffered(6))
    assert judgement.outcome is Outcome.WARN
    assert judgement.message == "y of an empty batch is (6, 3), and not (0, 3)"
    assert complaints(Buffered(6))[0] == {"BN513"}


def test_an_empty_batch_that_is_no_array_warns():
    def forward(x, gamma, beta, eps):
        return targets.forward(x, gamma, beta, eps) if len(x) else (None, None)

    assert "NoneType" in judged("BN513", targets.Pair(forward)).message


def test_an_empty_batch_is_refused_or_empty():
    def refusing(x, gamma, beta, eps):
        if not len(x):
            raise ValueError("no rows")
        return targets.forward(x, gamma, beta, eps)

    assert "no rows" in judged("BN513", targets.Pair(refusing)).message
    assert judged("BN513", targets.Pair(refusing)).outcome is Outcome.PASS
    assert judged("BN513", Buffered(0)).message == "an empty batch gives an empty y"


def test_empty_batches_are_left_to_plain_cases():
    assert judged("BN513", Buffered(6), replace(SPEC, recipe="draw")).outcome is Outcome.SKIP


# --------------------------------------------------------------------------------------------------------- random state


def with_dropout(x, gamma, beta, eps):
    np.random.rand()  # noqa: NPY002 - the fault
    return targets.forward(x, gamma, beta, eps)


def seeding(x, gamma, beta, eps):
    np.random.seed(len(x))  # noqa: NPY002 - the fault
    return targets.forward(x, gamma, beta, eps)


def drawing_in_backward(dy, cache):
    random.random()
    return targets.backward(dy, cache)


def of_its_own(x, gamma, beta, eps):
    np.random.default_rng(0).random()
    return targets.forward(x, gamma, beta, eps)


@pytest.mark.parametrize(
    ("target", "generator"),
    [
        (targets.Pair(with_dropout), "numpy.random"),
        (targets.Pair(backward=drawing_in_backward), "random"),
    ],
)
def test_a_step_that_draws_from_a_global_generator_warns_alone(target, generator):
    judgement = judged("BN514", target)
    assert judgement.outcome is Outcome.WARN
    assert judgement.message.endswith(f"global generator of {generator}")
    assert complaints(target)[0] == {"BN514"}


def test_a_generator_of_its_own_is_its_own_matter():
    assert judged("BN514", targets.Pair(of_its_own)).outcome is Outcome.PASS


def test_a_global_generator_that_is_seeded_alike_in_every_step_warns():
    assert judged("BN514", targets.Pair(seeding)).outcome is Outcome.WARN


def test_looking_leaves_the_generators_as_they_were():
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    judged("BN514", targets.Pair())
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


class DrawingWeights(targets.Pair):
    """Draws its weights when it is made."""

    def open(self, setup):
        np.random.rand(3)  # noqa: NPY002 - weights
        return super().open(setup)


def test_weights_that_are_drawn_when_a_layer_is_made_are_no_fault():
    assert judged("BN514", DrawingWeights()).outcome is Outcome.PASS


# ------------------------------------------------------------------------------------------------------- right, skipped


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, n=5, spatial=(2, 2))])
def test_a_right_pair_passes(spec, dtype):
    found = {code: judged(code, targets.Pair(), replace(spec, dtype=dtype)).outcome for code in CODES}
    assert found == dict.fromkeys(CODES, Outcome.PASS)


@pytest.mark.parametrize("code", ["BN511", "BN512", "BN514"])
@pytest.mark.parametrize("spec", [replace(SPEC, n=1), replace(SPEC, n=40)])
def test_what_is_tried_on_small_cases_is_skipped_on_others(code, spec):
    assert judged(code, targets.Pair(), spec).outcome is Outcome.SKIP


def test_where_the_step_itself_raises_nothing_else_is_said():
    def raising(dy, cache):
        raise IndexError("odd")

    assert complaints(targets.Pair(backward=raising))[0] == {"BN506"}
