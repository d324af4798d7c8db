"""The house has floors: a module imports downward only, and neighbours on one floor do not know each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "bncheck"

# Floor by module or package below bncheck; ARCHITECTURE.md tells what lives on each.
FLOORS = {
    "errors": 0, "registry": 0, "model": 0, "case": 0, "report": 0, "codec": 0, "compact": 0,
    "settings": 1, "tally": 1, "scaffold": 1, "guard": 1, "core": 1, "pages": 1, "reporters": 1,
    "cases": 2, "adapters": 2, "experiments": 2, "checks": 2, "bugs": 2,
    "asked": 3, "condition": 3, "diagnose": 3, "lines": 3, "location": 3, "memory": 3, "verdict": 3, "tasks": 3,
    "driver": 4,
    "executors": 5,
    "sweep": 6, "pipeline": 7,
    "options": 2, "watch": 2, "journal": 2,
    "api": 8, "cli_explain": 8, "cli_project": 8, "cli_report": 8, "pytest_items": 8,
    "cli": 9, "pytest_plugin": 9, "__main__": 10, "__init__": 9,
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
    assert "pytest" not in roots or unit in ("pytest_plugin", "pytest_items")
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
