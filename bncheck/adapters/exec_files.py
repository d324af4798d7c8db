"""Request and response files of a program: .npz, the requests as plain as a ZIP of .npy files can be.

``numpy.savez`` writes ZIP64 fields and leaves gaps that a reader in C would have to know about. What is written here
has stored entries only, sizes and checksums in the local headers, and nothing between the entries: a program that reads
one header after the other from the start of the file needs no directory. Responses may be any .npz that NumPy writes.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bncheck.case import MAX_ELEMENTS
from bncheck.registry import did_you_mean

# The fields that local header and directory share: version needed 2.0, no flags, stored, midnight of 1 January 1980.
_FIXED = struct.pack("<HHHHH", 20, 0, 0, 0, 0x21)
_NPY = b"\x93NUMPY"
# No result is larger than x of the largest case in float64; other arrays may lie beside it.
LARGEST = 8 * MAX_ELEMENTS
LARGEST_FILE = 4 * LARGEST
# Headers have some hundred bytes; NumPy refuses longer ones, too, as what parses them does not stand every text.
_LONGEST_HEADER = 10_000


class DamagedError(Exception):
    """A response that cannot be taken; the text says what is wrong with the file."""


def write(path: str, arrays: Mapping[str, Any]) -> None:
    """Write arrays to a .npz file, in C order and in the byte order of this machine, the entries in order."""
    body, directory = bytearray(), bytearray()
    for name, value in arrays.items():
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        data = _npy_header(array.dtype.str, array.shape) + array.tobytes()
        entry = f"{name}.npy".encode()
        # checksum, size stored, size, length of the name, length of the extra field
        sizes = struct.pack("<IIIHH", zlib.crc32(data), len(data), len(data), len(entry), 0)
        # made by version 2.0; no comment, on disk 0, no attributes; where the local header begins
        place = struct.pack("<HHHII", 0, 0, 0, 0, len(body))
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + _FIXED + sizes + place + entry
        body += b"PK\x03\x04" + _FIXED + sizes + entry + data
    end = struct.pack("<HHHHIIH", 0, 0, len(arrays), len(arrays), len(directory), len(body), 0)
    Path(path).write_bytes(body + directory + b"PK\x05\x06" + end)


@lru_cache(maxsize=1024)
def _npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    """Return the header of version 1.0, made anew for a new shape only: a sweep has few shapes and many calls."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def read(path: str, wanted: Collection[str]) -> dict[str, Any]:
    """Return the arrays of a .npz file that are asked for; further ones are left alone.

    No more is read and unpacked than the largest case has, whatever the file says.

    Raises
    ------
    DamagedError
        If the file is missing, cut off, too large or no .npz, lacks an array, or holds one that is not made of numbers.

    """
    try:
        _refuse_to_open(os.stat(path))
        with zipfile.ZipFile(path) as found:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in found.infolist()}
            missing = [name for name in wanted if name not in entries]
            if missing:
                raise DamagedError(_without(missing[0], entries))
            return {name: _array(name, found, entries[name]) for name in wanted}
    except FileNotFoundError:
        raise DamagedError("was not written") from None
    except (OSError, EOFError, MemoryError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DamagedError(f"cannot be read ({_told(type(error).__name__, error)})") from None
    except (zipfile.BadZipFile, zlib.error, struct.error) as error:
        raise DamagedError(f"is no .npz, or is cut off ({_told(error)})") from None


def _refuse_to_open(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):  # to open a pipe would take until somebody writes to it
        raise DamagedError("is no file")
    if found.st_size > LARGEST_FILE:
        raise DamagedError(f"has {found.st_size} bytes, and more than {LARGEST_FILE} are not read")


def _told(*parts: object) -> str:
    """Return what an exception says in one line; names of entries may stand in it."""
    return " ".join(": ".join(map(str, parts)).split())[:120]


def _without(name: str, found: Collection[str]) -> str:
    fit = [other for other in found if re.fullmatch(r"[\w.-]{1,30}", other)][:10]
    if fit:
        return f"has no array {name!r}. {did_you_mean(name, fit)}"
    return f"has no array {name!r}: " + ("no other has a name that can be shown" if found else "it is empty")


def _array(name: str, found: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
    """Return the array of one .npy entry, in the byte order of this machine."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DamagedError(f"holds {name!r} compressed in another way than numpy.savez_compressed does")
    with found.open(entry) as stream:
        head = stream.read(12)
        if head[:6] != _NPY or len(head) < 12:
            raise DamagedError(f"has an entry {name!r} that is no .npy")
        version = head[6]
        start = 10 if version == 1 else 12
        end = start + int.from_bytes(head[8:start], "little")
        try:
            header = head[8:] + stream.read(end - 12) if 12 <= end <= _LONGEST_HEADER else b""
            dtype, fortran, shape = _read_header(version, header)
        except Exception:  # the text goes to Python's own parser, and to dtype: nobody says all that these raise
            raise DamagedError(f"has an entry {name!r} without a readable .npy header") from None
        size = _size(name, dtype, shape)
        if entry.file_size - end != size:
            raise DamagedError(
                f"holds {entry.file_size - end} bytes of {name!r} where its header says {shape!s:.60} of {dtype}: "
                f"{size} bytes"
            )
        array = np.frombuffer(stream.read(size), dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), order="C")


def _size(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Return the number of bytes of an array; raise DamagedError if there can be no such array."""
    if dtype.kind not in "fiubc":
        raise DamagedError(f"holds {name!r} as {dtype!s:.40}, which are no numbers")
    if min(shape, default=0) < 0:
        raise DamagedError(f"holds {name!r} with a negative size")
    # An array without elements may have other axes that no machine can count.
    if math.prod(filter(None, shape)) * dtype.itemsize > LARGEST:
        raise DamagedError(f"says that {name!r} has more than {LARGEST} bytes, which no result has")
    return math.prod(shape) * dtype.itemsize


@lru_cache(maxsize=1024)
def _read_header(version: int, header: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Return dtype, order and shape as the header, which begins with its own length, gives them."""
    reader = np.lib.format.read_array_header_1_0 if version == 1 else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Python 2 wrote, of names of dtypes that go out of use
        shape, fortran, dtype = reader(io.BytesIO(header))
    return np.dtype(dtype), fortran, tuple(map(int, shape))
