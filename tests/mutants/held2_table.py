"""The sources of the second held set, as table.py tells of the first."""

from pathlib import Path

from .table import BASIC, SOURCES, Source, attributes, closure, layer, pair

FOLDER = Path(__file__).parent / "held2"


def _training(made):
    return made.grad_weight, made.grad_bias


_ALL = [
    Source("welford_rows", "NC", pair("bn_forward", "bn_backward"),
           f"{BASIC} x:x,sample mu:mean xc:delta var:spread inv_std:scale xhat:normal dy:dout dxhat:dnormal dvar:dvar "
           "dstd:dscale dmu:dmean m:rows,seen", FOLDER),
    Source("float_columns", "NC", pair("forward", "backward"),
           "gamma:g beta:b eps:eps dgamma:along dbeta:total x:column,value mu:centre xc:moved,v var:power std:width "
           "xhat:unit,u dy:d mean_sum:flat proj_sum:tilt m:size", FOLDER),
    Source("log_power", "NC", pair("batchnorm_forward", "batchnorm_backward"),
           f"{BASIC} x:x mu:mu xc:off var:var xhat:xhat dy:dout dxhat:dxhat dvar:dvar m:n", FOLDER),
    Source("scalar_vectorize", "NC", pair("bn_forward", "bn_backward"),
           "gamma:gamma,g beta:beta,b eps:eps dgamma:dgamma,along dbeta:dbeta,total x:x,value,v mu:centre,a "
           "var:variance,q std:width,s xhat:unit,u dy:dout,slope,d m:n", FOLDER),
    Source("running_layer", "NC", layer("BatchNorm", attributes("weight", "bias"), _training),
           "gamma:self.weight beta:self.bias eps:self.eps dgamma:self.grad_weight dbeta:self.grad_bias x:x "
           "mu:batch_mean xc:self.dev var:batch_var std:self.root xhat:self.normal dy:grad dxhat:inner dstd:droot "
           "dvar:dvar m:count", FOLDER),
    Source("columns_projector", "CN", pair("batchnorm_forward", "batchnorm_backward"),
           f"{BASIC} x:A xc:D var:V inv_std:R xhat:U dy:dZ dxhat:dU m:m", FOLDER),
    Source("native_kernel", "NCHW", pair("batch_norm_forward", "batch_norm_backward"),
           "gamma:weight beta:bias eps:eps dgamma:grad_weight,dotp dbeta:total x:x mu:mean var:var_sum inv_std:invstd "
           "dy:grad_out mean_sum:grad_mean proj_sum:k m:n", FOLDER),
    Source("nhwc_einsum", "NHWC", pair("bn_forward", "bn_backward"),
           f"{BASIC} x:x mu:mean xc:delta var:var std:std xhat:z dy:dy m:m n:b,h,w", FOLDER),
    Source("param_dicts", "NC", pair("batchnorm_forward", "batchnorm_backward"),
           "gamma:params['scale'] beta:params['shift'] eps:eps dgamma:grads['scale'] dbeta:grads['shift'] x:x "
           "mu:stats['mean'],mean var:second std:stats['std'] xhat:unit dy:dout m:rows", FOLDER),
    Source("tape_of_ops", "NC", pair("forward", "backward"),
           f"{BASIC} x:x mu:mean xc:dev var:var std:std inv_std:inv xhat:unit dy:dout dxhat:dunit dstd:dinv,dstd "
           "dvar:dvar,dt dmu:dmean var_term:dsq m:rows", FOLDER),
    Source("shifted_moments", "NC", pair("bn_forward", "bn_backward"),
           "gamma:gamma,kept.gamma beta:beta eps:eps dgamma:dgamma dbeta:dbeta x:moved,kept.moved mu:first,kept.first "
           "var:second inv_std:inv,kept.inv xhat:unit dy:dout dxhat:dunit dvar:dvar dmu:dfirst m:n", FOLDER),
    Source("signal_closure", "NCL", closure("batch_norm"),
           "gamma:gamma,g beta:beta eps:eps dgamma:dgamma dbeta:dbeta x:x xc:x0 inv_std:r xhat:u dy:dy dxhat:du",
           FOLDER),
    Source("whole_sums", "NC", pair("batchnorm_forward", "batchnorm_backward"),
           f"{BASIC} x:x xc:big var:mass std:root xhat:normed dy:dout m:m", FOLDER),
    Source("column_norms", "NC", pair("bn_forward", "bn_backward"),
           f"{BASIC} x:x xc:dev std:std dy:dy mean_sum:level proj_sum:cov m:rows", FOLDER),
    Source("images_moved", "NCHW", layer("SpatialNorm", attributes("gamma", "beta"), None),
           "gamma:self.gamma beta:self.beta eps:self.eps dgamma:self.dgamma dbeta:self.dbeta x:flat mu:mean var:var "
           "inv_std:self.istd xhat:self.xn dy:d mean_term:mean_part var_term:var_part m:pixels image:x,dout", FOLDER),
    Source("samples_pairwise", "NC", pair("normalize", "normalize_backward"),
           f"{BASIC} x:x mu:mu var:var std:sd xhat:u dy:dy m:n", FOLDER),
]  # fmt: skip
HELD2 = {source.name: source for source in _ALL}
EVERY = {**SOURCES, **HELD2}
