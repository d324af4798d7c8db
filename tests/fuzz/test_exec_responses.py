"""Response files and lines of programs: whatever a program writes is read, or refused in one line."""

import io
import math
import struct
import warnings
import zipfile
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spoiling import CHARACTERS, TEXTS, assert_short_line, encoded, spoiled_bytes, spoiled_text, times

from bncheck.adapters import exec_files
from bncheck.adapters.exec_process import ProgramError, heed, text_of
from bncheck.adapters.exec_program import parse_hello
from bncheck.errors import TargetError

# Of a failure, which may be large.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

WANTED = ("x", "dx")
KINDS = "fiubc"
# More than any of the small files here can hold, and less than one that is not bounded would take.
MOST_BYTES = 1_000_000


@pytest.fixture(scope="module")
def response(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "response.npz"


def read_or_refused(path, data, wanted=WANTED):
    """Read a response that has these bytes; return its arrays, or None if it is refused."""
    path.write_bytes(data)
    try:
        found = exec_files.read(str(path), wanted)
    except exec_files.DamagedError as error:
        assert_short_line(error)
        return None
    assert list(found) == list(wanted)
    for array in found.values():
        assert array.dtype.kind in KINDS
        assert array.dtype.isnative
        assert array.nbytes < MOST_BYTES
    return found


# ------------------------------------------------------------------------------------------------------------- arrays


@st.composite
def arrays(draw):
    dtype = np.dtype(draw(st.sampled_from(["<f8", "<f4", "<f2", ">f8", "<i8", ">i2", "|u1", "|b1", "<c16"])))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    size = math.prod(shape) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    if dtype.kind == "b":
        data = bytes(byte & 1 for byte in data)
    return np.frombuffer(data, dtype).reshape(shape, order=draw(st.sampled_from("CF")))


def written(arrays, how):
    stream = io.BytesIO()
    save = np.savez if how == "savez" else np.savez_compressed
    save(stream, **arrays)
    return stream.getvalue()


def plainly_written(arrays, path):
    exec_files.write(str(path), arrays)
    return path.read_bytes()


@times(8)
@given(st.fixed_dictionaries(dict.fromkeys(WANTED, arrays())), st.sampled_from(["write", "savez", "savez_compressed"]))
def test_what_is_written_is_read(response, given, how):
    data = plainly_written(given, response) if how == "write" else written(given, how)
    found = read_or_refused(response, data)
    for name, array in given.items():
        wanted = array.astype(array.dtype.newbyteorder("="))
        assert found[name].dtype == wanted.dtype
        assert found[name].shape == wanted.shape
        assert found[name].tobytes() == wanted.tobytes()  # of NaN, too


# -------------------------------------------------------------------------------------------------------------- files

SMALL = {"x": np.arange(6.0).reshape(2, 3), "dx": np.arange(4, dtype=np.float32)}


def zipped(entries, method=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as out:
        for name, data in entries.items():
            out.writestr(name, data)
    return stream.getvalue()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zip64(entries):
    """Return a .zip whose directory has its sizes and places in fields of 64 bits."""
    data = zipped(entries)
    end = data.index(b"PK\x05\x06")
    at = data.index(b"PK\x01\x02")
    body, directory = data[:at], b""
    while at < end:
        stored, size, named = *struct.unpack("<II", data[at + 20 : at + 28]), data[at + 28]
        (place,) = struct.unpack("<I", data[at + 42 : at + 46])
        head = bytearray(data[at : at + 46])
        struct.pack_into("<II", head, 20, 2**32 - 1, 2**32 - 1)
        struct.pack_into("<H", head, 30, 28)
        struct.pack_into("<I", head, 42, 2**32 - 1)
        extra = struct.pack("<HHQQQ", 1, 24, size, stored, place)
        directory += bytes(head) + data[at + 46 : at + 46 + named] + extra
        at += 46 + named
    return body + directory + data[end : end + 12] + struct.pack("<IIH", len(directory), len(body), 0)


@cache
def files():
    entries = {f"{name}.npy": npy(array) for name, array in SMALL.items()}
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return (*(zipped(entries, method) for method in methods), zip64(entries), written(SMALL, "savez"))


# Signature, and place and width of the fields behind it; those of 64 bits are in files of zip64 alone.
FIELDS = {
    b"PK\x03\x04": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)),
    b"PK\x01\x02": (
        *((4, 2), (6, 2), (8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (34, 2), (42, 4)),
        *((51, 2), (53, 2), (55, 8), (63, 8), (71, 8)),
    ),
    b"PK\x05\x06": ((4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)),
}
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 8, 9, 12, 14, 45, 63, 0x41, 0x800, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]),
    st.integers(0, 400),
    st.integers(0, 2**64 - 1),
)


@st.composite
def changed_fields(draw):
    """Return a file of which fields of the headers say something else."""
    data = bytearray(draw(st.sampled_from(files())))
    for _ in range(draw(st.integers(1, 3))):
        signature = draw(st.sampled_from(list(FIELDS)))
        at = data.find(signature) if draw(st.booleans()) else data.rfind(signature)
        place, width = draw(st.sampled_from(FIELDS[signature]))
        start = at + place
        if at >= 0 and start + width <= len(data):
            data[start : start + width] = (draw(NUMBERS) % 256**width).to_bytes(width, "little")
    return bytes(data)


@times(10)
@given(changed_fields())
def test_a_file_with_spoiled_fields_is_read_or_refused(response, data):
    read_or_refused(response, data)


