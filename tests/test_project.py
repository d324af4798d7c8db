"""``bncheck init`` and ``bncheck watch``: what is written, what is kept, and what a save brings about."""

import os
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from bncheck import scaffold
from bncheck.errors import UsageError

SAMPLES = Path(__file__).parent.parent / "bncheck" / "samples"


def run(*words, cwd, **more):
    command = [sys.executable, "-m", "bncheck", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **more)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "my_bn.py").write_text((SAMPLES / "right.py").read_text())
    return tmp_path


FILES = ["pyproject.toml", "tests/test_batch_norm.py", ".github/workflows/bncheck.yml", "bncheck-ci.sh"]


def test_files_are_written_and_nothing_is_written_twice(project):
    done = run("init", "my_bn.py", cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "found: my_bn.py::batchnorm_forward",
        *(f"written: {name}" for name in FILES),
        "Now:  pytest",
    ]
    assert tomllib.loads((project / "pyproject.toml").read_text()) == {"tool": {"bncheck": {"targets": ["my_bn.py"]}}}
    assert os.access(project / "bncheck-ci.sh", os.X_OK)
    before = {name: (project / name).read_text() for name in FILES}
    again = run("init", "my_bn.py", cwd=project)
    assert [line.split(":")[0] for line in again.stdout.splitlines()[1:-1]] == ["kept"] * 4
    assert {name: (project / name).read_text() for name in FILES} == before


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (None, "bncheck"),
        (
            '{"url": "https://example.org/bncheck.whl", "archive_info": {}}',
            "'bncheck @ https://example.org/bncheck.whl'",
        ),
        ("no JSON", "bncheck"),
        (
            '{"url": "file:///home/me/b", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
            "bncheck  # it came from a folder here: 'bncheck @ git+https://...' where it is not released",
        ),
        (
            '{"url": "https://example.org/b", "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": "py"}',
            "'bncheck @ git+https://example.org/b@abc#subdirectory=py'",
        ),
        (
            '{"url": "https://example.org/b.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
            "'bncheck @ git+https://example.org/b.git@abc'",
        ),
        (
            '{"url": "file:///home/me/bncheck", "dir_info": {"editable": true}}',
            "bncheck  # it came from a folder here: 'bncheck @ git+https://...' where it is not released",
        ),
    ],
)
def test_ci_installs_what_was_installed_here(monkeypatch, tmp_path, origin, requirement):
    def distribution(name):
        assert name == "bncheck"
        return SimpleNamespace(read_text=lambda file: origin if file == "direct_url.json" else "")

    monkeypatch.setattr(scaffold.metadata, "distribution", distribution)
    _, _, workflow, script = [piece.text for piece in scaffold.pieces(tmp_path, ["my_bn.py"])]
    assert f"      - run: pip install {requirement}\n" in workflow
    assert f"python -m pip install {requirement}\n" in script


def test_sources_that_were_never_installed_are_called_by_their_name(monkeypatch):
    def distribution(name):
        raise scaffold.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(scaffold.metadata, "distribution", distribution)
    assert scaffold.requirement() == "bncheck"


def test_what_is_written_runs(project):
    run("init", "my_bn.py", cwd=project)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--bncheck-report", "bncheck.json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout
    assert (project / "bncheck.json").exists()
    # The settings' targets are those of the command line, too: that is what the shell script rests on.
    verified = run("verify", "-q", "--cases", "10", cwd=project)
    assert verified.returncode == 0
    assert verified.stdout.startswith("PASS my_bn.py::")


def test_a_failure_that_is_expected_is_so_in_the_test_that_is_written(project):
    (project / "my_bn.py").write_text(
        (SAMPLES / "right.py").read_text().replace("dout.sum(axis=0)", "dout.mean(axis=0)")
    )
    run("init", "my_bn.py", cwd=project)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "float32"]
    assert subprocess.run(command, cwd=project, capture_output=True, text=True, check=False).returncode == 1
    with (project / "pyproject.toml").open("a") as file:
        file.write('[[tool.bncheck.expected]]\ncheck = "BN203"\nreason = "a mean on purpose"\n')
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_dry_run_shows_all_and_writes_nothing(project):
    done = run("init", "my_bn.py", "--dry-run", cwd=project)
    assert done.returncode == 0
    for name in FILES:
        assert f"would be written: {name}" in done.stdout
    assert 'targets = ["my_bn.py"]' in done.stdout
    assert "Nothing was written." in done.stdout
    assert [path.name for path in project.iterdir()] == ["my_bn.py"]


def test_settings_are_added_to_what_is_there(tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text('[project]\nname = "mine"')
    (piece,) = (piece for piece in scaffold.pieces(tmp_path, ["a.py", 'b"c.py']) if piece.path == path)
    piece.write()
    table = tomllib.loads(path.read_text())
    assert table["project"] == {"name": "mine"}
    assert table["tool"]["bncheck"]["targets"] == ["a.py", 'b"c.py']
    path.write_text("[tool.bncheck]\n")
    kept = next(piece for piece in scaffold.pieces(tmp_path, ["a.py"]) if piece.path == path).kept
    assert 'add targets = ["a.py"]' in kept
    path.write_text("tool = {other = {}}\n")
    with pytest.raises(UsageError, match="nothing can be added"):
        scaffold.pieces(tmp_path, [])
    path.write_text("[project\n")
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        scaffold.pieces(tmp_path, [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("init",), "say what is to be verified"),
        (("init", "absent.py"), "no such file"),
        (("init", "my_bn.py", "-o", "x.py"), "--output is for an adapter"),
        (("init", "my_bn.py", "--layout", "NC"), "goes into [tool.bncheck]"),
        (("watch", "nowhere/my_bn.py"), "there is no folder"),
        (("init", "--adapter"), "for one target"),
        (("watch",), "nothing to verify"),
    ],
)
def test_a_slip_is_told_in_one_line(project, words, message):
    done = run(*words, cwd=project)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in project.iterdir()] == ["my_bn.py"]


def test_what_cannot_be_written_is_told(project):
    (project / "tests").write_text("no folder")
    done = run("init", "my_bn.py", cwd=project)
    assert done.returncode == 2
    assert "test_batch_norm.py cannot be written" in done.stderr


# ---------------------------------------------------------------------------------------------------------------- watch


def test_without_its_library_watch_says_what_to_install(project):
    (project / "watchfiles.py").write_text("raise ImportError")
    done = run("watch", "my_bn.py", cwd=project, env={**os.environ, "PYTHONPATH": str(project)})
    assert done.returncode == 2
    assert "pip install 'bncheck[watch]'" in done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="Ctrl-C is sent another way there")
def test_a_save_is_verified_and_ctrl_c_ends(project):
    pytest.importorskip("watchfiles", reason="watchfiles is not installed: nothing to watch with")
    command = [sys.executable, "-u", "-m", "bncheck", "watch", "my_bn.py", "--cases", "5", "--select", "BN1,BN2"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as process:
        guard = threading.Timer(120, process.kill)
        guard.start()
        verdicts = []
        for line in process.stdout:
            if line[:1] in "✔✘":
                verdicts.append(line.split()[1])
            if line.startswith("Waiting"):
                if len(verdicts) == 2:
                    break
                (project / "my_bn.py").write_text((SAMPLES / "misprinted.py").read_text())
        process.send_signal(signal.SIGINT)
        process.wait()
        guard.cancel()
    assert verdicts == ["PASS", "FAIL"]
    assert process.returncode == 0
