"""Where data files are looked for, and their bytes, unpacked."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

AGAIN = "get the file again, or name the right one"

_GZIP = b"\x1f\x8b"


def data_folder(folder: str | os.PathLike[str] | None, name: str, what: str, where: str) -> Path:
    """Return the folder of a data set: the one that was given, or `name` under ``$REFSNN_DATA``.

    Parameters
    ----------
    folder : path-like or None
        What the user gave.
    name : str
        Of the folder under ``$REFSNN_DATA``.
    what, where : str
        What is expected in it, and where to get it, for the messages.

    Returns
    -------
    Path
        A folder that exists.

    Raises
    ------
    FileNotFoundError
        If there is none.

    Examples
    --------
    >>> data_folder("no/such/folder", "cifar10", "the files of CIFAR-10", "get them from its site")
    Traceback (most recent call last):
    ...
    FileNotFoundError: folder: expected the files of CIFAR-10 in no/such/folder, which is not there; get them
    from its site
    """
    if folder is None:
        root = os.environ.get("REFSNN_DATA")
        if not root:
            raise FileNotFoundError(
                f"folder: expected a folder with {what}, got none, and REFSNN_DATA is not set; "
                f"{where}, and put them into a folder {name} under $REFSNN_DATA"
            )
        folder = Path(root) / name
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: expected {what} in {folder}, which is not there; {where}")
    return folder


def content(path: str | os.PathLike[str], what: str, where: str) -> bytes:
    """Return the bytes of a file, unpacked if gzip packed them.

    Parameters
    ----------
    path : path-like
        The file.  What it is is told by its first bytes, but one named ``.gz`` must be packed.
    what, where : str
        What is expected, and where to get it, for the message on a missing file.

    Returns
    -------
    bytes

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the packing is broken, or a file named ``.gz`` is not packed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "a.bin.gz")
    ...     _ = path.write_bytes(gzip.compress(b"abc"))
    ...     content(path, "letters", "write some")
    b'abc'
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: expected {what}, got {path}, which is not there; {where}")
    data = path.read_bytes()
    if data[:2] != _GZIP:
        if path.suffix == ".gz":
            raise ValueError(
                f"{path}: expected gzip data because of its name, found a file that begins with "
                f"{data[:4].hex(' ') or 'nothing'}; {AGAIN} (a web page saved in its place is a usual cause)"
            )
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: expected whole gzip data, found them broken: {error}; {AGAIN}") from error
