"""The edits and labels that the second held set has beside those of operators.py and labels.py."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .labels import PARTS, TERMWISE, also_of, family_of
from .mutate import changes
from .places import Change, Place

# Sums by other words than np.sum; what a mean in their place reads, the operand standing for {}.
TOTALS = {
    "np.add.reduce": "np.mean({}, axis=0)", "_total": "np.mean({}, axis=0)", "math.fsum": "(math.fsum({}) / size)",
    "_dots": "(_dots({}) / rows)", "sum": "(sum({}) / n)",
}  # fmt: skip
OTHER_AXES = {"0": ("1", "None")}
BY_FACTOR = {"m": "count m", "n": "count m", "std": "std/power", "inv_std": "std/power", "gamma": "gamma"}
LOGGED = "level"  # the logarithm of var + eps in log_power: what multiplies it is a power
POWERS_OF_LOGS = {-0.5: ("0.5", "-1.0", "-0.25"), -1.5: ("-0.5", "-1.0", "1.5")}


@dataclass(frozen=True)
class Told(Change):
    """A change that says its own family, where parts and roles do not decide it."""

    family: str = ""
    also: tuple[str, ...] = ()


def told(found: Iterable[Change], family: str, *also: str) -> Iterator[Told]:
    for change in found:
        yield Told(change.operator, change.line, change.start, change.end, change.new, change.focus, family, also)


def described(part: str, change: Change, tensors: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the family of a change and the other families that are true of it."""
    named = isinstance(change, Told)
    family = change.family if named else family_of(part, change.operator, change.focus)
    also = {*also_of(part, change.operator, family, tensors), *(change.also if named else ())}
    return family, tuple(sorted(also - {family}))


def proposed(place: Place) -> list[Change]:
    """Return the changes of the first set's operators, less those that are no faults here, and the further ones."""
    found = [kept for change in changes(place) for kept in _relabelled(place, change)]
    for node in place.expressions():
        for operator in OPERATORS:
            found += [change for change in operator(place, node) if change.line in place.parts]
    return sorted(found, key=lambda change: (change.line, change.start, change.operator, change.new))


def _relabelled(place: Place, change: Change) -> Iterator[Change]:
    line, part = place.lines[change.line - 1], place.parts.get(change.line, "")
    if change.operator == "results swapped":  # results go by the names that are returned
        return
    if _in_exponent_of_e(line, change):
        return
    if change.operator == "axis" and change.new == "0" and "axes" in line:  # right where x has two axes
        return
    if part == "xhat" and change.operator == "name swapped" and "mu" in change.focus:
        yield from told([change], "statistic swapped", "mean")
    elif change.operator == "another count" and line[: change.start].endswith("range("):
        yield from told([change], "count m", "tail")
    elif part == "std" and change.operator in TERMWISE and "eps" in change.focus:
        yield from told([change], "eps")
    elif part == "std" and change.operator == "drop term" and change.focus == {"var"}:
        yield from told([change], "variance", "std/power")
    elif part == "std" and change.operator == "root dropped" and line[change.start :].startswith("np.sqrt(eps)"):
        yield from told([change], "eps", "std/power")
    elif part == "std" and change.operator == "root dropped" and line[change.start :].startswith("np.sqrt(rows"):
        yield from told([change], "count m", "variance")
    elif part == "std" and "m * m * eps" in line and change.operator not in ("root dropped", "name swapped"):
        yield from told([change], "eps", *{family_of(part, change.operator, change.focus)} - {"eps"})
    else:
        yield change


def _in_exponent_of_e(line: str, change: Change) -> bool:
    """Tell whether a change is within np.exp(...): logged_power has the slips there."""
    return any(match.start() <= change.start <= match.end() for match in re.finditer(r"np\.exp\([^)]*\)", line))


def total_otherwise(place: Place, node: ast.expr) -> Iterator[Change]:
    """A mean for a sum, no sum, the last left out, another axis: where a sum is no np.sum."""
    if not isinstance(node, ast.Call) or (name := ast.unparse(node.func)) not in TOTALS:
        return
    operands = ", ".join(place.text(each) for each in node.args)
    alone = not isinstance(node.args[0], ast.GeneratorExp)
    yield from told(place.replaced("sum to mean", node, TOTALS[name].format(operands)), "mean for sum", "count m")
    if alone and name in ("np.add.reduce", "_total"):
        yield from place.replaced("sum dropped", node, place.text(node.args[0]))
    if alone:
        yield from place.replaced("last left out", node.args[0], _but_last(place.text(node.args[0])))
    axis = next((keyword.value for keyword in node.keywords if keyword.arg == "axis"), None)
    if axis is not None:
        for new in OTHER_AXES.get(ast.unparse(axis), ()):
            yield from place.replaced("axis", axis, new)


