"""What the reporters say about hand-made reports, compared with fixtures/reports/ (see tests/render.py)."""

import json

import pytest
from render import FOLDER, snapshots

SNAPSHOTS = snapshots()


@pytest.mark.parametrize("file", sorted(SNAPSHOTS))
def test_snapshot(file):
    assert SNAPSHOTS[file] == (FOLDER / file).read_text(encoding="utf-8"), "if this is better: python tests/render.py"


def test_no_snapshot_is_left_over():
    assert {path.name for path in FOLDER.iterdir()} == set(SNAPSHOTS)


@pytest.mark.parametrize("file", sorted(f for f in SNAPSHOTS if f.endswith(".json")))
def test_json_is_strict(file):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    json.loads(SNAPSHOTS[file], parse_constant=refuse)
    assert SNAPSHOTS[file].isascii()
