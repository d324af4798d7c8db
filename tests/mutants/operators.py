"""The operators of the mutator: each yields the changes that it can make at one expression."""

import ast
from collections.abc import Callable, Iterator

from .places import Change, Place

Operator = Callable[[Place, ast.expr], Iterator[Change]]
# A product without its data, or divided by them, is no slip of the pen.
DATA = {
    "dy", "dxhat", "x", "dvar", "dmu", "dstd", "dgamma", "dbeta", "mean_sum", "proj_sum", "var_term",
    "mean_term", "direct_term",
}  # fmt: skip
FLIPPED = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*"}
NAMED = {ast.Add: "flip + and -", ast.Sub: "flip + and -", ast.Mult: "flip * and /", ast.Div: "flip * and /"}
SWAPS = {
    "dvar": ("dmu", "dstd"), "dmu": ("dvar",), "dstd": ("dvar", "dmu"), "gamma": ("beta",), "beta": ("gamma",),
    "xhat": ("x", "xc"), "xc": ("x", "xhat"), "x": ("xc", "xhat"), "std": ("var", "inv_std"),
    "inv_std": ("var", "std"), "var": ("std", "inv_std", "mu"), "mu": ("var",), "dxhat": ("dy",), "dy": ("dxhat",),
    "dgamma": ("dbeta",), "dbeta": ("dgamma",), "mean_sum": ("proj_sum",), "proj_sum": ("mean_sum",),
    "mean_term": ("var_term",), "var_term": ("mean_term",),
}  # fmt: skip
PATHS = {"dvar", "dmu", "dstd", "var_term", "mean_term", "direct_term", "mean_sum", "proj_sum"}
CONSTANTS = {2.0: ("1.0", "0.5"), 0.5: ("1.0", "2.0"), -0.5: ("0.5", "-1.0"), -1.0: ("1.0", "-2.0")}
POWERS = {
    2.0: ("1", "3"), 3.0: ("2", "1"), -0.5: ("0.5", "-1.0"), -1.5: ("-0.5", "-1.0", "1.5"),
    0.5: ("1.0", "-0.5"), -1.0: ("1",),
}  # fmt: skip
FOLDS = {"sum": "mean", "mean": "sum", "average": "sum"}
REDUCERS = {"sum", "mean", "average", "var"}
AXES = {
    "0": ("1", "None"), "1": ("0", "None"), "(0, 2, 3)": ("0", "(2, 3)", "(0, 2)", "None"),
    "(0, 2)": ("0", "2", "None"),
    "axes": ("0", "None", "axes[1:]"),
}  # fmt: skip


def flip(place: Place, node: ast.expr) -> Iterator[Change]:
    if not isinstance(node, ast.BinOp) or type(node.op) not in FLIPPED:
        return
    (line, column), _ = place.operator_between(node.left, node.right)
    focus = place.leaves(node.right)
    if isinstance(node.op, ast.Mult) and (focus & DATA or _is_rest(place, node) or _is_square(place, node)):
        return
    if type(node.op) in (ast.Mult, ast.Div) and not focus:
        focus = place.leaves(node.left) if isinstance(node.left, ast.Name | ast.Attribute) else focus
    yield Change(
        NAMED[type(node.op)], line, column, column + 1, FLIPPED[type(node.op)], focus | _beside_eps(place, node)
    )


def _beside_eps(place: Place, node: ast.BinOp) -> frozenset[str]:
    return frozenset({"eps"}) if place.role(node.right) == "eps" else frozenset()


def drop(place: Place, node: ast.expr) -> Iterator[Change]:
    """Drop the right operand with its operator; the left one where it is no sum or product itself."""
    if not isinstance(node, ast.BinOp) or type(node.op) not in FLIPPED:
        return
    term = isinstance(node.op, ast.Add | ast.Sub)
    name = "drop term" if term else "drop factor"
    (line, column), opened = place.operator_between(node.left, node.right)
    right, left = place.leaves(node.right), place.leaves(node.left)
    end_line, end_column = place.end_of(node.right, opened)
    column = len(place.lines[line - 1][:column].rstrip()) or column
    if place.role(node.right) == "eps":
        yield Change("eps dropped", line, column, end_column, "")
    elif end_line == line and (term or not (right & DATA or _is_rest(place, node) or _is_whole(place, node, right))):
        yield Change(name, line, column, end_column, "", right)
    if _may_lose_left(place, node, term, left):
        yield from _drop_left(place, node, name, left)


