"""The wheel in clean environments, with the lowest and the newest of all that it needs: ``make release`` runs this.

The network is needed, and some minutes.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import building
import jsonschema
import pytest

if building.RELEASE is None:
    pytest.skip("makes environments for minutes: make release", allow_module_level=True)

PROJECT = tomllib.loads((building.ROOT / "pyproject.toml").read_text())["project"]
NEEDS, PAGES = PROJECT["dependencies"], PROJECT["optional-dependencies"]["html"]
SAMPLES = building.ROOT / "bncheck" / "samples"
# Of uv: the lower bounds of what is asked for itself, and nothing that has to be compiled.
ENDS = {"lowest": ["--resolution", "lowest-direct"], "newest": ["--resolution", "highest"]}
# What the environment of the tests says must not reach the one that is tested.
OF_TESTS = ("PYTHON", "PYTEST", "VIRTUAL_ENV")
OUTSIDE = {name: value for name, value in os.environ.items() if not name.startswith(OF_TESTS)}


def run(*words, cwd, **more):
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, env=OUTSIDE, **more)


def interpreter(version):
    """Return a Python of that version, from the path or from pyenv; None if none can make environments."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python{version}"))]
    asks = f"import sys, venv; sys.exit(sys.version_info[:2] != {tuple(map(int, version.split('.')))})"
    for path in filter(None, [sys.executable, *found]):
        # A shim of pyenv is there for versions that are not.
        if subprocess.run([path, "-c", asks], capture_output=True, check=False).returncode == 0:
            return path
    return None


class Environment:
    """A clean environment with the wheel in it, and a folder that is empty to begin with."""

    def __init__(self, folder):
        self.folder = folder
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.work = folder / "work"

    def run(self, command, *words):
        """Run a command of the environment in the working folder."""
        return run(self.bin / command, *words, cwd=self.work)

    def version(self, name):
        """Return the version of a distribution in it."""
        asks = f"from importlib.metadata import version; print(version({name!r}))"
        return self.run("python", "-c", asks).stdout.strip()