def _but_last(text: str) -> str:
    return f"{text}[:-1]" if re.fullmatch(r"[\w.]+", text) else f"({text})[:-1]"


def fold_otherwise(place: Place, node: ast.expr) -> Iterator[Change]:
    """Do the same with the means of signal_closure."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "fold":
        operand = place.text(node.args[0])
        yield from place.replaced("mean to sum", node, f"np.sum({operand}, axis=axes, keepdims=True)")
        yield from place.replaced("sum dropped", node, operand)
        yield from place.replaced("last left out", node.args[0], _but_last(operand))
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.linalg.norm":
        yield from place.replaced("last left out", node.args[0], _but_last(place.text(node.args[0])))
        yield from place.replaced("axis", node.keywords[0].value, "None")


def product_with_ones(place: Place, node: ast.expr) -> Iterator[Change]:
    """Mean for sum and no sum, where a product with ones, or with equal shares, sums."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)):
        return
    left, right = place.text(node.left), place.text(node.right)
    if left.startswith("np.ones"):
        yield from told(place.replaced("sum to mean", node.left, f"{left} / rows"), "mean for sum", "count m")
        yield from place.replaced("sum dropped", node, right)
        yield from place.replaced("last left out", node, f"np.ones(rows - 1) @ ({right})[:-1]")
    elif right.startswith("share"):
        yield from place.replaced("mean to sum", node.right, f"np.ones_like({right})")
        yield from place.replaced("sum dropped", node, left)


def loop_inside(place: Place, node: ast.expr) -> Iterator[Change]:
    """End a comprehension too early."""
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        for each in node.generators:
            if ast.unparse(each.iter) == "range(n)":
                yield from place.replaced("last left out", each.iter, "range(n - 1)")
            elif isinstance(each.iter, ast.Name) and isinstance(node, ast.GeneratorExp):
                yield from place.replaced("last left out", each.iter, f"{each.iter.id}[:-1]")


def lose_parentheses(place: Place, node: ast.expr) -> Iterator[Change]:
    """Leave out the parentheses around an operand."""
    if not isinstance(node, ast.BinOp):
        return
    for operand, first in ((node.left, True), (node.right, False)):
        if not isinstance(operand, ast.BinOp) or node.lineno != node.end_lineno:
            continue
        line = place.lines[operand.lineno - 1]
        start, end = operand.col_offset - 1, (operand.end_col_offset or 0) + 1
        if start >= 0 and line[start] == "(" and line[end - 1 : end] == ")":
            new = place.text(operand)
            plain = Change("parentheses lost", operand.lineno, start, end, new, place.leaves(operand))
            yield from told([plain], *_of_parentheses(place, node, operand, first))


def _of_parentheses(place: Place, node: ast.BinOp, operand: ast.BinOp, first: bool) -> tuple[str, ...]:
    part, leaves = place.parts.get(node.lineno, ""), place.leaves(operand)
    if "eps" in leaves:
        return "std/power", "eps", "variance"
    if isinstance(operand.op, ast.Mult | ast.Div):
        families = [BY_FACTOR[role] for role in sorted(place.leaves(operand.right)) if role in BY_FACTOR]
        return (*families, PARTS[part]) if families else (PARTS[part],)
    if part == "dx":
        return "dx factor", "direct path", "mean path", "variance path", "gamma", "std/power"
    if part in ("xhat", "y") and "mu" in leaves:
        return "mean", "std/power", "affine"
    if part == "var":
        return "variance", "mean"
    if part == "mean-path":
        return "mean path", "direct path", "dx factor", "std/power"
    return (PARTS[part], "mean") if "mu" in leaves else (PARTS[part],)