def _is_rest(place: Place, node: ast.BinOp) -> bool:
    """Tell whether a factor is no factor of dx, but the running value or the bracket behind the factors."""
    bracket = isinstance(node.right, ast.BinOp) and isinstance(node.right.op, ast.Add | ast.Sub | ast.MatMult)
    name = isinstance(node.right, ast.Name) and place.role(node.right) is None
    return place.parts.get(node.right.lineno) == "dx" and (bracket or name)


def _is_square(place: Place, node: ast.BinOp) -> bool:
    return place.text(node.left) == place.text(node.right)


def _is_whole(place: Place, node: ast.BinOp, right: frozenset[str]) -> bool:
    """Tell whether a factor is all that a variance is computed of."""
    return place.parts.get(node.lineno) == "var" and "xc" in right and not isinstance(node.right, ast.Name)


def _may_lose_left(place: Place, node: ast.BinOp, term: bool, left: frozenset[str]) -> bool:
    """Tell whether what stands left may go: it is one term or factor, and no running value that gathers several."""
    if node.left.lineno not in place.parts or node.left.lineno != node.left.end_lineno:
        return False
    part, simple = place.parts[node.left.lineno], not isinstance(node.left, ast.BinOp)
    if isinstance(node.op, ast.Div):
        return left == {"gamma"} and simple
    if not term:
        return not left & DATA
    leading = node.left.lineno != node.lineno or node.lineno != node.end_lineno
    additive = not simple and isinstance(node.left.op, ast.Add | ast.Sub)
    return not additive and ((leading and part == "direct") or (part in ("y", "dgamma") and not left & {"x", "xc"}))


def _drop_left(place: Place, node: ast.BinOp, name: str, left: frozenset[str]) -> Iterator[Change]:
    if node.lineno != node.end_lineno:
        yield from place.replaced(name, node.left, "0.0" if isinstance(node.op, ast.Add | ast.Sub) else "1.0", left)
        return
    kept = place.text(node.right)
    prefix = {ast.Sub: "-", ast.Div: "1.0 / "}.get(type(node.op), "")
    kept = f"({kept})" if isinstance(node.right, ast.BinOp) else kept
    yield from place.replaced(name, node, prefix + kept, left)


def bend_sign(place: Place, node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not _is_exponent(place, node):
        column = node.col_offset
        if not isinstance(node.operand, ast.Constant):
            yield Change("sign flipped", node.lineno, column, column + 1, "", place.leaves(node.operand))


def zero_path(place: Place, node: ast.expr) -> Iterator[Change]:
    role = place.role(node)
    if role in PATHS and _is_read(place, node) and place.role(place.parents[node]) != role:
        yield from place.replaced("path to zero", node, "0.0", frozenset({role}))


def swap_name(place: Place, node: ast.expr) -> Iterator[Change]:
    role = (
        place.source.roles.get(ast.unparse(node))
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript)
        else None
    )
    if role is None or not _is_read(place, node):
        return
    for other in SWAPS.get(role, ()):
        for spelling in place.source.spellings(other):
            yield from place.replaced("name swapped", node, spelling.replace("'", '"'), frozenset({role, other}))


def change_constant(place: Place, node: ast.expr) -> Iterator[Change]:
    value = _number(node)
    if value is None or isinstance(parent := place.parents[node], ast.UnaryOp):
        return
    if _is_exponent(place, node):
        base = parent.left if isinstance(parent, ast.BinOp) else parent.args[0]
        power = {"power"} if place.leaves(base) & {"std", "inv_std", "var", "eps"} else set()
        for new in POWERS.get(value, ()):
            yield from place.replaced("power changed", node, new, frozenset(power))
    elif isinstance(parent, ast.BinOp):
        inside = _is_exponent(place, parent)
        for new in CONSTANTS.get(value, ("1", "3") if inside and value == 3 else ()):
            yield from place.replaced("constant changed", node, new, frozenset({"power"} if inside else ()))


