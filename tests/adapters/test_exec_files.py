"""Request and response files: what is written is plain enough for C, and what is read may be any .npz."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from bncheck.adapters import exec_files

ARRAYS = {
    "x": np.arange(24.0).reshape(2, 3, 4),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "half": np.ones(3, np.float16),
    "eps": np.float64(1e-5),
    "empty": np.zeros((0, 3)),
}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_numpy_reads_what_is_written(tmp_path):
    exec_files.write(f"{tmp_path}/a.npz", ARRAYS)
    with np.load(tmp_path / "a.npz") as found:
        same(dict(found), ARRAYS)


def test_entries_follow_each_other_with_their_sizes_in_front(tmp_path):
    """As docs/exec-protocol.md promises to readers that know no directory."""
    exec_files.write(f"{tmp_path}/a.npz", ARRAYS)
    data, at, names = (tmp_path / "a.npz").read_bytes(), 0, []
    while data[at : at + 4] == b"PK\x03\x04":
        _, flags, method, _, _, _, stored, size, named, extra = struct.unpack("<5H3I2H", data[at + 4 : at + 30])
        assert (flags, method, extra) == (0, 0, 0)
        assert stored == size
        names.append(data[at + 30 : at + 30 + named].decode())
        body = data[at + 30 + named :][:size]
        assert body[:8] == b"\x93NUMPY\x01\x00"
        assert b"'fortran_order': False" in body[:128]
        at += 30 + named + size
    assert names == [f"{name}.npy" for name in ARRAYS]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, lambda path, **a: exec_files.write(str(path), a)])
def test_any_npz_is_read(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    same(exec_files.read(f"{tmp_path}/a.npz", ARRAYS), {name: np.asarray(a) for name, a in ARRAYS.items()})


def test_numbers_of_the_other_byte_order_are_turned(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3.0).astype(">f8"))
    found = exec_files.read(f"{tmp_path}/a.npz", ["x"])["x"]
    assert found.dtype == np.dtype("float64")
    np.testing.assert_array_equal(found, [0, 1, 2])


@pytest.mark.parametrize("kept", range(0, 400, 7))
def test_a_file_that_is_cut_off_is_damaged(tmp_path, kept):
    path = tmp_path / "a.npz"
    exec_files.write(str(path), {"x": np.arange(24.0)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(exec_files.DamagedError):
        exec_files.read(str(path), ["x"])


def test_a_spoiled_byte_anywhere_is_seen_or_does_no_harm(tmp_path):
    path = tmp_path / "a.npz"
    exec_files.write(str(path), {"x": np.arange(4.0)})
    whole, seen = path.read_bytes(), 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            np.testing.assert_array_equal(exec_files.read(str(path), ["x"])["x"], np.arange(4.0))
        except exec_files.DamagedError:
            seen += 1
    assert seen > len(whole) / 2


def npz(folder, body):
    """Write a .npz whose one entry "x" has this content."""
    import zipfile

    with zipfile.ZipFile(folder / "a.npz", "w") as out:
        out.writestr("x.npy", body)
    return f"{folder}/a.npz"


HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


def npy(text, data=b""):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + data


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "an entry 'x' that is no .npy"),
        (b"x,y\n1,2\n", "an entry 'x' that is no .npy"),
        (npy("{'descr': '<f8'}"), "without a readable .npy header"),
        (npy("import os"), "without a readable .npy header"),
        (
            npy(HEADER.format("<f8", "(4,)"), bytes(24)),
            r"holds 24 bytes of 'x' where its header says \(4,\) of float64: 32",
        ),
        (npy(HEADER.format("<f8", "(9999999, 9999999, 9999999)")), "holds 0 bytes of 'x'"),
        (npy(HEADER.format("|O", "(1,)"), bytes(8)), "holds 'x' as object, which are no numbers"),
        (npy(HEADER.format("<M8[s]", "(1,)"), bytes(8)), "which are no numbers"),
    ],
    ids=["empty", "csv", "no shape", "code", "short", "huge", "objects", "dates"],
)
def test_an_entry_that_is_no_array_of_numbers(tmp_path, body, says):
    with pytest.raises(exec_files.DamagedError, match=says):
        exec_files.read(npz(tmp_path, body), ["x"])


def test_a_name_that_is_missing_is_answered_with_a_near_one(tmp_path):
    np.savez(tmp_path / "a.npz", dx=np.zeros(3), dgama=np.zeros(3))
    with pytest.raises(exec_files.DamagedError, match=r"has no array 'dgamma'. Did you mean dgama\?"):
        exec_files.read(f"{tmp_path}/a.npz", ["dx", "dgamma"])
