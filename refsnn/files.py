"""Files that are whole or absent: written under a temporary name, then moved into place."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def check_writable(option: str, path: Path) -> None:
    """Refuse a path before the long work, not after it.

    Parameters
    ----------
    option : str
        What the message begins with.
    path : Path
        Of a file to be written.

    Raises
    ------
    ValueError
        If the path is a folder, or stands in a folder that does not exist or cannot be written to.
    """
    folder = path.absolute().parent
    if path.is_dir():
        raise ValueError(f"{option}: expected a file name, got the folder {path}; name a file in it")
    if not folder.is_dir():
        raise ValueError(
            f"{option}: expected a file in an existing folder, got {path}; create {folder} first"
        )
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{option}: expected a folder that can be written to, got {folder}; choose another")


def check_folder(option: str, path: Path) -> None:
    """Refuse a folder before the long work, not after it.

    Parameters
    ----------
    option : str
        What the message begins with.
    path : Path
        Of the folder.

    Raises
    ------
    ValueError
        If the path is no existing folder that can be written to.
    """
    if not path.is_dir():
        what = "a file of that name" if path.exists() else "nothing of that name"
        raise ValueError(
            f"{option}: expected an existing folder, got {path}, {what}; create the folder first"
        )
    if not os.access(path, os.W_OK):
        raise ValueError(f"{option}: expected a folder that can be written to, got {path}; choose another")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there takes its place when all of it is on disk.

    At every moment `path` is the old file or the new one, never a part of it.

    Parameters
    ----------
    path : Path
        Of the file, in an existing folder.

    Yields
    ------
    Path
        Where to write.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "file") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "file").read_text()
    'whole'
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text so that at every moment `path` is the old file or the new one, never a part of it.

    Parameters
    ----------
    path : path-like
        Of the file.
    text : str
        All of it.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"path: expected a file in an existing folder, got {path}; create it first")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def plain(value: Any) -> Any:
    """`value` in the types of JSON: NumPy scalars and arrays unpacked, other objects as text.

    Parameters
    ----------
    value : Any
        Anything.

    Returns
    -------
    Any
        Not finite numbers have no place in JSON and become None.

    Examples
    --------
    >>> import numpy as np
    >>> plain({"loss": np.float64(0.5), "shape": (2, 3), "worst": float("nan")})
    {'loss': 0.5, 'shape': [2, 3], 'worst': None}
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