def _number(node: ast.AST) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    return float(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, int | float) else None


def _is_exponent(place: Place, node: ast.AST) -> bool:
    parent = place.parents[node]
    if isinstance(parent, ast.Call):
        return ast.unparse(parent.func) == "np.power" and node is parent.args[1]
    return isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow) and node is parent.right


def _is_read(place: Place, node: ast.expr) -> bool:
    """Tell whether a name is used in a formula: read, and not merely saved, unpacked or handed back."""
    whole: ast.AST = node
    while isinstance(outer := place.parents[whole], ast.Subscript | ast.Attribute) and outer.value is whole:
        whole = outer
    loaded = isinstance(getattr(node, "ctx", None), ast.Load) and not isinstance(getattr(whole, "ctx", None), ast.Store)
    return loaded and not isinstance(place.parents[node], ast.Tuple | ast.Dict | ast.List | ast.Assign)


def bend_eps(place: Place, node: ast.expr) -> Iterator[Change]:
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and place.role(node.right) == "eps"):
        return
    variance, eps, outer = place.text(node.left), place.text(node.right), place.parents[node]
    yield from place.replaced("eps doubled", node.right, f"2 * {eps}")
    yield from place.replaced("eps hard-coded", node.right, "1e-5")
    if isinstance(outer, ast.BinOp) and isinstance(outer.op, ast.Pow):
        exponent = place.text(outer.right)
        yield from place.replaced("eps outside the root", outer, f"({variance} ** 0.5 + {eps}) ** (2 * ({exponent}))")
    elif isinstance(outer, ast.Call):
        root = "np.sqrt" if ast.unparse(outer.func) == "np.power" else ast.unparse(outer.func)
        if root.endswith("sqrt"):
            powered = ast.unparse(outer.func) == "np.power"
            new = (
                f"({root}({variance}) + {eps}) ** (2 * ({place.text(outer.args[1])}))"
                if powered
                else f"{root}({variance}) + {eps}"
            )
            yield from place.replaced("eps outside the root", outer, new)


