"""What becomes of the reports of several targets."""

from dataclasses import replace

from render import right

from bncheck.pipeline import put_together
from bncheck.report import SourceLine, TargetReport, Verdict
from bncheck.settings import Settings


def named(*places):
    targets = [replace(right(), name=name, defined=SourceLine(file, 1, "def f():")) for name, file in places]
    return [target.name for target in put_together(targets, Settings()).targets]


def test_files_of_one_name_in_two_folders_have_their_paths_in_the_names_of_their_targets():
    assert named(("bn.py::f", "a/bn.py"), ("bn.py::g", "b/bn.py")) == ["a/bn.py::f", "b/bn.py::g"]
    assert named(("bn.py::f", "a/bn.py"), ("bn.py::g", "a/bn.py")) == ["bn.py::f", "bn.py::g"]
    assert named(("bn.py::f", "a/bn.py"), ("other.py::f", "b/other.py")) == ["bn.py::f", "other.py::f"]


def test_notebooks_and_files_that_cannot_be_verified_are_told_apart_too():
    assert named(("bn.ipynb::f", "a/bn.ipynb, code cell 1"), ("bn.ipynb::f", "b/bn.ipynb, code cell 7")) == [
        "a/bn.ipynb::f",
        "b/bn.ipynb::f",
    ]
    right_one = replace(right(), name="bn.py::f", defined=SourceLine("a/bn.py", 1, "def f():"))
    reports = [right_one, TargetReport("b/bn.py", Verdict.ERROR, error="b/bn.py: no such file")]
    assert [target.name for target in put_together(reports, Settings()).targets] == ["a/bn.py::f", "b/bn.py"]
    reports = [right_one, TargetReport("bn.py::g", Verdict.ERROR, error="bn.py::g: TypeError")]
    assert [target.name for target in put_together(reports, Settings()).targets] == ["bn.py::f", "bn.py::g"]


def test_a_target_in_two_dtypes_has_the_unusual_one_in_its_name():
    def names(*dtypes):
        return [t.name for t in put_together([replace(right(), dtype=d) for d in dtypes], Settings()).targets]

    name = right().name
    assert names("float32", "float64") == [f"{name} in float32", name]
    assert names("float32", "float16") == [f"{name} in float32", f"{name} in float16"]
    assert names("float32") == [name]
    assert names("float32", "float32") == [name, name]


def test_names_that_are_not_of_a_file_stay():
    assert named(("torch.nn:BatchNorm1d", "x/batchnorm.py"), ("nn.Mine", "y/batchnorm.py")) == [
        "torch.nn:BatchNorm1d",
        "nn.Mine",
    ]