def absolute_for_square(place: Place, node: ast.expr) -> Iterator[Change]:
    """Take absolute values where the variance takes squares."""
    if place.parts.get(getattr(node, "lineno", 0)) not in ("var", "std"):
        return
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and ast.unparse(node.right) == "2":
        yield from told(place.replaced("abs for square", node, f"abs({place.text(node.left)})"), "variance")
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        same = place.text(node.left) == place.text(node.right)
        if same and place.role(node.left) == "xc":
            yield from told(place.replaced("abs for square", node, f"abs({place.text(node.left)})"), "variance")
            yield from told(place.replaced("square dropped", node, place.text(node.left)), "variance")
        elif ast.unparse(node) == "delta * (sample - mean)":
            yield from told(place.replaced("old mean twice", node.right, "delta"), "variance", "mean")
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "np.square":
        yield from told(place.replaced("abs for square", node, f"abs({place.text(node.args[0])})"), "variance")


def logged_power(place: Place, node: ast.expr) -> Iterator[Change]:
    """Other powers, where a factor of a logarithm is the power."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and ast.unparse(node.right) == LOGGED:
        for new in POWERS_OF_LOGS[ast.literal_eval(node.left)]:
            yield from told(place.replaced("power changed", node.left, new), "std/power")
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "np.log":
        inside = node.args[0]
        yield from told(place.replaced("eps outside the root", node, "2 * np.log(np.sqrt(var) + eps)"), "eps")
        yield from told(place.replaced("power changed", node, f"2 * np.log({place.text(inside)})"), "std/power")


def hypotenuse(place: Place, node: ast.expr) -> Iterator[Change]:
    """Bend the eps of a hypotenuse, and of a sum where eps comes first."""
    text = place.text(node)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.hypot":
        rms = place.text(node.args[0])
        yield from told(place.replaced("eps dropped", node, rms), "eps")
        yield from told(place.replaced("eps outside the root", node, f"({rms} + eps)"), "eps")
        yield from told(place.replaced("eps outside the root", node, f"({rms} + np.sqrt(eps))"), "eps")
        yield from told(place.replaced("eps doubled", node, f"np.hypot({rms}, np.sqrt(2 * eps))"), "eps")
        yield from told(place.replaced("eps hard-coded", node, f"np.hypot({rms}, np.sqrt(1e-5))"), "eps")
    elif text == "eps + var":
        yield from told(place.replaced("eps dropped", node, "var"), "eps")
        yield from told(place.replaced("eps doubled", node, "2 * eps + var"), "eps")
        yield from told(place.replaced("eps hard-coded", node, "1e-5 + var"), "eps")
    elif text == "np.sqrt(eps + var)":
        yield from told(place.replaced("eps outside the root", node, "(eps + np.sqrt(var))"), "eps")


def other_index(place: Place, node: ast.expr) -> Iterator[Change]:
    """Take sample i for sample j, and the other way round."""
    if isinstance(node, ast.Subscript) and ast.unparse(node.slice) in ("i", "j") and isinstance(node.ctx, ast.Load):
        part = place.parts.get(node.lineno, "")
        other = {"i": "j", "j": "i"}[ast.unparse(node.slice)]
        if part in ("dgamma", "dbeta", "direct"):  # no loop over both there
            return
        new = f"{place.text(node.value)}[{other}]"
        extra = ("sum missing",) if other == "i" else ("statistic swapped",)
        yield from told(place.replaced("index swapped", node, new), PARTS[part], *extra)


def other_einsum(place: Place, node: ast.expr) -> Iterator[Change]:
    """Sum over other axes, or over none, in an einsum of images."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith("->c"):
        inputs = node.value.removesuffix("->c")
        for kept in ("", "wc", "hc", "bc"):
            yield from place.replaced("axis", node, f'"{inputs}->{kept}"')
        yield from place.replaced("sum dropped", node, f'"{inputs}->bhwc"')
        call = place.parents[node]
        if isinstance(call, ast.Call):
            yield from told(place.replaced("sum to mean", call, f"({place.text(call)} / m)"), "mean for sum", "count m")
            yield from place.replaced("last left out", call, _shortened(place.text(call)))


def _shortened(text: str) -> str:
    """Return an einsum all of whose operands lack their last image."""
    head, _, operands = text.removesuffix(")").partition('", ')
    return f'{head}", ' + ", ".join(f"{each}[:-1]" for each in operands.split(", ")) + ")"


OPERATORS = (
    total_otherwise, fold_otherwise, product_with_ones, loop_inside, lose_parentheses, absolute_for_square,
    logged_power, hypotenuse, other_index, other_einsum,
)  # fmt: skip
