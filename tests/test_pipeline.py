"""What becomes of the reports of several targets."""

from dataclasses import replace

from render import right

from bncheck.pipeline import put_together
from bncheck.report import SourceLine
from bncheck.settings import Settings


def named(*places):
    targets = [replace(right(), name=name, defined=SourceLine(file, 1, "def f():")) for name, file in places]
    return [target.name for target in put_together(targets, Settings()).targets]


def test_files_of_one_name_in_two_folders_have_their_paths_in_the_names_of_their_targets():
    assert named(("bn.py::f", "a/bn.py"), ("bn.py::g", "b/bn.py")) == ["a/bn.py::f", "b/bn.py::g"]
    assert named(("bn.py::f", "a/bn.py"), ("bn.py::g", "a/bn.py")) == ["bn.py::f", "bn.py::g"]
    assert named(("bn.py::f", "a/bn.py"), ("other.py::f", "b/other.py")) == ["bn.py::f", "other.py::f"]


def test_names_that_are_not_of_a_file_stay():
    assert named(("torch.nn:BatchNorm1d", "x/batchnorm.py"), ("nn.Mine", "y/batchnorm.py")) == [
        "torch.nn:BatchNorm1d",
        "nn.Mine",
    ]
