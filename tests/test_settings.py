"""Settings from code and from pyproject.toml."""

import pytest

from bncheck.errors import UsageError
from bncheck.settings import Settings, read_pyproject


def write(folder, text):
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_every_key_of_the_table_becomes_a_setting(tmp_path):
    lines = ['dtype = "float32"', 'layout = "CN"', 'select = ["BN2"]', "ignore = []", "timeout = 3", "strict = true"]
    found = read_pyproject(write(tmp_path, "\n".join(["[tool.bncheck]", "cases = 50", "seed = 7", *lines])))
    assert Settings(**found) == Settings(50, 7, "float32", "CN", ("BN2",), (), 3.0, True)
    assert isinstance(found["timeout"], float)


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
        ("[tool.bncheck]\ncases = '3'", "cases should be like 200"),
        ("[tool.bncheck]\ncases = true", "cases should be like 200"),
        ("[tool.bncheck]\nselect = 'BN2'", "select should be a list of strings"),
        ("[tool.bncheck]\nlayout = 3", "layout should be a string"),
        ("[tool.bncheck", "pyproject.toml"),
    ],
)
def test_mistakes_name_the_file_and_the_key(tmp_path, text, told):
    with pytest.raises(UsageError, match=told) as caught:
        read_pyproject(write(tmp_path, text))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("wrong", [{"cases": 0}, {"seed": -1}, {"seed": 2**64}, {"dtype": "int8"}, {"timeout": 0.0}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Settings(**wrong)
