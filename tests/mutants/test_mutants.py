"""The frozen faults: their sources are right, their texts can be made, and what they are said to change does change."""

import ast
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from mutants.frozen import FILE, FILE2, materialise, records, source_text
from mutants.held2_table import EVERY, HELD2
from mutants.labels import FAMILIES, PARTS
from mutants.places import Place
from mutants.table import SOURCES, load
from mutants.truth import TENSORS, batches, results_of, right_results, to_layout, to_rows, wrong_tensors

GOLDENS = Path(__file__).parents[2] / "fixtures" / "goldens" / "batchnorm.npz"
STEP = 1e-5
ALL = [*records(), *records("held-2")]


def in_layout(source, golden):
    """Return a golden case (N, C) as the source takes it: N images of one pixel."""
    n, c = golden["x"].shape
    x, dy = (to_layout(golden[name].reshape(n, 1, 1, c), source.layout) for name in ("x", "dy"))
    gamma, beta = golden["gamma"], golden["beta"]
    return (x, gamma[:, None], beta[:, None], dy) if source.layout == "CN" else (x, gamma, beta, dy)


@pytest.mark.parametrize("case", ["5x4 eps=0.1", "5x4 eps=1e-05"])
@pytest.mark.parametrize("name", EVERY)
def test_sources_equal_the_goldens(name, case):
    source = EVERY[name]
    with np.load(GOLDENS) as file:
        golden = file[case]
    x, gamma, beta, dy = in_layout(source, golden)
    found = source.call(load(source.text), x, gamma, beta, float(golden["eps"]), dy)
    for tensor in TENSORS:
        value = to_rows(found[tensor], source.layout) if tensor in ("y", "dx") else np.ravel(found[tensor])
        assert np.allclose(value, golden[tensor], rtol=1e-11, atol=1e-12), tensor


def test_sources_agree_where_counts_differ_and_their_dx_is_the_derivative_of_y():
    right = right_results("staged_paper")
    for name in EVERY:
        assert wrong_tensors(right_results(name), right) == (), name
    inputs, source = batches()[0], SOURCES["staged_paper"]
    x, dy = (to_layout(tensor, "NC") for tensor in (inputs.x, inputs.dy))
    module, direction = load(source.text), np.random.default_rng(1).normal(size=x.shape)

    def loss(step):
        return np.sum(dy * module.batchnorm_forward(x + step * direction, inputs.gamma, inputs.beta, 0.05)[0])

    slope = (loss(STEP) - loss(-STEP)) / (2 * STEP)
    assert slope == pytest.approx(np.sum(right[0]["dx"] * direction), rel=1e-7)


def test_sources_stand_alone_and_their_parts_are_known():
    for name, source in EVERY.items():
        imported = {node.names[0].name for node in ast.walk(ast.parse(source.text)) if isinstance(node, ast.Import)}
        assert imported <= {"numpy", "math"}, name
        assert set(Place(source).parts.values()) <= set(PARTS), name
        assert "part:" not in source_text(name)


def test_the_set_is_large_and_its_sources_are_those_it_was_made_from():
    digests = json.loads(FILE.read_text(encoding="utf-8"))["sources"]
    assert digests == {name: sha256(source.text.encode()).hexdigest()[:16] for name, source in SOURCES.items()}
    assert len(list(records(faults=1))) >= 450
    assert len(list(records(faults=2))) >= 170
    found = list(records())
    assert len({record.key for record in found}) == len(found)
    assert 0.6 < len(list(records("work"))) / len(found) < 0.8


def test_the_second_held_set_stands_apart():
    digests = json.loads(FILE2.read_text(encoding="utf-8"))["sources"]
    assert digests == {name: sha256(source.text.encode()).hexdigest()[:16] for name, source in HELD2.items()}
    found = list(records("held-2"))
    assert len(list(records("held-2", faults=1))) >= 200
    assert len(list(records("held-2", faults=2))) >= 80
    assert {record.source for record in found} == set(HELD2)
    assert {record.split for record in found} == {"held-2"}
    assert len({record.key for record in ALL}) == len(ALL)
    assert not set(SOURCES) & set(HELD2)
    assert sha256(FILE2.read_bytes()).hexdigest() in (FILE2.parent / "README.md").read_text(encoding="utf-8")


def test_every_record_can_be_made_and_differs_from_its_source_in_its_lines_alone():
    for record in ALL:
        before, after = source_text(record.source).splitlines(), materialise(record).splitlines()
        ast.parse("\n".join(after))
        changed = [number for number, pair in enumerate(zip(before, after, strict=True), 1) if pair[0] != pair[1]]
        assert changed == sorted(label.line for label in record.labels)
        for label in record.labels:
            assert {label.family, *label.also} <= set(FAMILIES)
            assert label.family not in label.also


@pytest.mark.parametrize("record", ALL[::9], ids=lambda record: f"{record.source}-{record.key}")
def test_records_change_what_they_say(record):
    found = results_of(EVERY[record.source], materialise(record))
    assert found is not None
    assert wrong_tensors(found, right_results(record.source)) == record.tensors
    assert record.tensors
