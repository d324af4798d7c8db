"""What the mutator knows of each source: its layout, how it is called, and the roles of its names."""

import ast
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "sources"
Results = dict[str, Any]
Caller = Callable[..., Results]


def pair(forward: str, backward: str) -> Caller:
    """Call a forward that returns (y, cache), and a backward(dy, cache) that returns a tuple or a dict."""

    def call(module, x, gamma, beta, eps, dy):
        y, cache = getattr(module, forward)(x, gamma, beta, eps)
        found = getattr(module, backward)(dy, cache)
        if isinstance(found, dict):
            return {"y": y, **found}
        return {"y": y, **dict(zip(("dx", "dgamma", "dbeta"), found, strict=True))}

    return call


def recomputing(forward: str, backward: str) -> Caller:
    """Call a backward that gets the input and the parameters again."""

    def call(module, x, gamma, beta, eps, dy):
        y = getattr(module, forward)(x, gamma, beta, eps)
        found = getattr(module, backward)(dy, x, gamma, beta, eps)
        return {"y": y, **dict(zip(("dx", "dgamma", "dbeta"), found, strict=True))}

    return call


def closure(name: str) -> Caller:
    """Call a forward that returns (y, pullback)."""

    def call(module, x, gamma, beta, eps, dy):
        y, pullback = getattr(module, name)(x, gamma, beta, eps)
        return {"y": y, **dict(zip(("dx", "dgamma", "dbeta"), pullback(dy), strict=True))}

    return call


def layer(
    name: str, store: Callable[[Any, Any, Any], None], gradients: Callable[[Any], tuple[Any, Any]] | None
) -> Caller:
    """Call a class built from its number of features; without `gradients` its backward returns all three."""

    def call(module, x, gamma, beta, eps, dy):
        made = getattr(module, name)(len(gamma), eps)
        store(made, gamma, beta)
        y = made.forward(x)
        found = made.backward(dy)
        dx, dgamma, dbeta = found if gradients is None else (found, *gradients(made))
        return {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}

    return call


def attributes(scale: str, shift: str) -> Callable[[Any, Any, Any], None]:
    def store(made, gamma, beta):
        setattr(made, scale, gamma)
        setattr(made, shift, beta)

    return store


def entries(made, gamma, beta):
    made.params["gamma"], made.params["beta"] = gamma, beta


@dataclass(frozen=True)
class Source:
    """One right implementation.

    `layout` is NC, CN, NCL, NCHW or NHWC. `names` maps roles to the source's spellings: ``role:name,name role:name``.
    """

    name: str
    layout: str
    call: Caller
    names: str
    folder: Path = FOLDER

    @cached_property
    def text(self) -> str:
        return (self.folder / f"{self.name}.py").read_text(encoding="utf-8")

    @cached_property
    def roles(self) -> dict[str, str]:
        """Spelling, as ast.unparse writes it, to role."""
        found = {}
        for entry in self.names.split():
            role, spellings = entry.split(":")
            for spelling in spellings.split(","):
                found[ast.unparse(ast.parse(spelling, mode="eval"))] = role
        return found

    def spellings(self, role: str) -> list[str]:
        return [spelling for spelling, other in self.roles.items() if other == role]


def load(text: str, name: str = "mutant") -> types.ModuleType:
    """Return a module made from a source's text; it enters no table of modules."""
    module = types.ModuleType(name)
    exec(compile(text, f"<{name}>", "exec"), module.__dict__)
    return module


BASIC = "gamma:gamma beta:beta eps:eps dgamma:dgamma dbeta:dbeta"

