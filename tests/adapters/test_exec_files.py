"""Request and response files: what is written is plain enough for C, and what is read may be any .npz."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile

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
        (npy(HEADER.format("<f8", "(9999999, 9999999, 9999999)")), "says that 'x' has more than 1073741824 bytes"),
        (npy(HEADER.format("<f8", f"(0, {2**70})")), "says that 'x' has more than"),
        (npy(HEADER.format("<f8", f"(0, 0x{'f' * 9000})")), "says that 'x' has more than"),
        (npy(HEADER.format("<f8", "(-2, -2)"), bytes(32)), "holds 'x' with a negative size"),
        (npy(HEADER.format("<f8", "(0, -1)")), "holds 'x' with a negative size"),
        (npy(HEADER.format("<f8", f"({'1, ' * 3000})"), bytes(8)), "cannot be read"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': ("), "without a readable .npy header"),
        (npy("{'descr': ('<f8',), 'fortran_order': False, 'shape': (), }"), "without a readable .npy header"),
        (npy(HEADER.format("<f8", f"({'-' * 4000}1,)"), bytes(8)), "without a readable .npy header"),
        (npy(""), "that is no .npy"),
        (npy(HEADER.format("|O", "(1,)"), bytes(8)), "holds 'x' as object, which are no numbers"),
        (npy(HEADER.format("<M8[s]", "(1,)"), bytes(8)), "which are no numbers"),
    ],
    ids="empty|csv|no shape|code|short|huge|huge and empty|beyond decimals|negative|negative and empty|many axes|"
    "not closed|half a pair|nested|no header|objects|dates".split("|"),
)
def test_an_entry_that_is_no_array_of_numbers(tmp_path, body, says):
    with pytest.raises(exec_files.DamagedError, match=says):
        exec_files.read(npz(tmp_path, body), ["x"])


def test_a_name_that_is_missing_is_answered_with_a_near_one(tmp_path):
    np.savez(tmp_path / "a.npz", dx=np.zeros(3), dgama=np.zeros(3))
    with pytest.raises(exec_files.DamagedError, match=r"has no array 'dgamma'. Did you mean dgama\?"):
        exec_files.read(f"{tmp_path}/a.npz", ["dx", "dgamma"])


@pytest.mark.parametrize("shape", ["(2L,)", "(2, True)"])
def test_headers_of_another_time_are_read_without_a_warning(tmp_path, shape):
    body = npy(HEADER.format("<f8", shape), np.arange(2.0).tobytes())
    np.testing.assert_array_equal(exec_files.read(npz(tmp_path, body), ["x"])["x"].ravel(), [0, 1])


def test_a_dtype_of_another_time_is_refused_without_a_warning(tmp_path):
    with pytest.raises(exec_files.DamagedError, match="which are no numbers"):
        exec_files.read(npz(tmp_path, npy(HEADER.format("a8", "(1,)"), bytes(8))), ["x"])


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_numpy_does_not_compress_with_is_refused(tmp_path, method):
    """What unpacks LZMA takes as much memory as the file says, and raises an error of its own."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as out:
        out.writestr("x.npy", npy(HEADER.format("<f8", "(1,)"), bytes(8)))
    with pytest.raises(exec_files.DamagedError, match=r"compressed in another way than numpy\.savez_compressed does"):
        exec_files.read(f"{tmp_path}/a.npz", ["x"])


def test_what_unpacks_to_more_than_its_header_says_is_not_unpacked(tmp_path):
    size = 50_000_000
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("x.npy", npy(HEADER.format("<f8", "(4,)"), bytes(size)))
    tracemalloc.start()
    try:
        with pytest.raises(exec_files.DamagedError, match=f"holds {size} bytes of 'x' where its header says"):
            exec_files.read(f"{tmp_path}/a.npz", ["x"])
        assert tracemalloc.get_traced_memory()[1] < size / 10
    finally:
        tracemalloc.stop()


def test_a_place_in_the_file_that_no_machine_can_count_to(tmp_path):
    path = tmp_path / "a.npz"
    exec_files.write(str(path), {"x": np.zeros(2)})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    extra = struct.pack("<HHQ", 1, 8, 2**64 - 1)
    struct.pack_into("<H", data, at + 30, len(extra))
    struct.pack_into("<I", data, at + 42, 2**32 - 1)
    data[at + 51 : at + 51] = extra
    struct.pack_into("<I", data, len(data) - 10, len(data) - 22 - at)
    path.write_bytes(data)
    with pytest.raises(exec_files.DamagedError, match="cannot be read"):
        exec_files.read(str(path), ["x"])


def test_no_more_is_read_than_results_can_have(tmp_path, monkeypatch):
    exec_files.write(f"{tmp_path}/a.npz", {"x": np.zeros(100)})
    monkeypatch.setattr(exec_files, "LARGEST", 799)
    with pytest.raises(exec_files.DamagedError, match="says that 'x' has more than 799 bytes, which no result has"):
        exec_files.read(f"{tmp_path}/a.npz", ["x"])
    monkeypatch.setattr(exec_files, "LARGEST_FILE", 900)
    with pytest.raises(exec_files.DamagedError, match="bytes, and more than 900 are not read"):
        exec_files.read(f"{tmp_path}/a.npz", ["x"])


def test_a_pipe_is_not_waited_for(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes here")
    os.mkfifo(tmp_path / "a.npz")
    kept = os.open(tmp_path / "a.npz", os.O_RDWR)  # with somebody at its other end, to open it would not take for ever
    try:
        for place in (tmp_path / "a.npz", tmp_path):
            with pytest.raises(exec_files.DamagedError, match="is no file"):
                exec_files.read(str(place), ["x"])
    finally:
        os.close(kept)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a\nb", "\x1b[31m", "y" * 60_000], "has no array 'x': no other has a name that can be shown"),
        ([f"name-{number}" for number in range(500)], "has no array 'x'. Known: "),
        ([], "has no array 'x': it is empty"),
    ],
)
def test_names_of_other_arrays_are_shown_within_bounds(tmp_path, names, says):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as out:
        for name in names:
            out.writestr(f"{name}.npy", b"")
    with pytest.raises(exec_files.DamagedError) as refusal:
        exec_files.read(f"{tmp_path}/a.npz", ["x"])
    assert str(refusal.value).startswith(says)
    assert len(str(refusal.value)) < 400
    assert len(str(refusal.value).splitlines()) == 1


def test_a_long_name_is_cut_where_the_two_headers_do_not_agree(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as out:
        out.writestr("x.npy", b"")
    data = (tmp_path / "a.npz").read_bytes().replace(b"x.npy", b"z.npy", 1)
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(exec_files.DamagedError, match="File name in directory 'x"):
        exec_files.read(f"{tmp_path}/a.npz", ["x"])
