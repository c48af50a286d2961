"""Files that are whole or absent: written under a temporary name, then moved into place."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from validation.ledger import Record


def check_writable(option: str, path: Path) -> None:
    """Refuse a path before the long work, not after it.

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
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that at every moment `path` is the old file or the new one, never a part of it."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def records_json(records: Iterable[Record]) -> str:
    """The records as strict JSON: NaN and infinity have no place in it and become null."""
    entries = [plain(record.as_dict()) for record in records]
    return json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """`value` in the types of JSON: NumPy scalars and arrays unpacked, other objects as text."""
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
