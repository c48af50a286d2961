"""The IDX format of MNIST: a magic number, the dimensions, the numbers.

Bytes 0 and 1 are zero, byte 2 is the type, byte 3 the number of dimensions; then one big-endian 32-bit
size a dimension, then the data, big-endian, the last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_GZIP = b"\x1f\x8b"
_AGAIN = "get the file again, or name the right one"


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Return the array of an IDX file, compressed with gzip or not.

    Parameters
    ----------
    path : path-like
        The file.  What it is is told by its first bytes, but one named ``.gz`` must be compressed.

    Returns
    -------
    ndarray
        Shape and type as the file says, in the byte order of the machine.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a whole IDX file and nothing else: wrong magic number, unknown type, cut short,
        bytes left over, broken compression.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: expected an IDX file, got {path}, which is not there; check the path")
    data = _content(path)
    shape, code = _header(path, data)
    kind = np.dtype(TYPES[code])

    start = 4 + 4 * len(shape)
    expected, found = math.prod(shape) * kind.itemsize, len(data) - start
    if found != expected:
        what = "it was cut short" if found < expected else "something was put after the end"
        raise ValueError(
            f"{path}: expected {expected} bytes of data for shape {shape}, found {found}: {what}; {_AGAIN}"
        )
    array = np.frombuffer(data, kind, offset=start).reshape(shape)
    return array.astype(kind.newbyteorder("="))  # a copy: writable, and the bytes are let go


def _content(path: Path) -> bytes:
    """The bytes of the file, unpacked."""
    data = path.read_bytes()
    if data[:2] != _GZIP:
        if path.suffix == ".gz":
            raise ValueError(
                f"{path}: expected gzip data because of its name, found a file that begins with "
                f"{data[:4].hex(' ') or 'nothing'}; {_AGAIN} (a web page saved in its place is a usual cause)"
            )
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: expected whole gzip data, found them broken: {error}; {_AGAIN}") from error


def _header(path: Path, data: bytes) -> tuple[tuple[int, ...], int]:
    """Shape and type code."""
    if len(data) < 4 or data[:2] != b"\0\0":
        raise ValueError(
            f"{path}: expected an IDX file, whose magic number begins with 00 00, "
            f"found {data[:4].hex(' ') or 'an empty file'}; {_AGAIN}"
        )
    code, dimensions = data[2], data[3]
    if code not in TYPES:
        known = ", ".join(f"{known:02x}" for known in TYPES)
        raise ValueError(f"{path}: expected an IDX type code of {known}, found {code:02x}; {_AGAIN}")
    if dimensions < 1:
        raise ValueError(f"{path}: expected at least one dimension, found {dimensions}; {_AGAIN}")
    if len(data) < 4 + 4 * dimensions:
        raise ValueError(
            f"{path}: expected the sizes of {dimensions} dimensions, found {len(data) - 4} of "
            f"{4 * dimensions} bytes: it was cut short; {_AGAIN}"
        )
    sizes = np.frombuffer(data, ">u4", count=dimensions, offset=4)
    return tuple(int(size) for size in sizes), code