_ALL = [
    Source("staged_paper", "NC", pair("batchnorm_forward", "batchnorm_backward"),
           f"{BASIC} x:x mu:mu xc:xmu var:var inv_std:inv_std xhat:xhat dy:dout dxhat:dxhat dvar:dvar dmu:dmu m:m"),
    Source("closed_form", "NC", pair("bn_forward", "bn_backward"),
           f"{BASIC} x:x mu:mean var:var inv_std:istd xhat:xhat dy:dout"),
    Source("graph_steps", "NC", pair("batchnorm_forward", "batchnorm_backward"),
           f"{BASIC} x:x mu:mean xc:centred var:var std:sqrtvar inv_std:ivar xhat:normed dy:dout dxhat:dnormed "
           "dvar:dvar dstd:dsqrtvar,divar dmu:dmean var_term:dcentred2 mean_term:dx2 direct_term:dcentred1 m:N"),
    Source("feature_loops", "NC", pair("bn_forward", "bn_backward"),
           f"{BASIC} x:X mu:mean std:stds xhat:Z dy:dY m:n"),
    Source("einsum_sums", "NC", pair("forward", "backward"),
           f"{BASIC} x:x mu:mu xc:xc var:var inv_std:rstd xhat:xhat dy:dy m:n mean_term:level var_term:along"),
    Source("rows_are_features", "CN", pair("batch_norm_forward", "batch_norm_backward"),
           f"{BASIC} x:Z mu:mu xc:Zc var:sigma2 std:sigma xhat:Z_norm "
           "dy:dZ_tilde dxhat:dZ_norm dvar:dsigma2 dmu:dmu m:m"),
    Source("nchw_axes", "NCHW", pair("batchnorm2d_forward", "batchnorm2d_backward"),
           f"{BASIC} x:x mu:mean var:var inv_std:inv_std xhat:x_hat dy:dout dxhat:dx_hat m:m n:N,H,W "
           "mean_term:mean_part var_term:var_part"),
    Source("nhwc_flat", "NHWC", pair("bn_forward", "bn_backward"),
           "gamma:gamma beta:beta eps:eps dgamma:d_gamma dbeta:d_beta x:flat mu:mean var:variance std:std "
           "xhat:normalized dy:g dxhat:d_norm mean_sum:d_norm_mean proj_sum:d_norm_proj"),
    Source("signal_ncl", "NCL", pair("batchnorm1d_forward", "batchnorm1d_backward"),
           "gamma:weight beta:bias eps:eps dgamma:grad_weight dbeta:grad_bias x:x mu:mu xc:delta var:var "
           "inv_std:invstd,s xhat:xn dy:grad_output dxhat:gxn dvar:gvar dmu:gmu m:count"),
    Source("layer_attributes", "NC",
           layer("BatchNormLayer", attributes("gamma", "beta"), lambda made: (made.dgamma, made.dbeta)),
           "gamma:self.gamma beta:self.beta eps:self.eps dgamma:self.dgamma dbeta:self.dbeta x:x mu:self.mu "
           "var:self.var std:self.std xhat:self.x_norm dy:dout dxhat:dx_norm m:n"),
    Source("layer_dicts", "NC",
           layer("BatchNormalization", entries, lambda made: (made.grads["gamma"], made.grads["beta"])),
           "gamma:self.params['gamma'] beta:self.params['beta'] eps:self.epsilon dgamma:self.grads['gamma'] "
           "dbeta:self.grads['beta'] x:x mu:mean xc:xc var:var std:std xhat:xn dy:dout dxhat:dxn dstd:dstd dvar:dvar "
           "dmu:dmu m:m"),
    Source("pullback", "NC", closure("batch_norm"),
           f"{BASIC} x:x mu:mu std:sigma xhat:z dy:dy dxhat:dz"),
    Source("dict_results", "NC", pair("bn_forward", "bn_backward"),
           "gamma:gamma,cache['gamma'] beta:beta eps:eps dgamma:dgamma dbeta:dbeta x:x mu:mean xc:diff var:var "
           "inv_std:inv xhat:norm dy:dout dxhat:dnorm dstd:dinv dvar:dvar dmu:dmean m:m"),
    Source("channel_jacobian", "NC", pair("forward", "backward"),
           f"{BASIC} x:x mu:mu var:var std:std xhat:xhat,h dy:dy m:n"),
    Source("n_times_minus", "NC", pair("batchnorm_forward", "batchnorm_backward"),
           f"{BASIC} x:x mu:sample_mean var:sample_var xhat:x_normalized dy:dout dxhat:dx_normalized m:N"),
    Source("keepdims_rows", "NC", pair("batch_norm_forward", "batch_norm_backward"),
           "gamma:scale beta:shift eps:epsilon dgamma:dscale dbeta:dshift x:inputs mu:mean xc:dev var:variance "
           "std:denom xhat:normed dy:upstream dxhat:dnormed dvar:dvariance dmu:dmean m:batch"),
    Source("nchw_transpose", "NCHW", pair("spatial_batchnorm_forward", "spatial_batchnorm_backward"),
           f"{BASIC} x:rows mu:mu var:var inv_std:istd xhat:xhat dy:d dxhat:dxhat m:m image:x,dout"),
    Source("power_operator", "NC", pair("bn_train_forward", "bn_train_backward"),
           "gamma:g beta:b eps:eps dgamma:dg dbeta:db x:a mu:mu var:v inv_std:r xhat:ahat dy:da dxhat:dahat dvar:dv "
           "dmu:dmu m:m"),
    Source("reciprocal_products", "NC", pair("forward", "backward"),
           f"{BASIC} x:x mu:mu xc:d var:var inv_std:rs xhat:h dy:dy dxhat:g mean_sum:s1 proj_sum:s2 recip:rm"),
    Source("in_place", "NC", pair("batchnorm_fwd", "batchnorm_bwd"),
           f"{BASIC} x:x mu:mean xhat:xn,unit var:var inv_std:istd dy:dy,row m:n"),
    Source("small_functions", "NC", pair("normalize_forward", "normalize_backward"),
           "gamma:gamma beta:beta eps:eps dgamma:grad_gamma dbeta:grad_beta x:x xc:centred var:variance inv_std:rstd "
           "xhat:unit dy:grad_out dxhat:grad_unit,t"),
    Source("saved_dataclass", "NC", pair("bn_forward", "bn_backward"),
           "gamma:gamma,saved.gamma beta:beta eps:eps dgamma:dgamma dbeta:dbeta x:x xc:centered,saved.centered var:var "
           "std:std,saved.std xhat:x_hat dy:dout dxhat:dx_hat dstd:dstd m:m"),
    Source("reuse_sums", "NC", pair("bn_forward", "bn_backward"),
           "gamma:w beta:b eps:eps dgamma:gw dbeta:gb x:x mu:save_mean inv_std:save_invstd xhat:xhat dy:gy m:n"),
    Source("fused_coefficients", "NC", pair("fused_forward", "fused_backward"),
           "gamma:gamma beta:beta eps:eps dgamma:dgamma dbeta:db x:x mu:mu inv_std:rstd dy:dy m:m"),
    Source("centring_matrix", "NC", pair("forward", "backward"),
           f"{BASIC} x:X xc:Xc var:var std:sd xhat:Xh dy:dY dxhat:dXh proj_sum:inner m:n"),
    Source("image_channels", "NCHW", pair("forward", "backward"),
           f"{BASIC} x:v mu:mu std:s xhat:h dy:d m:m image:x,dy"),
    Source("recompute", "NC", recomputing("batch_norm_forward", "batch_norm_backward"),
           f"{BASIC} x:x mu:mean std:std xhat:xhat dy:dy"),
    Source("nhwc_layer", "NHWC", layer("ChannelNorm", attributes("scale", "offset"), None),
           "gamma:self.scale beta:self.offset eps:self.eps dgamma:dscale dbeta:doffset x:x mu:self.mean var:self.var "
           "inv_std:self.inv xhat:self.z dy:dy dxhat:dz m:m"),
]  # fmt: skip
SOURCES = {source.name: source for source in _ALL}