def fold_otherwise(place: Place, node: ast.expr) -> Iterator[Change]:
    """Sum for mean, mean for sum, no reduction at all, the last row left out, another axis, another variance."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in REDUCERS):
        return
    name, end = node.func.attr, node.func.end_col_offset or 0
    line = node.func.end_lineno or 0
    by_numpy = ast.unparse(node.func.value) == "np"
    operand = node.args[0] if by_numpy else node.func.value
    if name in FOLDS:
        operator = "sum to mean" if name == "sum" else "mean to sum"
        yield Change(operator, line, end - len(name), end, FOLDS[name])
        yield from place.replaced("sum dropped", node, place.text(operand))
    else:
        closing = (node.end_col_offset or 0) - 1
        yield Change(
            "ddof", node.end_lineno or 0, closing, closing, ", ddof=1" if node.args or node.keywords else "ddof=1"
        )
    rows = "[:, :-1]" if place.source.layout == "CN" else "[:-1]"
    yield from _sliced(place, operand, rows)
    yield from _other_axes(place, node, by_numpy)


def _sliced(place: Place, operand: ast.expr, rows: str) -> Iterator[Change]:
    text = place.text(operand)
    simple = isinstance(operand, ast.Name | ast.Attribute | ast.Call)
    yield from place.replaced("last left out", operand, text + rows if simple else f"({text}){rows}")


def _other_axes(place: Place, node: ast.Call, by_numpy: bool) -> Iterator[Change]:
    given = next((keyword.value for keyword in node.keywords if keyword.arg == "axis"), None)
    positional = node.args[1:] if by_numpy else node.args
    axis = given if given is not None else (positional[0] if positional else None)
    if axis is not None:
        for new in AXES.get(ast.unparse(axis), ()):
            yield Change("axis", axis.lineno, axis.col_offset, axis.end_col_offset or 0, new)


def bend_einsum(place: Place, node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith("->j"):
        inputs = node.value.removesuffix("->j")
        yield from place.replaced("axis", node, f'"{inputs}->"')
        yield from place.replaced("sum dropped", node, f'"{inputs}->ij"')


def bend_count(place: Place, node: ast.expr) -> Iterator[Change]:
    if place.role(node) != "m" or not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        return
    if isinstance(place.parents[node], ast.Tuple | ast.Dict | ast.List):
        return
    text = place.text(node)
    yield from place.replaced("m minus one", node, f"{text} - 1", frozenset({"m"}))
    owners = [*place.source.spellings("x"), *place.source.spellings("dy"), *place.source.spellings("image")]
    for owner in owners:
        for axis in range(3):
            yield from place.replaced("another count", node, f"{owner}.shape[{axis}]", frozenset({"m"}))


def drop_root(place: Place, node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.sqrt", "math.sqrt", "np.square", "np.reciprocal"):
        operator = "root dropped" if ast.unparse(node.func).endswith("sqrt") else "power changed"
        focus = place.leaves(node.args[0]) & {"std", "inv_std", "var", "eps"}
        yield from place.replaced(operator, node, place.text(node.args[0]), frozenset({"power"} if focus else ()))


def bend_gamma(place: Place, node: ast.expr) -> Iterator[Change]:
    if place.role(node) == "gamma" and isinstance(place.parents[node], ast.BinOp):
        text = place.text(node)
        yield from place.replaced("gamma bent", node, f"abs({text})", frozenset({"gamma"}))
        yield from place.replaced("gamma bent", node, f"{text}.clip(0)", frozenset({"gamma"}))


def repeat(place: Place, node: ast.expr) -> Iterator[Change]:
    parent = place.parents[node]
    if place.role(node) in ("gamma", "std", "inv_std", "m", "recip") and isinstance(parent, ast.BinOp):
        if isinstance(parent.op, ast.Mult | ast.Div):
            role, text = place.role(node), place.text(node)
            yield from place.replaced("repeat factor", node, f"({text} * {text})", frozenset({str(role)}))


def swap_results(place: Place, node: ast.expr) -> Iterator[Change]:
    """Swap dgamma and dbeta where they are handed back."""
    values = node.elts if isinstance(node, ast.Tuple) else node.values if isinstance(node, ast.Dict) else []
    by_role = {place.role(value): value for value in values}
    if place.parts.get(node.lineno) == "return" and {"dgamma", "dbeta"} <= set(by_role):
        first, second = sorted((by_role["dgamma"], by_role["dbeta"]), key=lambda value: value.col_offset)
        between = place.lines[node.lineno - 1][first.end_col_offset : second.col_offset]
        new = place.text(second) + between + place.text(first)
        yield Change("results swapped", node.lineno, first.col_offset, second.end_col_offset or 0, new)


OPERATORS: tuple[Operator, ...] = (
    flip, drop, bend_sign, zero_path, swap_name, change_constant, bend_eps, fold_otherwise, bend_einsum, bend_count,
    drop_root, bend_gamma, repeat, swap_results,
)  # fmt: skip


def of_statements(place: Place) -> Iterator[Change]:
    """Yield the changes of statements: arithmetic in place, and loops that end too early."""
    for node in ast.walk(place.tree):
        if isinstance(node, ast.AugAssign) and node.lineno in place.parts and type(node.op) in FLIPPED:
            column = place.lines[node.lineno - 1].index("=") - 1
            focus = place.leaves(node.value)
            yield Change(NAMED[type(node.op)], node.lineno, column, column + 1, FLIPPED[type(node.op)], focus)
            additive = isinstance(node.op, ast.Add | ast.Sub)
            new, name = ("0.0", "drop term") if additive else ("1.0", "drop factor")
            yield from place.replaced(name, node.value, new, focus)
        elif isinstance(node, ast.For):
            over = node.iter
            if isinstance(over, ast.Call) and ast.unparse(over.func) == "range":
                yield from place.replaced("last left out", over.args[-1], f"{place.text(over.args[-1])} - 1")
            elif isinstance(over, ast.Name):
                yield from place.replaced("last left out", over, f"{over.id}[:-1]")
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "axes":
            for new in ("0", "None", f"{place.text(node.value)}[1:]"):
                yield from place.replaced("axis", node.value, new)