def uv(*words, **more):
    done = run(sys.executable, "-m", "uv", "--quiet", *words, cwd=building.ROOT, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pins(version, end, needs):
    """Return the versions that uv finds for a Python: those at one end that have wheels for it and go together."""
    said = ["--python-version", version, "--only-binary", ":all:", "--no-header", "--no-annotate"]
    return uv("pip", "compile", *ENDS[end], *said, "-", input="\n".join(needs))


def install(env, what, constraints):
    """Install into an environment, in the versions that were found."""
    path = env.folder / "constraints.txt"
    path.write_text(constraints)
    uv("pip", "install", "--python", env.bin / "python", "--only-binary", ":all:", "-c", path, what)


@pytest.fixture(scope="module", params=[(v, end) for v in ("3.11", "3.12", "3.13") for end in ENDS], ids="-".join)
def installed(request, tmp_path_factory):
    """Return an environment with the wheel in it."""
    version, end = request.param
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    env = Environment(tmp_path_factory.mktemp("installed"))
    env.work.mkdir()
    env.pins, env.pins_of_pages = pins(version, end, NEEDS), pins(version, end, [*NEEDS, *PAGES])
    assert run(python, "-m", "venv", "--without-pip", env.folder / "venv", cwd=env.folder).returncode == 0
    env.wheel, _ = building.released(building.ROOT / building.RELEASE)
    install(env, env.wheel, env.pins)
    return env


@pytest.fixture
def work(installed):
    """Return the environment, its working folder empty."""
    shutil.rmtree(installed.work)
    installed.work.mkdir()
    return installed


def test_what_was_asked_for_is_installed(work):
    wanted = dict(line.split("==") for line in work.pins.splitlines())
    assert {"numpy", "scipy", "rich", "rich-click", "pytest", "threadpoolctl"} <= set(wanted)
    assert {name: work.version(name) for name in wanted} == wanted
    where = work.run("python", "-c", "import bncheck; print(bncheck.__file__)").stdout
    assert Path(where.strip()).is_relative_to(work.folder / "venv")


def test_commands_answer(work):
    done = work.run("bncheck", "--version")
    assert (done.returncode, done.stdout) == (0, f"bncheck {work.version('bncheck')}\n")
    for words in (["--help"], ["verify", "--help"], ["list", "checks"], ["explain", "BN201"], ["explain", "BUG211"]):
        done = work.run("bncheck", *words)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert len(done.stdout.splitlines()) > 10
    assert not list(work.work.iterdir())


def test_the_demo_shows_a_right_one_and_a_wrong_one(work):
    done = work.run("bncheck", "demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "PASS  right.py::" in done.stdout
    assert "FAIL  misprinted.py::" in done.stdout
    assert "BUG" in done.stdout
    assert "misprinted.py:43" in "".join(done.stdout.split())


@pytest.mark.parametrize(("sample", "verdict"), [("right", "pass"), ("misprinted", "fail")])
def test_a_file_is_verified_and_its_report_fits_the_schema(work, sample, verdict):
    shutil.copy(SAMPLES / f"{sample}.py", work.work / "my_bn.py")
    done = work.run("bncheck", "verify", "my_bn.py", "-o", "report.json")
    assert done.returncode == {"pass": 0, "fail": 1}[verdict]
    assert done.stderr == f"{verdict.upper()}: the report is in report.json\n"
    report = json.loads((work.work / "report.json").read_text())
    jsonschema.validate(report, json.loads(work.run("bncheck", "report", "--schema").stdout))
    assert [target["verdict"] for target in report["targets"]] == [verdict]
    assert report["versions"]["numpy"] == work.version("numpy")
    again = work.run("bncheck", "report", "report.json", "--format", "short")
    assert again.returncode == 0
    assert again.stdout.startswith(f"{verdict.upper()} my_bn.py::batchnorm_forward")


def test_pytest_has_items_for_the_targets(work):
    shutil.copy(SAMPLES / "right.py", work.work / "my_bn.py")
    assert work.run("bncheck", "init", "my_bn.py").returncode == 0
    done = work.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--bncheck-report", "bncheck.json")
    assert done.returncode == 0, done.stdout
    shutil.copy(SAMPLES / "misprinted.py", work.work / "my_bn.py")
    done = work.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "BN201")
    assert done.returncode == 1
    assert "my_bn.py::batchnorm_forward::BN201-dx-matches-numeric" in done.stdout


THREADS = """
import bncheck, numpy, scipy.linalg
from my_bn import batchnorm_backward, batchnorm_forward
from threadpoolctl import threadpool_info

seen = set()

def forward(x, gamma, beta, bn_param):
    seen.update(pool["num_threads"] for pool in threadpool_info())
    return batchnorm_forward(x, gamma, beta, bn_param)

report = bncheck.verify(forward, batchnorm_backward, cases=10)
print(bool(report), sorted(seen))
"""


def test_numerical_libraries_have_one_thread(work):
    shutil.copy(SAMPLES / "right.py", work.work / "my_bn.py")
    (work.work / "threads.py").write_text(THREADS)
    done = work.run("python", "threads.py")
    assert done.stdout == "True [1]\n", done.stdout + done.stderr


def test_pages_come_with_their_extra(work):
    # The last test of an environment: the others have it without extras.
    shutil.copy(SAMPLES / "misprinted.py", work.work / "my_bn.py")
    command = ["bncheck", "verify", "my_bn.py", "--cases", "20", "-o", "report.html"]
    done = work.run(*command)
    assert done.returncode == 2
    assert "pip install 'bncheck[html]'" in done.stderr
    install(work, f"{work.wheel}[html]", work.pins_of_pages)
    done = work.run(*command)
    assert (done.returncode, done.stderr) == (1, "FAIL: the report is in report.html\n")
    page = (work.work / "report.html").read_text()
    assert page.rstrip().endswith("</html>")
    assert "<svg" in page
