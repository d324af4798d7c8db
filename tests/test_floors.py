"""The house has floors: a module imports downward only, and neighbours on one floor do not know each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "bncheck"

# Floor by module or package below bncheck; ARCHITECTURE.md tells what lives on each.
FLOORS = {
    "errors": 0, "registry": 0, "model": 0, "session": 0, "case": 0, "report": 0, "codec": 0, "compact": 0,
    "settings": 1, "tally": 1, "scaffold": 1, "guard": 1, "core": 1, "pages": 1, "reporters": 1,
    "cases": 2, "adapters": 2, "experiments": 2, "checks": 2, "bugs": 2,
    "asked": 3, "condition": 3, "diagnose": 3, "lines": 3, "location": 3, "memory": 3, "verdict": 3, "tasks": 3,
    "exhibit": 4, "driver": 5,
    "executors": 6,
    "sweep": 7, "job": 8, "pipeline": 9,
    "options": 2, "watch": 2, "journal": 2,
    "api": 10, "cli_explain": 10, "cli_project": 10, "cli_report": 10, "pytest_nodes": 10,
    "pytest_items": 11, "cli": 11, "__init__": 11, "pytest_plugin": 12, "__main__": 12,
}  # fmt: skip
SAMPLES = "samples"


def imports_of(source: str, package: str) -> set[str]:
    """Return the bncheck modules that a source imports, lazily or not, as names below bncheck ("core.truth")."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(["bncheck", *package.split(".")][: len(package.split(".")) + 2 - node.level])
            names = [f"{base}.{node.module}" if node.module else base]
        elif isinstance(node, ast.ImportFrom) and node.module == "bncheck":
            names = [f"bncheck.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        found |= {name.removeprefix("bncheck.") for name in names if name.startswith("bncheck.")}
    return found


def breaches(unit: str, source: str) -> list[str]:
    """Return what a module of `unit` imports that it must not."""
    own = FLOORS[unit]
    wrong = []
    for name in imports_of(source, unit):
        other = name.split(".")[0]
        if other == unit or other not in FLOORS:
            continue
        if FLOORS[other] > own or (FLOORS[other] == own and own != 0):
            wrong.append(f"{unit} (floor {own}) imports {name} (floor {FLOORS[other]})")
    return wrong


def modules():
    return list(_modules())


def _modules():
    for path in sorted(ROOT.rglob("*.py")):
        unit = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if unit != SAMPLES:
            yield pytest.param(unit, path, id=str(path.relative_to(ROOT)))


@pytest.mark.parametrize(("unit", "path"), modules())
def test_imports_go_downward(unit, path):
    assert unit in FLOORS, f"{path.name} lives on no floor"
    assert breaches(unit, path.read_text()) == []


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


@pytest.mark.parametrize(("unit", "path"), modules())
def test_heavy_libraries_stay_where_they_belong(unit, path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):  # what only the type checker reads costs nothing
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    roots = {name.split(".")[0] for node in ast.walk(tree) for name in _imported(node)}
    frameworks = {"torch", "jax", "flax", "tensorflow", "keras", "ml_dtypes"}
    atop = {name.split(".")[0] for node in tree.body for name in _imported(node)}
    assert not atop & frameworks, "a framework is imported by the functions that need it"
    assert not roots & frameworks or path.name.endswith("_code.py"), "frameworks only inside their adapter"
    assert "pytest" not in roots or unit in ("pytest_plugin", "pytest_items", "pytest_nodes")
    assert not roots & {"rich", "rich_click"} or unit == "options" or unit.split("_")[0] in ("reporters", "cli")
    # On floor 3 these compare arrays, where user code runs.
    computes = FLOORS[unit] in (1, 2, 4) or unit in ("diagnose", "lines", "location", "memory")
    assert "numpy" not in roots or computes, "floors 0 and 3 and the fronts hold plain data"


@pytest.mark.parametrize(
    ("unit", "source"),
    [
        ("core", "from bncheck.cases.plan import plan"),
        ("checks", "def f():\n    import bncheck.adapters.resolve"),
        ("cases", "from bncheck import experiments"),
        ("model", "from bncheck.settings import Settings"),
        ("checks", "from ..adapters import resolve"),
    ],
)
def test_a_planted_breach_is_seen(unit, source):
    assert breaches(unit, source)


# A module longer than this is two; a function longer than this, without its docstring, does two things.
LONGEST_MODULE, LONGEST_FUNCTION = 350, 50


def too_long(source: str) -> list[str]:
    """Return what is too long in a module: "the module", or names of functions."""
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = ["the module"] if source.count("\n") > LONGEST_MODULE else []
    for function in functions:
        first = function.body[ast.get_docstring(function) is not None :]
        if first and function.end_lineno - first[0].lineno + 1 > LONGEST_FUNCTION:
            found.append(function.name)
    return found


def test_nothing_is_long():
    repository = ROOT.parent
    paths = [*ROOT.rglob("*.py"), *(repository / "benchmarks").glob("*.py"), *(repository / "scripts").glob("*.py")]
    found = {str(path.relative_to(repository)): too_long(path.read_text(encoding="utf-8")) for path in paths}
    assert {name: long for name, long in found.items() if long} == {}
    assert too_long("x = 1\n" * 351) == ["the module"]
    assert too_long("def f():\n    '''Say.'''\n" + "    x = 1\n" * 51) == ["f"]
    assert too_long("def f():\n    '''Say.'''\n" + "    x = 1\n" * 50) == []


def test_samples_and_fixtures_never_import_bncheck():
    repository = ROOT.parent
    for folder in (ROOT / SAMPLES, repository / "fixtures"):
        for path in folder.rglob("*.py"):
            if path.name != "syntax_error.py":
                imported = {
                    (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
                    for node in ast.walk(ast.parse(path.read_text()))
                    if isinstance(node, ast.Import | ast.ImportFrom)
                }
                assert not [name for name in imported if name.startswith("bncheck")], path
