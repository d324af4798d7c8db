"""Request and response files of a program: .npz, the requests as plain as a ZIP of .npy files can be.

``numpy.savez`` writes ZIP64 fields and leaves gaps that a reader in C would have to know about. What is written here
has stored entries only, sizes and checksums in the local headers, and nothing between the entries: a program that reads
one header after the other from the start of the file needs no directory. Responses may be any .npz that NumPy reads.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bncheck.registry import did_you_mean

# The fields that local header and directory share: version needed 2.0, no flags, stored, midnight of 1 January 1980.
_FIXED = struct.pack("<HHHHH", 20, 0, 0, 0, 0x21)
_NPY = b"\x93NUMPY"


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


def read(path: str, wanted: Iterable[str]) -> dict[str, Any]:
    """Return the arrays of a .npz file that are asked for; further ones are left alone.

    Raises
    ------
    DamagedError
        If the file is missing, cut off or no .npz, lacks an array, or holds one that is not made of numbers.

    """
    try:
        with zipfile.ZipFile(path) as found:
            names = {entry.removesuffix(".npy"): entry for entry in found.namelist()}
            missing = [name for name in wanted if name not in names]
            if missing:
                raise DamagedError(_without(missing[0], names))
            return {name: _array(name, found.read(names[name])) for name in wanted}
    except FileNotFoundError:
        raise DamagedError("was not written") from None
    except (OSError, EOFError, MemoryError, NotImplementedError, RuntimeError, ValueError, struct.error) as error:
        raise DamagedError(f"cannot be read ({type(error).__name__}: {error})") from None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DamagedError(f"is no .npz, or is cut off ({error})") from None


def _without(name: str, found: Mapping[str, str]) -> str:
    return f"has no array {name!r}. {did_you_mean(name, found)}" if found else f"has no array {name!r}: it is empty"


def _array(name: str, data: bytes) -> Any:
    """Return the array of one .npy entry, in the byte order of this machine."""
    if data[:6] != _NPY or len(data) < 12:
        raise DamagedError(f"has an entry {name!r} that is no .npy")
    version = data[6]
    start = 10 if version == 1 else 12
    length = int.from_bytes(data[8:start], "little")
    try:
        dtype, fortran, shape = _read_header(version, data[8 : start + length])
    except (ValueError, EOFError, TypeError, SyntaxError):
        raise DamagedError(f"has an entry {name!r} without a readable .npy header") from None
    if dtype.kind not in "fiubc":
        raise DamagedError(f"holds {name!r} as {dtype}, which are no numbers")
    body = data[start + length :]
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(body) != size:
        raise DamagedError(
            f"holds {len(body)} bytes of {name!r} where its header says {shape} of {dtype}: {size} bytes"
        )
    array = np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), order="C")


@lru_cache(maxsize=1024)
def _read_header(version: int, header: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Return dtype, order and shape as the header, which begins with its own length, gives them."""
    reader = np.lib.format.read_array_header_1_0 if version == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = reader(io.BytesIO(header))
    return np.dtype(dtype), fortran, shape
