"""Settings from code and from pyproject.toml."""

import math
import threading
from itertools import permutations

import pytest

from bncheck.adapters.layouts import LAYOUTS, layout
from bncheck.errors import UsageError
from bncheck.model import Declared, Expected, TargetSpec
from bncheck.settings import Settings, read_pyproject


def write(folder, text):
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_every_key_of_the_table_becomes_a_setting(tmp_path):
    lines = ['dtype = "float32"', 'layout = "CN"', 'select = ["BN2"]', "ignore = []", "timeout = 3", "strict = true"]
    found = read_pyproject(write(tmp_path, "\n".join(["[tool.bncheck]", "cases = 50", "seed = 7", *lines])))
    assert Settings(**found) == Settings(50, 7, "float32", ("BN2",), (), 3.0, True, layout="CN")
    assert isinstance(found["timeout"], float)


def test_what_is_declared_of_a_target_has_keys_as_its_options_are_called(tmp_path):
    lines = ['as = "function-pair"', 'adapter = "my.py"', 'momentum-sense = "new"', 'running_var = "biased"', "eps = 0"]
    found = read_pyproject(write(tmp_path, "\n".join(["[tool.bncheck]", "stand-ins = false", *lines])))
    assert Settings(**found).declared == Declared(
        kind="function-pair", adapter_file="my.py", momentum_sense="new", running_var="biased", eps=0, stand_ins=False
    )


def test_the_nearest_file_above_counts(tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    write(tmp_path, "[tool.bncheck]\ncases = 3\n")
    assert read_pyproject(deep) == {"cases": 3}


def test_no_table_no_settings(tmp_path):
    assert read_pyproject(write(tmp_path, "[project]\nname = 'x'\n")) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tool.bncheck]\ncase = 3", "no setting 'case'. Did you mean cases"),
        ("[tool.bncheck]\ntarget = ['a.py']", r"no setting 'target'. Did you mean targets\?"),
        ("[tool.bncheck]\ncases = '3'", "cases should be a whole number"),
        ("[tool.bncheck]\ncases = true", "cases should be a whole number"),
        ("[tool.bncheck]\nselect = ['BN2', 3]", "select should be a string or a list of strings"),
        ("[tool.bncheck]\nignore = ['']", "ignore has an empty code"),
        ("[tool.bncheck]\nprofile = 'torch'", r"profile 'torch' is not known. Did you mean pytorch"),
        ("[tool.bncheck]\nreturns = 'foo, dx'", "returns should be an order of dx, dgamma, dbeta"),
        ("[tool.bncheck]\neps = -1", "eps must be a number from 0 on"),
        ("[tool.bncheck]\ngrad-scale = 'men'", r"grad_scale 'men' is not known. Did you mean mean"),
        ("[tool.bncheck]\nmomentum-sens = 'new'", "no setting 'momentum-sens'. Did you mean momentum-sense"),
        ("[tool.bncheck]\nlayout = 3", "layout should be a string"),
        ("[tool.bncheck]\nlayout = 'NCWH2'", "layout 'NCWH2' is not known. Did you mean NCHW"),
        ("[tool.bncheck]\ndtype = 'float8'", r"\[tool.bncheck\] dtype 'float8' is not known. Did you mean float"),
        ("[tool.bncheck]\nstrict = 1", "strict should be true or false"),
        ("[tool.bncheck]\ntimeout = inf", "timeout must be between 0 and"),
        (f"[tool.bncheck]\ntimeout = 1{'0' * 400}", "timeout must be between 0 and"),
        ("tool = 3", "tool should be a table, not 3"),
        ("[tool]\nbncheck = 5", "bncheck should be a table, not 5"),
        ("[tool.bncheck", "pyproject.toml"),
    ],
)
def test_mistakes_name_the_file_and_the_key(tmp_path, text, told):
    with pytest.raises(UsageError, match=told) as caught:
        read_pyproject(write(tmp_path, text))
    assert str(tmp_path) in str(caught.value)


