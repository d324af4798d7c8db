"""What discovery finds in every hand-written implementation of fixtures/correct and fixtures/buggy."""

from __future__ import annotations

from pathlib import Path

import pytest

from bncheck.adapters import resolve
from bncheck.model import TargetSpec

FIXTURES = Path(__file__).parents[2] / "fixtures"
PAIR, LAYER = "function-pair", "layer-class"
TUPLE, ATTRIBUTES = "tuple (dx, dgamma, dbeta)", "dx and attributes dgamma, dbeta"
ARGUMENT = ("argument", None)
NC = (("NC",), "(C,)")
FOUND = {
    "blockwise_sums.py::batchnorm_fprop": (PAIR, *NC, *ARGUMENT, TUPLE),
    "channels_last.py::batch_norm_nhwc_forward": (PAIR, ("NHWC",), "(C,)", "fixed", 1e-3, TUPLE),
    "class_returns_tuple.py::BatchNormLayer": (LAYER, ("NC", "NLC", "NHWC", "NDHWC"), "(C,)", *ARGUMENT, TUPLE),
    "cs231n_alt_spatial.py::batchnorm_forward": (PAIR, *NC, *ARGUMENT, TUPLE),
    "cs231n_alt_spatial.py::batchnorm_backward_alt": (PAIR, *NC, *ARGUMENT, TUPLE),
    "cs231n_alt_spatial.py::spatial_batchnorm_forward": (PAIR, ("NCHW",), "(C,)", *ARGUMENT, TUPLE),
    "cs231n_staged.py::batchnorm_forward": (PAIR, *NC, *ARGUMENT, TUPLE),
    "dbeta_before_dgamma.py::BatchNorm_forward": (PAIR, *NC, *ARGUMENT, "tuple (dx, dbeta, dgamma)"),
    "einsum_pair.py::bn_fwd": (PAIR, *NC, *ARGUMENT, TUPLE),
    "eps_argument.py::bn_forward": (PAIR, *NC, *ARGUMENT, TUPLE),
    "explicit_jacobian.py::normalize_forward": (PAIR, *NC, *ARGUMENT, TUPLE),
    "features_first.py::batch_norm_forward": (PAIR, ("CN",), "(C, 1)", *ARGUMENT, TUPLE),
    "gradients_in_dict.py::batch_norm_forward": (PAIR, *NC, *ARGUMENT, "dict (dx, dgamma, dbeta)"),
    "hardcoded_eps.py::forward": (PAIR, *NC, "fixed", 1e-8, TUPLE),
    "layer_class_train_flag.py::BatchNormalization": (LAYER, *NC, *ARGUMENT, ATTRIBUTES),
    "loops_over_features.py::batchnorm_fwd": (PAIR, *NC, *ARGUMENT, TUPLE),
    "nchw_pair.py::batchnorm2d_forward": (PAIR, ("NCHW",), "(C,)", *ARGUMENT, TUPLE),
    "num_features_class.py::BatchNorm": (LAYER, *NC, *ARGUMENT, ATTRIBUTES),
    "torch_functional.py::batchnorm_forward": (PAIR, ("NC", "NCL", "NCHW", "NCDHW"), "(C,)", *ARGUMENT, TUPLE),
}


def spec_of(card):
    return TargetSpec(str(FIXTURES / "correct" / card.split("::")[0]))


@pytest.mark.parametrize("card", FOUND)
def test_correct_ones(card):
    if card.startswith("torch"):
        pytest.importorskip("torch", reason="PyTorch is not installed: a pair that hands the work to it is not read")
    (found,) = [c.conventions for c in resolve.cards(spec_of(card)) if c.name == card]
    assert (
        found.adapter, found.layouts, found.parameter_shape, found.eps_source, found.eps, found.returns
    ) == FOUND[card]  # fmt: skip
    assert found.notes == ((_SWAPPED,) if found.returns == "tuple (dx, dbeta, dgamma)" else ())


@pytest.mark.parametrize("card", [c for c in FOUND if not c.startswith("torch")])
def test_correct_ones_give_the_references_gradients(card, agrees):
    target = resolve.target(spec_of(card), card)
    for layout in target.conventions.layouts:
        agrees(target, len(layout))


BUGGY = sorted(path.name for path in (FIXTURES / "buggy").glob("*.py"))
# Everything else takes (N, C).
LAYOUTS = {
    "dbeta_averaged.py": "NCHW", "dgamma_with_centred_x.py": "CN", "gamma_missing_in_dx.py": "CN",
    "instance_norm.py": "NCHW", "per_activation_statistics.py": "NHWC", "power_minus_one_half.py": "NCHW",
    "shift_before_scale.py": "CN", "spatial_count_is_batch_size.py": "NCHW",
    "spatial_reshape_mixes_channels.py": "NCHW",
}  # fmt: skip


_SWAPPED = "dbeta is returned before dgamma; --returns 'dx, dgamma, dbeta' holds the code to the usual order"
_VARIANCE = "the running variance follows neither the biased nor the unbiased variance of the batch"
_NO_SWITCH = "eval mode was not verified: no switch between training and inference was found"
# What discovery says of a wrong forward while it measures.
NOTED = {
    "bessel_upside_down.py": _VARIANCE,
    "deviation_averaged.py": _VARIANCE,
    "running_var_adds_up.py": _VARIANCE,
    "running_var_fed_with_mean.py": _VARIANCE,
    "eps_option_ignored.py": "eps is accepted as key 'eps' of the options and ignored",
    "variance_for_std_in_dx.py": _SWAPPED,
    "per_activation_statistics.py": "data of four axes is normalised per activation",
    "spatial_reshape_mixes_channels.py": "the running statistics fit no known update rule",
} | dict.fromkeys(
    ("gradients_accumulate.py", "one_row_divides_by_zero.py", "unbiased_variance_forward_only.py"), _NO_SWITCH
)  # fmt: skip


@pytest.mark.parametrize("name", BUGGY)
def test_buggy_ones_are_recognised_in_the_right_layout(name):
    for card in resolve.cards(TargetSpec(str(FIXTURES / "buggy" / name))):
        assert card.conventions is not None
        assert card.conventions.layouts == (LAYOUTS.get(name, "NC"),)
        noted = [note for note in card.conventions.notes if not note.startswith(NOTED.get(name, "-"))]
        assert noted == []
