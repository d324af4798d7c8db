"""The worked examples of CONTRIBUTING.md: files are put into a copy of the package, and commands are run there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = ["A check", "A bug", "An adapter", "A reporter"]
# A file is named right before the block that shows it.
FILE = re.compile(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", re.S)
CONSOLE = re.compile(r"```console\n(.*?)```", re.S)


def section(title):
    """Return what stands below a heading."""
    return re.split(r"^##", PAGE.split(f"### {title}\n")[1], maxsplit=1, flags=re.M)[0]


def commands(text):
    """Yield every command of a section, its exit code, and the lines that are to be seen in what it prints."""
    for block in CONSOLE.findall(text):
        for part in block.split("$ ")[1:]:
            command, *lines = part.splitlines()
            command, _, code = command.partition("# exit code ")
            yield command.strip(), int(code or 0), lines


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return what runs a command with a copy of the package that has all examples in it."""
    folder = tmp_path_factory.mktemp("contributing")
    shutil.copytree(ROOT / "bncheck", folder / "bncheck", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "work").mkdir()
    for name, text in FILE.findall(PAGE):
        path = folder / name if name.startswith("bncheck/") else folder / "work" / name
        assert not path.exists(), f"{name} is there already: the example takes its place"
        path.write_text(text)

    def bncheck(command):
        program, *words = shlex.split(command)
        assert program == "bncheck"
        return subprocess.run(
            [sys.executable, "-m", "bncheck", *words],
            cwd=folder / "work",
            # Wide, so that lines are whole.
            env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "120"},
            capture_output=True,
            text=True,
            check=False,
        )

    return bncheck


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_does_what_it_says(run, title):
    asked = list(commands(section(title)))
    assert {command.split()[1] for command, _, _ in asked} >= {"list", "verify"}
    for command, code, lines in asked:
        done = run(command)
        assert done.returncode == code, (command, done.stdout, done.stderr)
        shown = re.sub(r"\s+", " ", done.stdout)
        for line in lines:
            assert line in shown, (command, line, done.stdout)


def test_examples_are_as_the_rules_of_the_house_have_it():
    for name, text in FILE.findall(PAGE):
        for command in (["check"], ["format", "--check"]):
            words = [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", ROOT / name, "-"]
            if name.startswith("bncheck/"):
                done = subprocess.run(words, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
                assert done.returncode == 0, (name, done.stdout, done.stderr)


def test_every_example_is_one_of_these_and_whole():
    assert re.findall(r"^### (.*)$", PAGE, re.M) == EXAMPLES
    assert len(FILE.findall(PAGE)) == PAGE.count("```python")
    for title in EXAMPLES:
        assert [name for name, _ in FILE.findall(section(title)) if name.startswith("bncheck/")]


def test_without_the_examples_nothing_knows_them():
    # What the package has by itself proves nothing about an example.
    for command, _, lines in commands(PAGE):
        if command.startswith("bncheck list"):
            words = command.split()[1:]
            done = subprocess.run([sys.executable, "-m", "bncheck", *words], capture_output=True, text=True, check=True)
            assert lines[0] not in re.sub(r"\s+", " ", done.stdout)