def test_codes_of_the_file_are_split_as_everywhere(tmp_path):
    assert read_pyproject(write(tmp_path, '[tool.bncheck]\nselect = ["BN2, BN503"]\n')) == {"select": ("BN2", "BN503")}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"cases": value} for value in (0, "10", 2.0, True, None)),
        *({"seed": value} for value in (-1, 2**64, 1.5, "1")),
        *({"dtype": value} for value in ("int8", float, None)),
        *({"timeout": value} for value in (0.0, -1, math.inf, math.nan, threading.TIMEOUT_MAX * 2, "3", None, True)),
        *({"layout": value} for value in ("", "N", "NN", "nc", "NCNC", "NCX", "NCHWD2", ("N", "C"))),
        *({"select": value} for value in ("", "BN2,", ("",), ("BN2", " "), 3, (3,), None)),
        *({"ignore": value} for value in ("", [""])),
        {"strict": 1},
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(wrong):
    with pytest.raises(UsageError, match=f"^{next(iter(wrong))} "):
        Settings(**wrong)


def test_a_timeout_too_long_to_wait_for_says_what_the_longest_is():
    with pytest.raises(UsageError, match=f"timeout must be between 0 and {threading.TIMEOUT_MAX:.0f} seconds, not inf"):
        Settings(timeout=math.inf)
    assert Settings(timeout=threading.TIMEOUT_MAX)


def test_every_order_of_axes_that_can_be_run_is_a_layout_and_a_slip_is_set_right():
    for name in {"".join(letters) for known in LAYOUTS for letters in permutations(known)}:
        assert Settings(layout=name).layout == layout(name).name
    with pytest.raises(UsageError, match=r"layout 'nchw' is not known. Did you mean NCHW"):
        Settings(layout="nchw")


@pytest.mark.parametrize("codes", ["BN2, BN503", ["BN2", "BN503"], ("BN2 ,BN503",), ("BN2", " BN503 ")])
def test_codes_are_split_and_stripped(codes):
    assert Settings(select=codes, ignore=codes) == Settings(select=("BN2", "BN503"), ignore=("BN2", "BN503"))


def test_expected_failures_are_tables_with_a_check_and_a_reason(tmp_path):
    text = '[[tool.bncheck.expected]]\ncheck = "BN508"\nreason = "one object"\ntarget = "*1d"\n'
    found = Settings(**read_pyproject(write(tmp_path, text)))
    assert found.expected == (Expected("BN508", "one object", "*1d"),)
    assert Settings(expected=[{"check": "BN508", "reason": "why"}]).expected == (Expected("BN508", "why"),)


@pytest.mark.parametrize(
    ("pattern", "fitting"),
    [
        ("layers.py::*", {"a", "b"}), ("a/layers.py::*", {"a"}), ("./a/layers.py::*", {"a"}), ("b/*", {"b"}),
        ("src/layers.py::*", set()), ("*::BatchNorm", {"a", "b"}), ("*", {"a", "b"}),
    ],
)  # fmt: skip
def test_an_expected_failure_fits_targets_by_name_and_by_path_from_the_project(tmp_path, monkeypatch, pattern, fitting):
    entry = f'[[tool.bncheck.expected]]\ncheck = "BN508"\nreason = "x"\ntarget = "{pattern}"\n'
    project = write(tmp_path, f'[tool.bncheck]\ntargets = ["a/layers.py", "b/layers.py"]\n{entry}')
    for folder in (project, project / "tests"):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        found = Settings(**read_pyproject(folder))
        specs = dict(zip("ab", map(TargetSpec, found.targets), strict=True))
        fits = {k for k, spec in specs.items() if found.expected[0].fits(spec.names_of("layers.py::BatchNorm"))}
        assert fits == fitting


def test_an_expected_failure_of_a_program_is_called_as_the_program_is(tmp_path, monkeypatch):
    entry = '[[tool.bncheck.expected]]\ncheck = "BN508"\nreason = "x"\ntarget = "./build/*"\n'
    monkeypatch.chdir(write(tmp_path, entry))
    assert Settings(**read_pyproject(tmp_path)).expected[0].fits(["./build/my_bn"])


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ("BN508", "should be tables"), (["BN508"], "list of tables"), ([{"check": "BN508"}], "needs a reason"),
        ([{"reason": "x"}], "needs a check"), ([{"check": "BN508", "reason": " "}], "reason should be a text"),
        ([{"check": "BN508", "reason": "x", "targt": "y"}], "Did you mean target"),
    ],
)  # fmt: skip
def test_expected_failures_without_a_reason_are_refused(entries, told):
    with pytest.raises(UsageError, match=told):
        Settings(expected=entries)
