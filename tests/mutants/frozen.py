"""The frozen records: which source, which edits, which labels; and the text that a record stands for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from .held2_table import EVERY, HELD2
from .labels import Label
from .places import bare

FILE = Path(__file__).parent / "frozen.json"
FILE2 = Path(__file__).parent / "held2.json"
WORK_SHARE = 7  # of ten


@dataclass(frozen=True)
class Fault:
    """One edit: a line (from 1) and what it reads afterwards, the operator that made it, and what is true of it."""

    line: int
    after: str
    operator: str
    label: Label


@dataclass(frozen=True)
class Record:
    """A source with one fault or two. `tensors` are those that all faults together make wrong."""

    source: str
    faults: tuple[Fault, ...]
    tensors: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name of the record, and what decides its half: a hash of the source's name and the edits."""
        edits = [[fault.line, fault.after] for fault in self.faults]
        return sha256(json.dumps([self.source, edits]).encode()).hexdigest()[:12]

    @property
    def split(self) -> str:
        if self.source in HELD2:
            return "held-2"
        return "work" if int(self.key, 16) % 10 < WORK_SHARE else "held"

    @property
    def labels(self) -> tuple[Label, ...]:
        return tuple(fault.label for fault in self.faults)

    def before(self, fault: Fault) -> str:
        """Return the line as it stands in the right source."""
        return bare(EVERY[self.source].text.splitlines()[fault.line - 1])


def source_text(name: str) -> str:
    """Return a right source without its annotations."""
    return "".join(f"{bare(line)}\n" for line in EVERY[name].text.splitlines())


def materialise(record: Record) -> str:
    """Return the text of a record's source with its faults; lines keep their numbers."""
    lines = source_text(record.source).splitlines()
    for fault in record.faults:
        lines[fault.line - 1] = fault.after
    return "\n".join(lines) + "\n"


def records(split: str | None = None, faults: int | None = None) -> Iterator[Record]:
    """Yield the frozen records, of one part ("work", "held") and of a number of faults (1, 2) if these are given.

    Those of the second held set come only if they are asked for: "held-2".
    """
    file = FILE2 if split == "held-2" else FILE
    for entry in json.loads(file.read_text(encoding="utf-8"))["records"]:
        record = from_json(entry)
        if split in (None, record.split) and faults in (None, len(record.faults)):
            yield record


def to_json(record: Record) -> dict[str, object]:
    faults = [
        [fault.line, fault.after, fault.operator, fault.label.family, list(fault.label.also), list(fault.label.tensors)]
        for fault in record.faults
    ]
    return {"source": record.source, "tensors": list(record.tensors), "faults": faults}


def from_json(entry: dict) -> Record:
    faults = tuple(
        Fault(line, after, operator, Label(family, tuple(also), tuple(tensors), line))
        for line, after, operator, family, also, tensors in entry["faults"]
    )
    return Record(entry["source"], faults, tuple(entry["tensors"]))
