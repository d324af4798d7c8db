"""What is in the wheel and in the source distribution, and what they say of themselves."""

import configparser
import hashlib
import re
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import PurePosixPath

import building
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bncheck.reporters import NEEDED

PROJECT = tomllib.loads((building.ROOT / "pyproject.toml").read_text())["project"]
NAME, VERSION = PROJECT["name"], PROJECT["version"]
INFO = f"{NAME}-{VERSION}.dist-info"
# What is made beside the sources, by Python and by tools.
MADE = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints"}
UNPACKED_AT_MOST = 10_000_000


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Return the wheel and the source distribution."""
    folder = building.RELEASE
    if folder is None:
        folder = tmp_path_factory.mktemp("dist")
        # The wheel is built from the source distribution, as ``make release`` does it.
        building.build(building.ROOT, folder)
    return building.released(folder)


@pytest.fixture(scope="module")
def wheel(packages):
    with zipfile.ZipFile(packages[0]) as archive:
        yield archive


@pytest.fixture(scope="module")
def sdist(packages):
    with tarfile.open(packages[1]) as archive:
        yield archive


def sources(folder):
    """Return the names of all files below a folder of the repository, as far as nobody made them."""
    paths = (path.relative_to(building.ROOT) for path in (building.ROOT / folder).rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not MADE.intersection(path.parts)}


def digests(wheel):
    """Return what every file of a wheel holds."""
    return {name: hashlib.sha256(wheel.read(name)).hexdigest() for name in wheel.namelist()}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = {name for name in wheel.namelist() if not name.startswith(f"{INFO}/")}
    assert names == sources("bncheck")
    assert not {part for name in names for part in PurePosixPath(name).parts} & {"tests", "fixtures", "test_floors.py"}


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "reporters/report.schema.json",
        "reporters/document/templates/report.html",
        "reporters/document/templates/parts.html",
        "reporters/document/templates/style.css",
        "samples/right.py",
        "samples/misprinted.py",
    ],
)
def test_what_is_read_at_run_time_is_in_the_wheel(wheel, name):
    assert wheel.read(f"bncheck/{name}") == (building.ROOT / "bncheck" / name).read_bytes()


def test_commands_and_the_plugin_are_announced(wheel):
    points = configparser.ConfigParser()
    points.read_string(wheel.read(f"{INFO}/entry_points.txt").decode())
    assert {group: dict(points[group]) for group in points.sections()} == {
        "console_scripts": {"bncheck": "bncheck.__main__:main"},
        "pytest11": {"bncheck": "bncheck.pytest_plugin"},
    }


def test_the_metadata_says_what_the_project_says(wheel):
    said = message_from_string(wheel.read(f"{INFO}/METADATA").decode())
    assert (said["Name"], said["Version"], said["Requires-Python"]) == (NAME, VERSION, PROJECT["requires-python"])
    assert (said["License-Expression"], said.get_all("License-File")) == ("MIT", ["LICENSE"])
    assert wheel.read(f"{INFO}/licenses/LICENSE") == (building.ROOT / "LICENSE").read_bytes()
    extras = {canonicalize_name(name) for name in PROJECT["optional-dependencies"]}
    assert set(said.get_all("Provides-Extra")) == extras
    needed = [Requirement(text) for text in said.get_all("Requires-Dist")]
    bare = {(item.name, str(item.specifier)) for item in needed if item.marker is None}
    assert bare == {(item.name, str(item.specifier)) for item in map(Requirement, PROJECT["dependencies"])}
    # An address that leads nowhere is worse than none.
    assert said.get_all("Project-URL") is None
    assert said.get_payload() == (building.ROOT / "README.md").read_text()


def test_extras_that_messages_name_exist(wheel):
    said = message_from_string(wheel.read(f"{INFO}/METADATA").decode())
    text = "".join(wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".py"))
    named = {*re.findall(r"bncheck\[(\w+)\]", text), *NEEDED}
    assert {"dask", "watch", "html"} <= named
    assert named <= set(said.get_all("Provides-Extra"))


def test_the_source_distribution_holds_what_tests_need(sdist):
    top = f"{NAME}-{VERSION}/"
    names = {member.name.removeprefix(top) for member in sdist.getmembers() if member.isfile()}
    folders = ("bncheck", "tests", "fixtures", "scripts", "benchmarks", "docs")
    assert set().union(*map(sources, folders)) <= names
    assert {"pyproject.toml", "Makefile", "LICENSE", "README.md", "CHANGELOG.md", "PKG-INFO"} <= names
    assert {name for name in names if MADE.intersection(PurePosixPath(name).parts)} == set()
    assert {PurePosixPath(name).parts[0] for name in names if "/" in name} == set(folders)
    assert sum(member.size for member in sdist.getmembers()) < UNPACKED_AT_MOST


def test_the_source_distribution_builds_the_same_wheel(sdist, wheel, tmp_path):
    # The released wheel is built from the source distribution; this one is built from the tree.
    building.build(building.ROOT, tmp_path, "wheel")
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as other:
        assert digests(other) == digests(wheel)