@times(8)
@given(spoiled_bytes(files))
def test_a_file_with_spoiled_bytes_is_read_or_refused(response, data):
    found = read_or_refused(response, data, ("x",))
    assert found is None or found["x"].shape == (2, 3)


@times(2)
@given(st.binary() | st.binary().map(b"PK\x05\x06".__add__))
def test_any_bytes_are_refused(response, data):
    assert read_or_refused(response, data) is None


NAMES = st.text(CHARACTERS, max_size=20) | TEXTS


@times(3)
@given(st.dictionaries(NAMES, st.binary(max_size=9)))
@example({"a\x85b": b"", "\x1b[31m": b""})
def test_names_of_entries_are_shown_within_bounds(response, entries):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that are the same up to a NUL, where a .zip cuts them off
        data = zipped({f"a{name[:15_000]}".encode("utf-8", "replace").decode(): data for name, data in entries.items()})
    assert read_or_refused(response, data) is None


# ------------------------------------------------------------------------------------------------------------ headers

DESCR = st.sampled_from(
    """'<f8' | '<f4' | '>f8' | '=f8' | 'f8' | '<f2' | '<f16' | '<c16' | '|b1' | '<i8' | '<f3' | '?' | 'd' | '' | 'float'
    | '|O' | 'O' | '<M8[s]' | '<m8' | '|S8' | '<U2' | '<U999999999' | '|V8' | 'V0' | 'a8' | 'p' | 'f8,f8' | '(2,)f8'
    | '9999999999f8' | ('<f8', (3,)) | ('<f8', -3) | ('<f8',) | ('O', ('O', ())) | () | [] | [('a', '<f8')] | [1] | {}
    | [('a', '|O')] | [('a',)] | 1 | None | b'<f8' | '\\x00' | '<f8\\0' | '\\d'""".replace("\n    |", " |").split(" | ")
)
SIZES = st.one_of(st.integers(-2, 4), st.sampled_from([2**31, 2**62, 2**63, 2**64, 10**30, 10**4000]))
SHAPES = st.one_of(
    st.lists(SIZES, max_size=4).map(lambda shape: str(tuple(shape))),
    st.sampled_from(["(4L,)", "[4]", "4", "(True,)", "(4.0,)", "None", "(-0,)", f"({'1, ' * 99})", f"({'0, ' * 40})"]),
    st.sampled_from([f"{'(' * 90}{')' * 90}", f"{'(' * 3000}{')' * 3000}", f"({'-' * 4000}1,)", f"({'9' * 5000},)"]),
)
WORDS = st.one_of(
    st.sampled_from(
        "L 4L 0x # \\ ' \" \"\"\" f'{1}' 1j 1e999 * **x ( ) { } [ ] , : - + 'descr' descr lambda:0".split()
    ),
    st.sampled_from(["\n", " \t", "\x00", "\xff", "'a' 'b'", "__import__('os')", "(" * 3000]),
)


@st.composite
def headers(draw):
    order = draw(st.sampled_from(["False", "True", "0", "None", "'C'"]))
    text = f"{{'descr': {draw(DESCR)}, 'fortran_order': {order}, 'shape': {draw(SHAPES)}, }}"
    if draw(st.integers(0, 2)) == 0:
        text = draw(spoiled_text(lambda: [text], WORDS))
    return text + " " * draw(st.sampled_from([0, 1, 60, 9000, 12_000])) + draw(st.sampled_from(["\n", ""]))


@st.composite
def entries(draw):
    """Return a .npy of which the header says what it likes."""
    text = draw(headers()).encode(draw(st.sampled_from(["latin1", "utf-8"])), "replace")
    version = draw(st.sampled_from([b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\0\0", b"\xff\xff"]))
    width = 2 if version == b"\1\0" else 4
    length = draw(st.sampled_from([len(text), len(text), len(text), 0, 1, len(text) - 1, 2**16 - 1, 2**31]))
    body = bytes(draw(st.sampled_from([0, 1, 8, 24, 32, 64])))
    return b"\x93NUMPY" + version + (length % 256**width).to_bytes(width, "little") + text + body


@times(8)
@given(entries())
def test_an_entry_with_any_header_is_read_or_refused(response, data):
    read_or_refused(response, zipped({"x.npy": data}), ("x",))


# -------------------------------------------------------------------------------------------------------------- lines

WORDS_OF_ANSWERS = st.sampled_from(["=", ",", "-", "layout=", "without=", "gamma", "2", "²", "error", "ok", "17", "NC"])


def answers():
    return ("ok 1 eps eval running_stats", "ok 1 eps layout=NC,NCHW without=gamma,beta", "error no", "ok 17", "ok 1")


# A line as it comes: up to the first end of line, and no longer than is heard of one.
LINES = st.binary() | (spoiled_text(answers, WORDS_OF_ANSWERS | TEXTS) | TEXTS).map(encoded)
LINES = LINES.map(lambda line: line.partition(b"\n")[0][:65_536])


@times(10)
@given(LINES)
def test_any_answer_to_hello_is_understood_or_refused(line):
    try:
        hello = parse_hello(text_of(line))
    except TargetError as error:
        assert_short_line(error)
    else:
        assert hello.offers <= {"eps", "eval", "running_stats"}


@times(10)
@given(LINES)
@example(b"ok 17\r")
def test_any_other_answer_is_understood_or_refused(line):
    try:
        heed(text_of(line), "forward", 17)
    except ProgramError as error:
        assert_short_line(error, longest=1000)
    except ChildProcessError as error:
        assert_short_line(error)
    else:
        assert line.split() == [b"ok", b"17"]
