"""The vocabulary of families, and how an edit gets one: from the part of the formula it stands in, and the operator."""

from dataclasses import dataclass

FAMILIES = {
    "mean": "mu is wrong, or is not taken off x as it should be",
    "variance": "the variance is wrong otherwise than by its kind: not squared, not centred, too large",
    "variance kind": "m - 1 where m belongs, or the other way round: unbiased in place of biased",
    "std/power": "a wrong power of var + eps: no root, std for var, -1/2 for -3/2, a factor 1/std too many or too few",
    "eps": "eps missing, subtracted, outside the root, doubled, or hard-coded",
    "count m": "a factor of m (or 1/m) missing, doubled or inverted, or N, C or m - 1 in place of m",
    "axis": "a reduction over the wrong axes",
    "affine": "y is not gamma * xhat + beta",
    "gamma": "gamma in a gradient: missing or too many, divided by, |gamma|, clipped",
    "dgamma": "dgamma's formula is wrong otherwise",
    "dbeta": "dbeta's formula is wrong otherwise",
    "direct path": "the term of dx that comes straight from dy is wrong",
    "mean path": "the term of dx that goes through mu is wrong or missing",
    "variance path": "the term of dx that goes through var is wrong or missing",
    "dx factor": "a factor before the whole of dx is wrong",
    "statistic swapped": "one intermediate in place of another of like shape",
    "swapped results": "dgamma and dbeta change places",
    "sum missing": "a reduction is left out",
    "mean for sum": "a mean where a sum belongs",
    "sign": "a wrong sign",
    "tail": "the last row, image or channel is left out",
}

# What stands in a line, written behind it as `# part: ...`, and the family of an edit there that nothing else decides.
PARTS = {
    "count": "count m",
    "mu": "mean",
    "xc": "mean",
    "var": "variance",
    "std": "std/power",
    "xhat": "std/power",
    "y": "affine",
    "dbeta": "dbeta",
    "dgamma": "dgamma",
    "dxhat": "gamma",
    "direct": "direct path",
    "mean-path": "mean path",
    "var-path": "variance path",
    "dx": "dx factor",
    "return": "swapped results",
    "shared-average": "count m",
    "axes": "axis",
}
# A diagnosis that names the wrong term, and not what is wrong in it, tells the truth too.
TERMS = {"mu", "xc", "var", "y", "dbeta", "dgamma", "dxhat", "direct", "mean-path", "var-path"}
POWERS = {"std", "inv_std", "var", "eps"}
COUNTS = {"m", "n", "recip"}
FACTORS = {"flip * and /", "drop factor", "repeat factor"}
FIXED = {
    "axis": "axis",
    "ddof": "variance kind",
    "eps dropped": "eps",
    "eps outside the root": "eps",
    "eps doubled": "eps",
    "eps hard-coded": "eps",
    "another count": "count m",
    "mean to sum": "count m",
    "sum to mean": "mean for sum",
    "sum dropped": "sum missing",
    "root dropped": "std/power",
    "results swapped": "swapped results",
    "last left out": "tail",
}
SIGNS = {"flip + and -", "sign flipped"}
SUMS = {"dbeta": "mean path", "dgamma": "variance path"}  # where dx is made from the parameters' gradients
TERMWISE = {"flip + and -", "drop term"}
BY_ROLE = {
    "dvar": "variance path", "dstd": "variance path", "var_term": "variance path", "proj_sum": "variance path",
    "dmu": "mean path", "mean_term": "mean path", "mean_sum": "mean path", "direct_term": "direct path",
    "dxhat": "direct path",
}  # fmt: skip


@dataclass(frozen=True)
class Label:
    """What a right diagnosis says of one edit.

    `family` is what the edit is about; `also` holds other families that are true of it; `tensors` are those that become
    wrong; `line` is the edited line.
    """

    family: str
    also: tuple[str, ...]
    tensors: tuple[str, ...]
    line: int


def family_of(part: str, operator: str, focus: frozenset[str]) -> str:
    """Return the family of an edit: `focus` holds the roles of the operand that it takes away, adds or replaces."""
    if operator in FIXED:
        return FIXED[operator]
    if operator == "m minus one":
        return "variance kind" if part in ("var", "std") else "count m"
    if operator == "gamma bent":
        return "affine" if part == "y" else "gamma"
    if operator == "path to zero":
        return next(BY_ROLE[role] for role in focus if role in BY_ROLE)
    if operator == "name swapped":
        return _of_swap(part, focus)
    if operator in ("power changed", "constant changed"):
        return "std/power" if focus & {"power"} else "variance" if part == "std" else PARTS[part]
    if part == "dx" and operator in TERMWISE and focus & set(BY_ROLE):
        return next(family for role, family in BY_ROLE.items() if role in focus)
    if operator in FACTORS:
        return _of_factor(part, focus)
    if "eps" in focus and focus <= POWERS:
        return "eps"
    if "mu" in focus and part == "xhat":
        return "mean"
    return "variance" if "mu" in focus and part == "std" else PARTS[part]


def _of_factor(part: str, focus: frozenset[str]) -> str:
    if focus and focus <= COUNTS:
        return "count m"
    if focus and focus <= POWERS:
        return "std/power"
    if focus == {"gamma"}:
        return "affine" if part == "y" else "gamma"
    return PARTS[part]


def _of_swap(part: str, focus: frozenset[str]) -> str:
    if focus == {"dy", "dxhat"}:
        return PARTS[part] if part in ("dgamma", "dbeta") else "gamma"
    if focus <= {"std", "inv_std", "var"}:
        return "std/power"
    if focus == {"gamma", "beta"}:
        return "affine" if part == "y" else "gamma"
    if part == "xhat" and focus == {"x", "xc"}:
        return "mean"
    return "statistic swapped"


def also_of(part: str, operator: str, family: str, tensors: tuple[str, ...]) -> tuple[str, ...]:
    """Return further families that are true of the edit by where and what it is."""
    found = set()
    if part in TERMS:
        found.add(PARTS[part])
    if part == "std" and family not in ("std/power", "eps"):
        found.add("variance")
    if operator in SIGNS:
        found.add("sign")
    if operator == "name swapped":
        found.add("statistic swapped")
    if part in SUMS and "dx" in tensors and "y" not in tensors:
        found.add(SUMS[part])
    if operator == "m minus one" and part == "var-path":
        found.add("variance kind")
    if operator == "sum to mean":
        found.add("count m")
    return tuple(sorted(found - {family}))
